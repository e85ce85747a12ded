"""What `extract layers` and `extract fetch` do, as functions."""

import dataclasses
import subprocess
import sys

import pytest

from extract import extract
from extract.backbones.families import FAMILIES
from extract.backbones.fetch import FetchedWeights, fetch_weights
from extract.backbones.hub_model import HubModel
from extract.backbones.layers import CutPoint, list_layers
from extract.backbones.published import PUBLISHED, find_published
from extract.backbones.table import BACKBONES, find_backbones, get_backbone
from extract.backbones.weights import PACKAGES, Weights, package_file, remembered_digest, weights_on_disk
from extract.text import format_published
from store.errors import EnvironmentFailure, UsageError
from store.tables import facts


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
        package_file(get_backbone("efficientnet_lite0")),
        remembered_digest(get_backbone("efficientnet_lite0"), Weights("imagenet")),
    )
    assert fetch_weights("pixels") is None


def test_weights_that_keras_keeps_under_another_name_are_not_called_needless(monkeypatch):
    monkeypatch.setattr("extract.backbones.fetch.weights_on_disk", lambda _: None)
    with pytest.raises(EnvironmentFailure, match="uses another name"):
        fetch_weights("efficientnet_lite0")


def test_results_are_plain_and_frozen():
    for result in (CutPoint("x", (1,)), FetchedWeights(package_file(get_backbone("efficientnet_lite0")), "0")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(result, dataclasses.fields(result)[0].name, None)


def test_networks_are_found_by_a_part_of_their_name():
    assert [found.name for found in find_backbones("Lite")] == ["efficientnet_lite0", "efficientnet_lite2"]
    assert find_backbones("ResNet-50-v2") == [get_backbone("resnet50_v2")]
    assert len(find_backbones("")) == len(BACKBONES)
    assert [found.name for found in find_published("DINO-v3")] == ["hf:facebook/dinov3-vits16-pretrain-lvd1689m"]
    assert find_backbones("dino") == find_published("mobilenet") == []


def test_every_family_has_an_example_with_its_license_and_what_it_forbids_stands_out():
    families = {network.family for network in PUBLISHED}
    assert families <= set(FAMILIES)
    # Those without an example share the networks of another name.
    assert set(FAMILIES) - families == {"clip_vision_model", "siglip_vision_model", "swinv2", "convnext"}
    assert all(HubModel.parse(network.name) for network in PUBLISHED)
    rows = {row[0]: row[2] for row in format_published(PUBLISHED)}
    assert rows["hf:facebook/convnextv2-tiny-22k-224"] == "CC-BY-NC-4.0: RESEARCH ONLY"
    assert rows["hf:facebook/dinov3-vits16-pretrain-lvd1689m"] == "DINOv3 License: ASK FIRST"
    assert max(map(len, facts(format_published(PUBLISHED), 80))) <= 80


def test_weights_whose_package_is_missing_are_named_with_what_installs_them(monkeypatch):
    missing = dataclasses.replace(PACKAGES["efficientnet_lite2"], distribution="not-there")
    monkeypatch.setitem(PACKAGES, "efficientnet_lite2", missing)
    for ask in (lambda: fetch_weights("efficientnet_lite2"), lambda: extract("data", backbone="efficientnet_lite2")):
        with pytest.raises(UsageError, match=r"package that is not installed: .*stillframe\[lite2\]"):
            ask()
    assert weights_on_disk(get_backbone("efficientnet_lite2")) is None


def test_importing_them_imports_no_keras():
    code = "import sys, extract.backbones.fetch, extract.backbones.layers; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
