"""Makes the small networks of this folder, and what Hugging Face transformers computes with them.

    pip install torch==2.13.0 torchvision transformers==5.24.0 onnx onnxscript pillow     # in an environment of its own
    python tests/data/networks/make.py PHOTOGRAPHS

PHOTOGRAPHS is the folder of scikit-learn's two sample photographs (sklearn/datasets/images). Each network gets a folder in
Hugging Face layout, and a file references.npz:

    features      of the images of `images/`, by name order, by the image processor that works with Pillow and the network
    pixels        random uint8 pixels of the network's own size
    of_pixels     features of those pixels
    names         of the outputs; the arrays are features.<name>, of_pixels.<name>

Beside them is model.safetensors, with the names of arrays that published folders have.

Weights are random, larger than transformers initializes them, so that features depend on the image.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import torch
import transformers
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file

HERE = Path(__file__).parent
SIZE = 32
PREFIXED = ("vit", "deit", "swin")  # published with a classifier, so that the network is a part of a model


def write_images(photographs: Path) -> None:
    """Ten small crops: odd sizes, portrait and landscape; grey, CMYK, palette, and alpha."""
    folder = HERE / "images"
    folder.mkdir(exist_ok=True)
    photos = [Image.open(photographs / name) for name in ("china.jpg", "flower.jpg")]
    boxes = [(97, 61), (61, 97), (64, 64), (131, 47), (45, 44), (33, 77), (53, 71), (90, 41), (71, 70), (39, 39)]
    for number, (width, height) in enumerate(boxes):
        photo = photos[number % 2]
        left, top = 31 * number, 17 * number
        crop = photo.crop((left, top, left + 3 * width, top + 3 * height)).resize((width, height), Image.LANCZOS)
        path = folder / f"{number:02d}"
        if number == 4:
            crop.convert("L").save(path.with_suffix(".png"))
        elif number == 5:
            crop.convert("CMYK").save(path.with_suffix(".jpg"), quality=90)
        elif number == 6:
            alpha = Image.linear_gradient("L").resize(crop.size)
            crop.putalpha(alpha)
            crop.save(path.with_suffix(".png"))
        elif number == 7:
            crop.quantize(32).save(path.with_suffix(".png"))
        else:
            crop.save(path.with_suffix(".jpg"), quality=90)


def read_images() -> list[Image.Image]:
    """RGB, with transparency on white."""
    found = []
    for path in sorted((HERE / "images").iterdir()):
        image = ImageOps.exif_transpose(Image.open(path))
        if image.mode == "RGBA":
            white = Image.new("RGB", image.size, "white")
            white.paste(image, mask=image)
            image = white
        found.append(image.convert("RGB"))
    return found


def randomize(model: torch.nn.Module) -> None:
    """Matrices that keep the size of what flows through them, and other parameters of order one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() > 1 and "embeddings" not in name.replace("patch_embeddings", ""):
                parameter.copy_(noise * parameter[0].numel() ** -0.5)
            elif parameter.dim() > 1:
                parameter.copy_(noise * parameter[0].numel() ** -0.5 if parameter.dim() == 4 else noise * 0.5)
            else:
                parameter.copy_(parameter + 0.2 * noise)


