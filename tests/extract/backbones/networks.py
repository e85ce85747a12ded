"""The small networks of tests/data/networks and what Hugging Face transformers computed with them."""

from pathlib import Path

import numpy as np

from extract.request import RunOptions
from extract.resolve import load_network, resolve
from store.progress import SILENT

FOLDER = Path(__file__).parent.parent.parent / "data" / "networks"
IMAGES = FOLDER / "images"
NETWORKS = (
    "vit",
    "deit",
    "dinov2",
    "dinov2_with_registers",
    "dinov3",
    "clip",
    "siglip",
    "swin",
    "convnextv2",
)
PREFIX = {"vit": 1, "deit": 2, "dinov2": 1, "dinov2_with_registers": 4, "dinov3": 3, "clip": 1}
"""Tokens before those of the patches."""

TOML = """\
image_size = 32
resize = "bilinear"
rescale = 0.00392156862745098
mean = [0.5, 0.5, 0.5]
std = [0.5, 0.5, 0.5]
layout = "nchw"
prefix_tokens = 1
"""
"""What preprocessor_config.json of the network `vit` says."""


def model_of(name):
    """The network's ONNX file."""
    return next((FOLDER / name).rglob("*.onnx"))


def reference(name, kind, layer):
    """The reference of a layer as recipes name it; `kind` is features (of the images) or of_pixels."""
    output, _, part = layer.partition(".")
    values = np.load(FOLDER / name / "references.npz")[f"{kind}.{output}"]
    patches = values[:, PREFIX.get(name, 0) :] if part else values
    match part:
        case "cls":
            return values[:, 0]
        case "mean":
            return patches.mean(axis=1)
        case "patches":
            return patches.reshape(len(values), 4, 4, -1)
    return values.transpose(0, 2, 3, 1) if values.ndim == 4 else values


def pixels_of(name):
    """The pixels that `of_pixels` is of."""
    return np.load(FOLDER / name / "references.npz")["pixels"]


def load(backbone, **options):
    """The runtime of what `extract run` would compute with, and its request."""
    request = resolve(RunOptions(data=".", out="no-store-yet", backbone=backbone, **{"dtype": "float32", **options}))
    return load_network(request.network, SILENT).runtime, request


def compute(runtime, pixels):
    """The first output's features, in calls of the runtime's batch."""
    size = runtime.batch_size
    calls = [runtime.start(list(pixels[at : at + size])).result() for at in range(0, len(pixels), size)]
    return np.concatenate([call.tensors[0] for call in calls])


def difference(found, expected):
    """The largest difference, as a fraction of the reference's range."""
    assert found.shape == expected.shape
    return np.abs(found.astype(float) - expected).max() / np.ptp(expected)
