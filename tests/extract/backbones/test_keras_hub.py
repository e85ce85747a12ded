"""Networks that keras-hub builds: their features are those of transformers, and their identity is their content."""

import importlib.util
import json

import keras
import numpy as np
import pytest

from extract import extract
from extract.backbones.chosen import choose_network
from extract.backbones.families import TOKENS
from extract.backbones.file_backbone import KERAS_HUB, ONNX
from extract.backbones.keras_hub_model import read_network
from extract.backbones.layers import list_layers
from extract.backbones.positions import interpolate_positions
from extract.backbones.safetensors_file import find_safetensors, load_tensor, read_safetensors
from extract.backbones.spec import HUB, BackboneSpec, parse_backbone
from extract.request import RunOptions
from store import open_store
from store.errors import RecipeMismatch, UsageError
from tests.extract.backbones.keras_hub import (
    CONVERTER,
    FAMILIES,
    change_config,
    needs_keras_hub,
    preset_folder,
    read_arrays,
    split_file,
    weights_folder,
    write_arrays,
)
from tests.extract.backbones.networks import FOLDER, IMAGES, compute, difference, load, pixels_of, reference

DEFAULTS = {"clip": "image_embeds", "siglip": "pooler_output", "swin": "pooler_output"}
CLS = f"{TOKENS}.cls"


@pytest.fixture
def folder(tmp_path):
    """A folder of the network `vit`."""
    return weights_folder("vit", tmp_path / "vit")


def digest(folder):
    return read_network(find_safetensors(folder)).digest()


# What a folder says, without keras-hub


@pytest.mark.parametrize("name", FAMILIES)
def test_a_folder_of_weights_is_a_network_of_keras_hub(name, tmp_path):
    chosen = choose_network(RunOptions(".", backbone=weights_folder(name, tmp_path / name)))
    assert (chosen.backbone.name, chosen.layers) == (KERAS_HUB, (DEFAULTS.get(name, CLS),))
    assert (chosen.geometry.image_size, chosen.backbone.preprocessing.layout) == ((32, 32), "nhwc")
    assert chosen.weights.path == str(tmp_path / name / "model.safetensors")


def test_an_onnx_model_in_the_folder_comes_first():
    assert choose_network(RunOptions(".", backbone=FOLDER / "vit")).backbone.name == ONNX


@pytest.mark.parametrize("name", ["dinov2_with_registers", "clip"])
def test_the_digest_is_of_the_content_wherever_it_is(name, tmp_path):
    one, other = (weights_folder(name, tmp_path / place) for place in ("one", "other"))
    split_file(other)
    change_config(other, _name_or_path="elsewhere", transformers_version="9", dtype="bfloat16")
    assert digest(one) == digest(other)


@pytest.mark.parametrize("changed", ["value", "name", "config", "type"])
def test_the_digest_is_another_if_anything_that_counts_is(changed, folder):
    before, path = digest(folder), folder / "model.safetensors"
    arrays = read_arrays(path)
    name = "vit.layernorm.bias"
    if changed == "value":
        write_arrays(path, {**arrays, name: np.nextafter(arrays[name], np.float32(9))})
    elif changed == "name":
        write_arrays(path, {**{key: arrays[key] for key in arrays if key != name}, "vit.other": arrays[name]})
    elif changed == "type":
        write_arrays(path, {**arrays, name: arrays[name].astype(np.float64)})
    else:
        change_config(folder, layer_norm_eps=1e-6)
    assert digest(folder) != before


@pytest.mark.parametrize(("dtype", "as_stored"), [("float64", float), ("float16", np.float16), ("BF16", None)])
def test_arrays_of_every_width_are_read(dtype, as_stored, tmp_path):
    values = np.array([[1.5, -2.0, 0.0], [384.0, -0.0078125, 3.0]], np.float32)
    stored = values.astype(as_stored) if as_stored else (values.view(np.uint32) >> 16).astype(np.uint16)
    write_arrays(tmp_path / "model.safetensors", {"x": stored})
    (tensor,) = read_safetensors(tmp_path)
    np.testing.assert_array_equal(load_tensor(tensor), values)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("vit", {"hidden_act": "relu"}, "hidden_act is 'relu', and keras-hub computes 'gelu': export"),
        ("deit", {"qkv_bias": False}, "qkv_bias is False"),
        ("dinov2", {"layer_norm_eps": 1e-5}, "layer_norm_eps"),
        ("swin", {"use_absolute_embeddings": True}, "use_absolute_embeddings"),
        ("vit", {"image_size": None}, "image_size must be given"),
        ("vit", {"patch_size": "8"}, "patch_size is '8': expected a whole number"),
        ("siglip", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    ],
)
def test_what_keras_hub_would_compute_otherwise_is_refused(name, values, message, tmp_path):
    copy = change_config(weights_folder(name, tmp_path / name), **values)
    with pytest.raises(UsageError, match=message):
        choose_network(RunOptions(".", backbone=copy))