class Outputs(torch.nn.Module):
    """A network with a fixed tuple of outputs."""

    def __init__(self, model: torch.nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        found = self.model(pixel_values)
        return tuple(found[name] for name in self.names)


def networks() -> dict[str, tuple]:
    """By folder: the model, its image processor, its outputs, and how it is exported."""
    t = transformers
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": SIZE, "patch_size": 8}
    wide = {**small, "intermediate_size": 32}
    both = ("last_hidden_state", "pooler_output")
    square = {"height": SIZE, "width": SIZE}
    bit = t.BitImageProcessorPil(
        size={"shortest_edge": 36}, crop_size=square, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225]
    )
    clip = t.CLIPVisionConfig(**wide, projection_dim=12)
    swin = t.SwinConfig(image_size=SIZE, patch_size=4, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4)
    return {
        "vit": (t.ViTModel(t.ViTConfig(**wide)), t.ViTImageProcessorPil(size=square), both, "dynamic"),
        "deit": (
            t.DeiTModel(t.DeiTConfig(**wide)),
            t.DeiTImageProcessorPil(size={"height": 37, "width": 37}, crop_size=square),
            both,
            "batch",
        ),
        "dinov2": (t.Dinov2Model(t.Dinov2Config(**small, mlp_ratio=2)), bit, both, "batch"),
        "dinov2_with_registers": (
            t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**small, mlp_ratio=2, num_register_tokens=3)),
            bit,
            both,
            "fixed",
        ),
        "dinov3": (
            t.DINOv3ViTModel(t.DINOv3ViTConfig(**wide, num_register_tokens=2)),
            t.DINOv3ViTImageProcessor(size=square),
            both,
            "batch",
        ),
        "clip": (
            t.CLIPVisionModelWithProjection(clip),
            t.CLIPImageProcessorPil(size={"shortest_edge": SIZE}, crop_size=square),
            ("image_embeds", "last_hidden_state"),
            "batch",
        ),
        "siglip": (
            t.SiglipVisionModel(t.SiglipVisionConfig(**wide)),
            t.SiglipImageProcessorPil(size=square),
            both,
            "batch",
        ),
        "swin": (t.SwinModel(swin), t.ViTImageProcessorPil(size=square, resample=3), both, "fixed"),
        "convnextv2": (
            t.ConvNextV2Model(t.ConvNextV2Config(num_stages=2, hidden_sizes=[8, 16], depths=[1, 1], image_size=SIZE)),
            t.ConvNextImageProcessorPil(size={"shortest_edge": SIZE}, crop_pct=0.875),
            both,
            "batch",
        ),
    }


def export(model: Outputs, path: Path, how: str) -> None:
    """Write the network as ONNX: with a fixed batch of one, an open batch, or with all axes open as `optimum` does.

    What the exporter notes beside the nodes is dropped: it is larger than these networks.
    """
    path.parent.mkdir(exist_ok=True)
    example = (torch.zeros(1 if how == "fixed" else 2, 3, SIZE, SIZE),)
    options = {"input_names": ["pixel_values"], "output_names": list(model.names)}
    if how == "dynamic":
        axes = {"pixel_values": {0: "batch_size", 1: "num_channels", 2: "height", 3: "width"}}
        torch.onnx.export(model, example, path, **options, dynamo=False, dynamic_axes=axes, opset_version=17)
        return
    shapes = None if how == "fixed" else ({0: torch.export.Dim("batch")},)
    torch.onnx.export(model, example, path, **options, dynamo=True, external_data=False, dynamic_shapes=shapes)
    written = onnx.load(path)
    for entry in (written, written.graph, *written.graph.node, *written.graph.value_info, *written.graph.initializer):
        del entry.metadata_props[:]
    onnx.save(written, path)


def processed(processor, images, **changed) -> torch.Tensor:
    """What an image processor makes of images, one by one."""
    return torch.cat([processor(image, return_tensors="pt", **changed)["pixel_values"].float() for image in images])


def make(name: str, model: torch.nn.Module, processor, outputs: tuple[str, ...], how: str) -> None:
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    model.eval()
    model.set_attn_implementation("eager")
    randomize(model)
    model.config.to_json_file(folder / "config.json")
    with tempfile.TemporaryDirectory() as saved:
        model.save_pretrained(saved)
        arrays = load_file(Path(saved) / "model.safetensors")
    prefix = f"{name}." if name in PREFIXED else ""
    save_file({f"{prefix}{key}": array for key, array in arrays.items()}, folder / "model.safetensors")
    processor.save_pretrained(folder)
    wrapped = Outputs(model, outputs)
    export(wrapped, folder / ("model.onnx" if how == "fixed" else "onnx/model.onnx"), how)
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)
    plain = {"do_resize": False, "do_center_crop": False}
    if name == "convnextv2":
        plain = {"do_resize": False}
    with torch.no_grad():
        of_images = wrapped(processed(processor, read_images()))
        of_pixels = wrapped(processed(processor, [Image.fromarray(array) for array in pixels], **plain))
    arrays = {"names": np.array(outputs), "pixels": pixels}
    for output, images, plain_pixels in zip(outputs, of_images, of_pixels, strict=True):
        arrays[f"features.{output}"], arrays[f"of_pixels.{output}"] = images.numpy(), plain_pixels.numpy()
    np.savez_compressed(folder / "references.npz", **arrays)
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    print(name, versions, json.dumps({key: list(value.shape) for key, value in arrays.items()}))


if __name__ == "__main__":
    torch.manual_seed(0)
    write_images(Path(sys.argv[1]))
    for name, parts in networks().items():
        make(name, *parts)
