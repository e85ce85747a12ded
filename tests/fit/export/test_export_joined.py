"""A head on several blocks as one model with all backbones in it: one input where they see the same pixels, else several."""

import json

import numpy as np
import pytest

from extract import extract as run_extract
from fit import fit_head
from fit.export.base import input_names
from fit.export.export import export_head, sample_pixels
from fit.export.targets import TARGETS
from store.errors import UsageError
from tests.on_demand import OnDemand

# Converters warn of their own and of TensorFlow's future.
pytestmark = pytest.mark.filterwarnings("ignore")

SIZES = {"same": (64, 64), "other": (16, 16)}


@pytest.fixture(scope="module")
def stores(tmp_path_factory, colors):
    """The same images through the default backbone, and their pixels: at its size, and at another."""
    folder = tmp_path_factory.mktemp("joined")
    run_extract(colors, out=folder / "lite0", image_size=(64, 64), layer=("block5c_add", "top_activation"))
    for name, size in SIZES.items():
        run_extract(colors, out=folder / name, backbone="pixels", image_size=size)
    return folder


@pytest.fixture(scope="module")
def heads(stores):
    lite0, last = str(stores / "lite0"), "top_activation"

    def fit(name):
        if name == "outputs":
            return fit_head(lite0, "logistic", output=["block5c_add", last])
        if name == "dense":
            return fit_head([lite0, str(stores / "other")], "dense", output=last, epochs=3)
        return fit_head([lite0, str(stores / name)], "logistic", output=last)

    return OnDemand(fit)


QUICK = (("onnx", "other"),)
EXPORTED = [
    pytest.param(to, pixels, marks=[] if (to, pixels) in QUICK else [pytest.mark.slow])
    for to in TARGETS
    for pixels in SIZES
]


@pytest.mark.parametrize(("to", "pixels"), EXPORTED)
def test_every_target_agrees_with_predict(to, pixels, heads, tmp_path):
    head, out = heads[pixels], tmp_path / f"model{TARGETS[to].ending}"
    assert export_head(head, out, to) <= 1e-3
    sizes = [(64, 64)] if pixels == "same" else [(64, 64), (16, 16)]
    given = [sample_pixels(size) for size in sizes]
    np.testing.assert_allclose(TARGETS[to].run(out, *given), head.predict_pixels(*given), atol=1e-3)
    described = json.loads(out.with_name(out.name + ".json").read_text())
    assert [entry["name"] for entry in described["inputs"]] == input_names(len(sizes))
    assert [entry["recipes"][0]["image_size"] for entry in described["inputs"]] == [list(size) for size in sizes]
    assert sum(len(entry["recipes"]) for entry in described["inputs"]) == 2
    assert described["fingerprint"] == head.info.fingerprint


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in ("outputs", "dense")])
def test_several_outputs_of_one_network_and_keras_heads(name, heads, tmp_path):
    assert export_head(heads[name], tmp_path / "model.keras", "keras") <= 1e-3
    described = json.loads((tmp_path / "model.keras.json").read_text())
    assert [len(entry["recipes"]) for entry in described["inputs"]] == ([1] if name == "outputs" else [1, 1])


@pytest.mark.parametrize("name", [pytest.param("outputs", marks=pytest.mark.slow), "other"])
def test_the_images_themselves_get_what_their_stored_features_get(name, heads, stores, colors):
    from fit.prediction import predict_store
    from store import open_store

    found = [open_store(stores / store) for store in (["lite0"] if name == "outputs" else ["lite0", "other"])]
    np.testing.assert_allclose(heads[name].predict(colors)["red"], predict_store(heads[name], found)["red"], atol=1e-3)


def test_a_head_that_has_no_layers_is_refused(stores, tmp_path):
    head = fit_head([str(stores / name) for name in SIZES], "forest")
    with pytest.raises(UsageError, match="the head forest cannot be written as layers"):
        export_head(head, tmp_path / "model.onnx", "onnx")
