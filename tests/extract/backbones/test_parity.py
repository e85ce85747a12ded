"""Features of photographs by every route are those of Hugging Face transformers with its own image processors.

Needs PyTorch, transformers and torchvision (for the processor of DINOv3), which nothing else needs:
`pip install torch torchvision transformers`; and the extra hub.
"""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from extract import extract
from store import open_store
from tests.extract.backbones.keras_hub import FAMILIES, needs_keras_hub, weights_folder
from tests.extract.backbones.networks import FOLDER, NETWORKS, compute, difference, load

needs_transformers = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("torch", "torchvision", "transformers")),
    reason="transformers is not installed: pip install torch torchvision transformers",
)
pytestmark = [pytest.mark.slow, needs_transformers, needs_keras_hub]

ROUTES = (("onnx", "openvino"), ("onnx", "onnxruntime"), ("weights", "openvino"), ("weights", "keras"))
DINO3_PROCESSOR = 3e-3
"""DINOv3's processor resizes floating-point numbers, ours 8-bit pixels: up to half a level of 255 remains."""


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Twenty crops of photographs, of odd sizes: one grayscale, one CMYK, one with alpha, two as JPEG."""
    folder = tmp_path_factory.mktemp("photographs")
    places = [Path(importlib.util.find_spec(name).origin).parent for name in ("skimage", "sklearn")]
    names = [
        places[0] / "data" / name for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "retina.jpg")
    ]
    names += [places[0] / "data" / "motorcycle_left.png", places[0] / "data" / "motorcycle_right.png"]
    names += [places[1] / "datasets" / "images" / name for name in ("china.jpg", "flower.jpg")]
    rng = np.random.default_rng(0)
    for number in range(20):
        photo = Image.open(names[number % len(names)]).convert("RGB")
        width, height = (int(rng.integers(41, edge)) | 1 for edge in photo.size)
        left, top = (int(rng.integers(0, room + 1)) for room in (photo.width - width, photo.height - height))
        crop, path = photo.crop((left, top, left + width, top + height)), folder / f"{number:02d}.png"
        if number == 3:
            crop = crop.convert("L")
        elif number == 7:
            crop, path = crop.convert("CMYK"), path.with_suffix(".jpg")
        elif number == 11:
            crop.putalpha(Image.linear_gradient("L").resize(crop.size))
        elif number % 8 == 5:
            path = path.with_suffix(".jpg")
        crop.save(path)
    return folder


def opened(path):
    """RGB, with transparency on white."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode == "RGBA":
        white = Image.new("RGB", image.size, "white")
        white.paste(image, mask=image)
        return white
    return image.convert("RGB")


def of_transformers(name, images):
    """The features of images by transformers: its model and its processor, one by one."""
    import torch
    import transformers

    config = transformers.AutoConfig.from_pretrained(FOLDER / name)
    kind = transformers.CLIPVisionModelWithProjection if name == "clip" else transformers.AutoModel
    model = kind.from_pretrained(FOLDER / name, config=config).eval()
    model.set_attn_implementation("eager")
    processor = transformers.AutoImageProcessor.from_pretrained(
        FOLDER / name, backend="pil" if name != "dinov3" else None
    )
    with torch.no_grad():
        found = [model(processor(image, return_tensors="pt")["pixel_values"].float()) for image in images]
    if name == "clip":
        return np.concatenate([each.image_embeds for each in found])
    if name in ("siglip", "swin", "convnextv2"):
        return np.concatenate([each.pooler_output for each in found])
    return np.concatenate([each.last_hidden_state[:, 0] for each in found])


@pytest.mark.parametrize("name", NETWORKS)
def test_photographs_have_the_features_of_transformers_by_every_route(name, photographs, tmp_path):
    paths = sorted(photographs.iterdir())
    reference = of_transformers(name, [opened(path) for path in paths])
    found = {}
    for kind, runtime in ROUTES:
        if kind == "weights" and (name not in FAMILIES or (name, runtime) == ("swin", "openvino")):
            continue  # OpenVINO does not convert keras-hub's Swin, which Keras computes
        out = tmp_path / f"{kind}-{runtime}"
        folder = FOLDER / name if kind == "onnx" else weights_folder(name, out / "network")
        extract(photographs, out=out / "store", backbone=folder, runtime=runtime)
        found[kind, runtime], _ = open_store(out / "store").arrays()
    first = found["onnx", "openvino"]
    for route, features in found.items():
        ours, theirs = difference(features, first), difference(features, reference)
        print(f"{name} {'-'.join(route)}: {theirs:.1e} from transformers, {ours:.1e} from ONNX by OpenVINO")
        assert ours < 1e-4, route
        assert theirs < (DINO3_PROCESSOR if name == "dinov3" else 1e-3), route


@pytest.mark.parametrize("registers", [0, 3])
@pytest.mark.parametrize("swiglu", [False, True])
def test_dinov2_at_another_size_than_its_positions(registers, swiglu, tmp_path):
    import torch
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 112, "patch_size": 8}
    options = {**sizes, "mlp_ratio": 2, "use_swiglu_ffn": swiglu, "initializer_range": 0.3}
    if registers:
        config = transformers.Dinov2WithRegistersConfig(**options, num_register_tokens=registers)
    else:
        config = transformers.Dinov2Config(**options)
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(config, attn_implementation="eager").eval()
    model.save_pretrained(tmp_path)
    shutil.copy(FOLDER / "vit" / "preprocessor_config.json", tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 56, 56, 3), dtype=np.uint8)
    with torch.no_grad():
        tokens = model(torch.from_numpy((pixels / 255 - 0.5) / 0.5).float().permute(0, 3, 1, 2)).last_hidden_state
    runtime, _ = load(tmp_path, layer="mean", runtime="keras", image_size=56)
    assert difference(compute(runtime, pixels), tokens[:, 1 + registers :].mean(1).numpy()) < 1e-5


def test_blocks_are_the_hidden_states_of_transformers(tmp_path):
    import torch
    import transformers

    model = transformers.AutoModel.from_pretrained(FOLDER / "dinov2").eval()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    prepared = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        images = torch.from_numpy(prepared).float().permute(0, 3, 1, 2)
        states = model(images, output_hidden_states=True).hidden_states
    for number in (1, 2):
        runtime, _ = load(
            weights_folder("dinov2", tmp_path / str(number)), layer=f"block_{number}.cls", runtime="keras"
        )
        assert difference(compute(runtime, pixels), states[number][:, 0].numpy()) < 1e-5