def test_images_of_another_size_are_for_networks_that_take_them(tmp_path):
    for name, size in (("dinov2", 48), ("dinov3", 48)):
        copy = weights_folder(name, tmp_path / name)
        chosen = choose_network(RunOptions(".", backbone=copy, image_size=size, crop="stretch"))
        assert chosen.geometry.image_size == (48, 48)
        with pytest.raises(UsageError, match="squares of a multiple of 8"):
            choose_network(RunOptions(".", backbone=copy, image_size=44, crop="stretch"))
    with pytest.raises(UsageError, match=r"takes images of 32x32 pixels.* makes 48x48"):
        choose_network(RunOptions(".", backbone=weights_folder("vit", tmp_path / "vit"), image_size=48))


def test_outputs_are_named_by_what_there_is(tmp_path):
    copy = weights_folder("vit", tmp_path / "vit")
    chosen = choose_network(RunOptions(".", backbone=copy, layer=("mean", "block_2.cls")))
    assert (chosen.layers, chosen.backbone.prefix_tokens) == ((f"{TOKENS}.mean", "block_2.cls"), 1)
    for layer in ("pooled", "block_3.cls", "block_0.cls"):
        with pytest.raises(UsageError, match=f"has no output '{layer}'"):
            choose_network(RunOptions(".", backbone=copy, layer=(layer,)))
    # CLIP without its projection, as CLIPVisionModel is saved, has its own pooled output.
    clip = weights_folder("clip", tmp_path / "clip")
    arrays = read_arrays(clip / "model.safetensors")
    del arrays["visual_projection.weight"]
    write_arrays(clip / "model.safetensors", arrays)
    assert choose_network(RunOptions(".", backbone=clip)).layers == ("pooler_output",)


def test_presets_are_networks_of_the_keras_organization():
    assert parse_backbone("hub:dinov2_small") == BackboneSpec(HUB, "keras/dinov2_small", "main")
    assert parse_backbone("hub:dinov2_small@v1") == BackboneSpec(HUB, "keras/dinov2_small", "v1")
    for text in ("hub:", "hub:a/b", "hub:../x"):
        with pytest.raises(UsageError, match="hub:PRESET"):
            parse_backbone(text)


def test_without_keras_hub_the_error_says_what_to_install(folder, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "keras_hub" else find(name))
    with pytest.raises(UsageError, match=r"need keras-hub, which is not installed: .*pip install .*stillframe\[hub\]"):
        load(folder, runtime="keras")


# The preprocessing of a preset


