"""Today's networks: features of ONNX models are those that Hugging Face transformers computes, end to end.

tests/data/networks/make.py made the small networks and the references.
"""

import shutil

import numpy as np
import pytest

from extract import extract
from extract.backbones.layers import list_layers
from extract.runtimes.device import processor_precisions
from store import open_store
from store.errors import PrecisionMissing, RecipeMismatch, UsageError
from store.information import run_options
from tests.extract.backbones.networks import (
    FOLDER,
    IMAGES,
    NETWORKS,
    PREFIX,
    TOML,
    compute,
    difference,
    load,
    model_of,
    pixels_of,
    reference,
)

DEFAULTS = {
    "vit": "last_hidden_state.cls",
    "deit": "last_hidden_state.cls",
    "dinov2": "last_hidden_state.cls",
    "dinov2_with_registers": "last_hidden_state.cls",
    "dinov3": "last_hidden_state.cls",
    "clip": "image_embeds",
    "siglip": "pooler_output",
    "swin": "pooler_output",
    "convnextv2": "pooler_output",
}
CUTS = [(name, cut) for name in NETWORKS if name != "convnextv2" for cut in ("mean", "patches")]
CUTS += [(name, "cls") for name in PREFIX] + [("convnextv2", "last_hidden_state"), ("vit", "pooled")]


@pytest.mark.parametrize("name", NETWORKS)
def test_features_of_the_same_pixels_are_those_of_transformers(name):
    runtime, request = load(FOLDER / name)
    assert request.network.layers == (DEFAULTS[name],)
    found = compute(runtime, pixels_of(name))
    assert difference(found, reference(name, "of_pixels", DEFAULTS[name])) < 1e-5


@pytest.mark.parametrize(("name", "cut"), CUTS)
def test_a_cut_is_what_its_name_says(name, cut):
    runtime, request = load(FOLDER / name, layer=cut)
    assert difference(compute(runtime, pixels_of(name)), reference(name, "of_pixels", request.network.layers[0])) < 1e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_features_of_images_are_those_of_transformers(name, tmp_path):
    result = extract(IMAGES, out=tmp_path / "store", backbone=FOLDER / name)
    assert (result.images, result.failures) == (10, 0)
    features, rows = open_store(tmp_path / "store").arrays()
    assert rows["path"].to_pylist() == sorted(path.name for path in IMAGES.iterdir())
    # DINOv3's image processor resizes numbers, not pixels, with torchvision: up to half a level of 255 remains.
    allowed = 3e-3 if name == "dinov3" else 1e-5
    assert difference(features, reference(name, "features", DEFAULTS[name])) < allowed


def test_both_runtimes_agree():
    for name, cut in (("dinov2_with_registers", "patches"), ("clip", "pooled"), ("convnextv2", "last_hidden_state")):
        found = [compute(load(FOLDER / name, layer=cut, runtime=runtime)[0], pixels_of(name)) for runtime in RUNTIMES]
        assert difference(found[0], found[1]) < 1e-5


RUNTIMES = ("openvino", "onnxruntime")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_several_layers_are_in_order_pooled_and_of_the_stored_type(runtime):
    layers = ("patches", "cls", "last_hidden_state.mean")
    loaded, request = load(FOLDER / "dinov2", layer=layers, pooling="max", dtype="auto", runtime=runtime, batch_size=2)
    assert (loaded.batch_size, list(loaded.shapes)) == (2, [(16,)] * 3)
    computed = loaded.start(list(pixels_of("dinov2")[:2])).result()
    expected = [reference("dinov2", "of_pixels", layer)[:2] for layer in request.network.layers]
    expected[0] = expected[0].max(axis=(1, 2))
    for tensor, largest, values in zip(computed.tensors, computed.largest, expected, strict=True):
        assert tensor.dtype == np.float32
        assert difference(tensor, values) < 1e-5
        np.testing.assert_allclose(largest, np.abs(values).max(axis=1), rtol=1e-4)
    spatial, _ = load(FOLDER / "dinov2", layer="patches", dtype="auto", runtime=runtime)
    (tensor,) = spatial.start(list(pixels_of("dinov2")[:1])).result().tensors
    assert (tensor.shape, tensor.dtype) == ((1, 4, 4, 16), np.float16)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_fixed_batch_is_kept_and_an_open_one_is_chosen(runtime):
    fixed, _ = load(FOLDER / "swin", batch_size=3, runtime=runtime)
    chosen, _ = load(FOLDER / "deit", batch_size=3, runtime=runtime)
    assert (fixed.batch_size, chosen.batch_size) == (1, 3)
    short = chosen.start(list(pixels_of("deit")[:1])).result().tensors[0]
    assert difference(short, reference("deit", "of_pixels", "last_hidden_state.cls")[:1]) < 1e-5


