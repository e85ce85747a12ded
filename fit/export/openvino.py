"""OpenVINO, a file ending in .xml with its weights beside it in .bin, which OpenVINO runs."""

import importlib
from pathlib import Path

import keras
import numpy as np

from extract.api import compose_openvino
from fit.arrays import Pixels
from fit.export.base import Target
from fit.task import Probabilities


def write(model: keras.Model, path: Path) -> None:
    """Convert a model to OpenVINO: `path` and the file of weights beside it."""
    model.export(str(path), format="openvino", verbose=False)


def run(path: Path, *pixels: Pixels) -> Probabilities:
    """The probabilities of pixels, by OpenVINO on the processor in float32."""
    compiled = importlib.import_module("openvino").compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled(list(pixels))[0], np.float64)


TARGET = Target("openvino", ".xml", ("openvino",), "openvino", write, run, beside=(".bin",), compose=compose_openvino)
