"""Heads on ONNX backbones: predictions on files are those from the store, and one model holds backbone and head."""

import shutil

import numpy as np
import onnx
import pytest

from extract import extract
from fit import fit_head, load_head
from fit.export.targets import TARGETS
from fit.lookup.options import SearchOptions
from fit.lookup.search import search_store
from fit.next_steps import next_steps
from store import open_store
from store.errors import RecipeMismatch, UsageError
from tests.extract.backbones.networks import FOLDER, TOML, model_of


def fitted(colors, tmp_path, name="vit", head="logistic", **options):
    """A head on one of the small networks, loaded from its folder; and its store."""
    extract(colors, out=tmp_path / "store", backbone=FOLDER / name, **options)
    store = open_store(tmp_path / "store")
    fit_head(store, head=head).save(tmp_path / "head")
    return load_head(tmp_path / "head"), store


def check_predictions(head, store, colors, **options):
    features, rows = store.arrays()
    table = head.predict([str(colors / path) for path in rows["path"].to_pylist()], **options)
    found = np.stack([table[name].to_numpy() for name in head.classes], axis=1)
    np.testing.assert_allclose(found, head.predict_features(features), atol=1e-3)


EXPORTED = [
    ("dinov2", {"layer": "mean"}, "onnx"),
    ("clip", {}, "openvino"),
    *(
        pytest.param(*case, marks=pytest.mark.slow)
        for case in [
            ("vit", {"layer": "patches"}, "onnx"),
            ("vit", {"layer": "patches"}, "openvino"),
            ("deit", {"layer": "patches", "pooling": "max"}, "onnx"),
            ("deit", {"layer": "patches", "pooling": "max"}, "openvino"),
            ("dinov2", {}, "onnx"),
            ("dinov3", {"layer": "mean"}, "openvino"),
            ("siglip", {}, "onnx"),
            ("convnextv2", {}, "onnx"),
            ("convnextv2", {"layer": "last_hidden_state"}, "onnx"),
            ("convnextv2", {"layer": "last_hidden_state"}, "openvino"),
            ("convnextv2", {"layer": "last_hidden_state", "pooling": "avg"}, "onnx"),
        ]
    ),
]


@pytest.mark.parametrize(("name", "options", "to"), EXPORTED)
def test_a_head_predicts_on_files_and_is_exported_with_its_backbone(name, options, to, colors, tmp_path):
    head, store = fitted(colors, tmp_path, name, **options)
    check_predictions(head, store, colors)
    step = next(step for step in next_steps(head, tmp_path, "store") if "export" in step)
    assert f"--to openvino --out {tmp_path}/model.xml" in step  # not keras, which is refused
    out = tmp_path / f"model{TARGETS[to].ending}"
    assert head.export(out, to=to) < 5e-4  # `logistic` with a weak penalty multiplies the noise of features
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    np.testing.assert_allclose(TARGETS[to].run(out, pixels), head.predict_pixels(pixels), atol=1e-3)


def test_channels_in_another_order_are_exported_so(colors, tmp_path):
    (tmp_path / "vit.toml").write_text(TOML + 'channels = "bgr"\n')
    (tmp_path / "other.toml").write_text(TOML)
    options = {"layer": "last_hidden_state.cls", "preprocessing": tmp_path / "vit.toml"}
    extract(colors, out=tmp_path / "store", backbone=model_of("vit"), **options)
    head = fit_head(open_store(tmp_path / "store"))
    assert head.export(tmp_path / "model.onnx", to="onnx") < 1e-4
    with pytest.raises(RecipeMismatch, match=r"preprocessing: the store has .*bgr.*this run asks for .*rgb"):
        extract(
            colors,
            out=tmp_path / "store",
            backbone=model_of("vit"),
            **{**options, "preprocessing": tmp_path / "other.toml"},
        )


@pytest.mark.slow
def test_a_keras_head_is_exported_too(colors, tmp_path):
    head, _ = fitted(colors, tmp_path, "dinov2", head="dense")
    assert head.export(tmp_path / "model.xml", to="openvino") < 1e-4


def test_an_exported_model_has_all_weights_inside(colors, tmp_path):
    head, _ = fitted(colors, tmp_path, "dinov2")
    head.export(tmp_path / "model.onnx", to="onnx")
    model = onnx.load(tmp_path / "model.onnx", load_external_data=False)
    assert [port.name for port in model.graph.input] == ["pixels"]
    assert not any(tensor.external_data for tensor in model.graph.initializer)


@pytest.mark.parametrize("to", ["keras", "saved_model", "litert"])
def test_a_format_that_cannot_hold_an_onnx_model_is_refused(to, colors, tmp_path):
    head, _ = fitted(colors, tmp_path)
    with pytest.raises(UsageError, match=rf"--to {to}: the backbone is an ONNX model.*--to onnx or openvino"):
        head.export(tmp_path / f"model{TARGETS[to].ending}", to=to)


def test_a_fixed_batch_is_refused_for_an_export(colors, tmp_path):
    head, store = fitted(colors, tmp_path, "swin")
    check_predictions(head, store, colors)
    with pytest.raises(UsageError, match=r"batches of 1 alone.*open batch axis"):
        head.export(tmp_path / "model.onnx", to="onnx")


def test_a_head_that_is_the_rest_of_the_backbone_is_refused(colors, tmp_path):
    extract(colors, out=tmp_path / "store", backbone=FOLDER / "convnextv2", layer="last_hidden_state")
    with pytest.raises(UsageError, match="the head tail needs a network that `extract backbones` lists"):
        fit_head(open_store(tmp_path / "store"), head="tail")


def test_a_model_that_moved_is_named_with_weights(colors, tmp_path):
    copy = shutil.copytree(FOLDER / "vit", tmp_path / "model")
    extract(colors, out=tmp_path / "store", backbone=copy)
    store = open_store(tmp_path / "store")
    fit_head(store).save(tmp_path / "head")
    shutil.rmtree(copy)
    image = next(colors.rglob("*.png"))
    gone = r"no such file; expected the ONNX model.*--weights FILE"
    with pytest.raises(UsageError, match=gone):
        load_head(tmp_path / "head").predict(image)
    with pytest.raises(UsageError, match=gone):
        load_head(tmp_path / "head").export(tmp_path / "model.onnx", to="onnx")
    with pytest.raises(UsageError, match=gone):
        search_store(store, [str(image)], SearchOptions())
    head = load_head(tmp_path / "head")
    for weights in (FOLDER / "vit", model_of("vit")):
        check_predictions(head, store, colors, weights=weights)
    for other in ("siglip", "convnextv2"):  # the second has no such output
        with pytest.raises(RecipeMismatch, match="digest"):
            head.predict(image, weights=FOLDER / other)
