"""What `extract layers` and `extract fetch` do, as functions."""

import dataclasses
import subprocess
import sys

import pytest

from extract.backbones.fetch import FetchedWeights, fetch_weights
from extract.backbones.layers import CutPoint, list_layers
from extract.backbones.table import get_backbone
from extract.backbones.weights import Weights, lite0_file, remembered_digest
from store.errors import EnvironmentFailure, UsageError


def test_layers_are_listed_with_their_shapes_at_the_size_asked_for():
    layers = list_layers("vgg16", (64, 32))
    assert layers[0] == CutPoint("block1_conv1", (64, 32, 64))
    assert layers[-1] == CutPoint("block5_pool", (2, 1, 512))
    backbone = get_backbone("mobilenet_v2")
    assert CutPoint(backbone.layer, backbone.shape) in list_layers("mobilenet_v2")


def test_wrong_requests_are_refused():
    with pytest.raises(UsageError, match=r"did you mean .*vgg16"):
        list_layers("vgg61")
    with pytest.raises(UsageError, match="cannot take images of 10x10"):
        list_layers("inception_v3", (10, 10))
    with pytest.raises(UsageError, match="no ImageNet weights of alexnet"):
        fetch_weights("alexnet")


def test_fetching_gives_the_file_and_the_digest_that_recipes_name():
    found = fetch_weights("efficientnet_lite0")
    assert found == FetchedWeights(
        lite0_file(), remembered_digest(get_backbone("efficientnet_lite0"), Weights("imagenet"))
    )
    assert fetch_weights("pixels") is None


def test_weights_that_keras_keeps_under_another_name_are_not_called_needless(monkeypatch):
    monkeypatch.setattr("extract.backbones.fetch.weights_on_disk", lambda _: None)
    with pytest.raises(EnvironmentFailure, match="uses another name"):
        fetch_weights("efficientnet_lite0")


def test_results_are_plain_and_frozen():
    for result in (CutPoint("x", (1,)), FetchedWeights(lite0_file(), "0")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, dataclasses.fields(result)[0].name, None)


def test_importing_them_imports_no_keras():
    code = "import sys, extract.backbones.fetch, extract.backbones.layers; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