@pytest.mark.skipif("bfloat16" not in processor_precisions(), reason="this processor has no bfloat16")
def test_bfloat16_is_near_float32_and_not_the_same():
    runtime, _ = load(FOLDER / "dinov2", precision="bfloat16")
    plain = reference("dinov2", "of_pixels", "last_hidden_state.cls")
    assert 1e-4 < difference(compute(runtime, pixels_of("dinov2")), plain) < 0.05
    with pytest.raises(PrecisionMissing, match="float32"):
        load(FOLDER / "dinov2", precision="bfloat16", runtime="onnxruntime")


# What the recipe says


def test_the_recipe_names_content_and_not_places(tmp_path):
    copy = shutil.copytree(FOLDER / "vit", tmp_path / "elsewhere" / "vit")
    (tmp_path / "vit.toml").write_text(TOML)
    stores = [
        extract(IMAGES, out=tmp_path / "folder", backbone=copy),
        extract(
            IMAGES, out=tmp_path / "file", backbone=model_of("vit"), preprocessing=tmp_path / "vit.toml", layer=CLS
        ),
    ]
    recipes = [open_store(store.store).recipe for store in stores]
    assert recipes[0] == recipes[1]
    assert recipes[0].fingerprint == recipes[1].fingerprint
    assert "elsewhere" not in str(recipes[0].to_dict())
    assert recipes[0].backbone == "onnx"
    assert recipes[0].preprocessing.to_dict() == {
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
        "rescale": 1 / 255,
        "channels": "rgb",
        "layout": "nchw",
    }


CLS = "last_hidden_state.cls"


def test_another_run_computes_nothing_and_loads_nothing(tmp_path, monkeypatch):
    extract(IMAGES, out=tmp_path / "store", backbone=FOLDER / "vit")
    monkeypatch.setattr("extract.resolve.load_runtime", None)
    assert extract(IMAGES, out=tmp_path / "store", backbone=FOLDER / "vit").computed == 0


@pytest.mark.parametrize(
    "options",
    [
        {"backbone": FOLDER / "dinov2", "layer": ("patches", "pooled")},
        {"backbone": FOLDER / "dinov2", "image_size": 32, "crop": "pad", "resize": "area"},
        {
            "backbone": model_of("clip"),
            "layer": "image_embeds",
            "preprocessing": FOLDER / "clip/preprocessor_config.json",
        },
        {"backbone": "pixels", "image_size": 24, "crop": "center", "crop_fraction": 0.875},
    ],
)
def test_a_store_says_the_options_that_make_it_again(options, tmp_path):
    extract(IMAGES, out=tmp_path / "store", **options)
    again = run_options(open_store(tmp_path / "store"))
    assert extract(**again, out=tmp_path / "store").computed == 0
    assert not set(tmp_path.iterdir()) - {tmp_path / "store"}


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"backbone": FOLDER / "siglip"}, "weights"),
        ({"layer": "mean"}, "prefix_tokens"),
        ({"resize": "bicubic"}, "resize"),
        ({"crop": "center", "crop_fraction": 0.875}, "resize_to"),
        ({"runtime": "onnxruntime"}, None),
    ],
)
def test_another_model_or_preprocessing_is_another_recipe(options, field, tmp_path):
    extract(IMAGES, out=tmp_path / "store", backbone=FOLDER / "vit")
    call = {"out": tmp_path / "store", "backbone": FOLDER / "vit", **options}
    if field is None:
        assert extract(IMAGES, **call).computed == 0
    else:
        with pytest.raises(RecipeMismatch, match=f"{field}: the store has"):
            extract(IMAGES, **call)