@pytest.mark.parametrize(
    ("converter", "crop"),
    [({}, "stretch"), ({"crop_to_aspect_ratio": True}, "center"), ({"pad_to_aspect_ratio": True}, "pad")],
)
def test_a_preset_says_its_preprocessing_as_numbers(converter, crop, tmp_path):
    chosen = choose_network(RunOptions(".", backbone=preset_folder(tmp_path, **converter)))
    geometry, found = chosen.geometry, chosen.backbone.preprocessing
    assert (geometry.image_size, geometry.resize, geometry.crop) == ((24, 32), "bicubic", crop)
    pixels = np.array([[0, 0, 0], [255, 128, 7]])
    expected = pixels * CONVERTER["scale"] + CONVERTER["offset"]
    np.testing.assert_allclose((pixels * found.rescale - found.mean) / found.std, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("converter", "message"),
    [
        ({"scale": 0}, "scale is"),
        ({"offset": "1"}, "offset is"),
        ({"image_size": None}, "image_size is"),
        ({"interpolation": "lanczos5"}, "interpolation is"),
    ],
)
def test_a_preset_whose_preprocessing_is_unclear_is_refused(converter, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        choose_network(RunOptions(".", backbone=preset_folder(tmp_path, **converter)))


# What keras-hub computes


@needs_keras_hub
@pytest.mark.parametrize("name", FAMILIES)
def test_features_of_the_same_pixels_are_those_of_transformers(name, tmp_path):
    layers = [DEFAULTS.get(name, CLS), f"{TOKENS}.mean", f"{TOKENS}.patches"]
    runtime, _ = load(weights_folder(name, tmp_path / name), layer=tuple(layers), batch_size=1)
    for number, layer in enumerate(layers):
        parts = [runtime.start([pixels]).result().tensors[number] for pixels in pixels_of(name)]
        assert difference(np.concatenate(parts), reference(name, "of_pixels", layer)) < 1e-5, layer


@needs_keras_hub
@pytest.mark.parametrize("name", ["dinov2", "clip"])
def test_both_runtimes_agree(name, tmp_path):
    copy = weights_folder(name, tmp_path / name)
    found = [compute(load(copy, layer="block_1.mean", runtime=runtime)[0], pixels_of(name)) for runtime in RUNTIMES]
    assert difference(found[0], found[1]) < 1e-5


RUNTIMES = ("openvino", "keras")


@needs_keras_hub
@pytest.mark.parametrize("name", ["vit", "deit", "dinov3", "siglip"])
def test_the_last_block_and_the_normalization_after_it_give_the_last_state(name, tmp_path):
    layers = ("block_2.patches", f"{TOKENS}.patches")
    runtime, _ = load(weights_folder(name, tmp_path / name), layer=layers, runtime="keras")
    last, normalized = runtime.start(list(pixels_of(name))).result().tensors
    arrays = read_arrays(FOLDER / name / "model.safetensors")
    end = "post_layernorm" if name == "siglip" else "norm" if name == "dinov3" else f"{name}.layernorm"
    centered = last - last.mean(-1, keepdims=True)
    expected = centered / np.sqrt(last.var(-1, keepdims=True) + 1e-6) * arrays[f"{end}.weight"] + arrays[f"{end}.bias"]
    assert difference(normalized, expected) < 1e-4


@needs_keras_hub
def test_a_preset_is_the_network_that_was_saved(tmp_path):
    import keras_hub

    keras.utils.set_random_seed(0)
    sizes = {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "image_shape": (32, 32, 3)}
    networks = {
        "dinov2": keras_hub.models.DINOV2Backbone(
            **sizes, intermediate_dim=32, num_register_tokens=2, position_embedding_shape=(32, 32)
        ),
        "vit": keras_hub.models.ViTBackbone(**sizes, mlp_dim=32),
        "swin": keras_hub.models.SwinTransformerBackbone(
            image_shape=(32, 32, 3), embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4
        ),
    }
    pixels = pixels_of("vit")
    for name, network in networks.items():
        network.save_to_preset(str(tmp_path / name))
        inner = {**CONVERTER, "image_size": [32, 32], "scale": 1 / 255, "offset": None}
        (tmp_path / name / "image_converter.json").write_text(json.dumps({"config": inner}))
        found = compute(load(tmp_path / name, layer="mean", runtime="keras")[0], pixels)
        prefix = {"dinov2": 3, "vit": 1, "swin": 0}[name]
        prepared = pixels / np.float32(255)
        tokens = network({"images": prepared} if name == "dinov2" else prepared)
        expected = np.asarray(tokens)[:, prefix:].mean(axis=1)
        assert difference(found, expected) < 1e-5, name


@needs_keras_hub
def test_layers_are_listed_with_their_shapes(tmp_path):
    points = {point.name: point.shape for point in list_layers(weights_folder("swin", tmp_path / "swin"))}
    assert points == {f"{TOKENS}.mean": (16,), f"{TOKENS}.patches": (4, 4, 16), "pooler_output": (16,)}
    names = [point.name for point in list_layers(weights_folder("clip", tmp_path / "clip"))]
    assert names[-2:] == ["pooler_output", "image_embeds"]
    assert "block_1.cls" in names


@needs_keras_hub
def test_a_store_goes_on_with_the_same_weights_and_not_with_another_container(tmp_path):
    copy = weights_folder("dinov2", tmp_path / "dinov2")
    extract(IMAGES, out=tmp_path / "store", backbone=copy)
    features, _ = open_store(tmp_path / "store").arrays()
    assert difference(features, reference("dinov2", "features", CLS)) < 1e-5
    copy.rename(tmp_path / "moved")
    assert extract(IMAGES, out=tmp_path / "store", backbone=tmp_path / "moved").computed == 0
    with pytest.raises(RecipeMismatch, match="backbone: the store has keras_hub"):
        extract(IMAGES, out=tmp_path / "store", backbone=FOLDER / "dinov2")


# Positions of DINOv2

POSITIONS = np.concatenate([np.full((1, 1, 1), 9.0), (np.arange(16) ** 2 % 7).reshape(1, 16, 1)], axis=1)


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        ((4, 4), (np.arange(16) ** 2 % 7).reshape(4, 4)),
        ((2, 2), [[1.80566, 1.60059], [2.58496, 1.25879]]),
        (
            (3, 6),
            [
                [0.20664, 0.66858, 1.86532, 3.42982, 2.81406, 1.51558],
                [1.13227, 3.28027, 4.39218, 1.95743, 0.86035, 0.86285],
                [3.73625, 2.5969, 1.0696, 0.35334, 0.63574, 1.25409],
            ],
        ),
    ],
)
def test_positions_are_interpolated_as_pytorch_does(grid, expected):
    """The numbers are of torch.nn.functional.interpolate(mode="bicubic", align_corners=False), PyTorch 2.13."""
    found = interpolate_positions(POSITIONS.astype(np.float32), grid)
    assert found[0, 0, 0] == 9
    np.testing.assert_allclose(found[0, 1:, 0].reshape(grid), expected, atol=1e-5)


@needs_keras_hub
@pytest.mark.parametrize("values", [{"layer_norm_eps": "x"}, {"num_attention_heads": 0}, {"num_attention_heads": 3}])
def test_a_network_that_keras_hub_cannot_build_is_refused_in_one_plain_line(values, tmp_path):
    folder = change_config(weights_folder("vit", tmp_path / "vit"), **values)
    with pytest.raises(UsageError, match=r"cannot build .* export the network to ONNX") as refused:
        list_layers(folder)
    assert str(refused.value).isprintable()