# Layers


def test_layers_are_listed_with_their_shapes():
    assert [(point.name, point.shape) for point in list_layers(FOLDER / "dinov2_with_registers")] == [
        ("last_hidden_state.cls", (16,)),
        ("last_hidden_state.mean", (16,)),
        ("last_hidden_state.patches", (4, 4, 16)),
        ("pooler_output", (16,)),
    ]
    assert [point.shape for point in list_layers(FOLDER / "convnextv2")] == [(4, 4, 16), (16,)]
    # Without a folder nobody says which tokens are patches, and a model with open axes has no size of its own.
    with pytest.raises(UsageError, match="--image-size"):
        list_layers(model_of("vit"))
    assert "last_hidden_state.patches" not in [point.name for point in list_layers(model_of("vit"), (32, 32))]


@pytest.mark.parametrize(
    ("name", "layer", "message"),
    [
        (
            "vit",
            "pool_output",
            r"did you mean pooler_output\?.*last_hidden_state \(.*in short, cls, mean, patches, pooled",
        ),
        ("vit", "last_hidden_state", r"sequence of tokens.*last_hidden_state\.mean"),
        ("siglip", "cls", "no class token: take mean, patches or pooled"),
        ("swin", "last_hidden_state.cls", "no class token"),
        ("convnextv2", "mean", "in short, pooled"),
        ("convnextv2", "last_hidden_state.mean", "mean is for sequences of tokens"),
    ],
)
def test_an_output_that_is_not_there_is_refused_with_those_that_are(name, layer, message):
    with pytest.raises(UsageError, match=message):
        load(FOLDER / name, layer=layer)


def test_of_several_outputs_none_is_guessed(tmp_path):
    (tmp_path / "vit.toml").write_text(TOML)
    with pytest.raises(UsageError, match=r"outputs last_hidden_state \(.*pooler_output \(.*--layer which one"):
        load(model_of("vit"), preprocessing=tmp_path / "vit.toml")


@pytest.mark.parametrize("count", ["", "prefix_tokens = 2\n"])
def test_tokens_before_the_patches_are_not_guessed(count, tmp_path):
    (tmp_path / "vit.toml").write_text(TOML.replace("prefix_tokens = 1\n", count))
    with pytest.raises(UsageError, match="prefix_tokens"):
        load(model_of("vit"), preprocessing=tmp_path / "vit.toml", layer="last_hidden_state.patches")


# Sizes and options that do not go together


def test_an_image_size_that_the_model_does_not_take_is_refused():
    with pytest.raises(UsageError, match=r"takes images of 32x32 pixels, and its preprocessing makes 48x48"):
        load(FOLDER / "swin", image_size=48)
    with pytest.raises(UsageError, match=r"--crop center --crop-fraction"):
        load(FOLDER / "dinov2", image_size=48)
    with pytest.raises(UsageError, match=r"for images of 48x48 alone"):  # positions are for 32x32, though axes are open
        load(FOLDER / "vit", image_size=48)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "random"}, "--weights random: a model file has its weights"),
        ({"runtime": "keras"}, "--runtime keras: Keras does not compute ONNX"),
        ({"backbone": "mobilenet", "weights": "random", "runtime": "onnxruntime"}, "ONNX models alone"),
        ({"backbone": "mobilenet", "preprocessing": "x.toml"}, "mobilenet has its own"),
        ({"crop_fraction": 0.5}, "--crop center --crop-fraction 0.875"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    with pytest.raises(UsageError, match=message):
        load(**{"backbone": FOLDER / "vit", **options})
