"""LiteRT, a file ending in .tflite, which LiteRT runs, or TensorFlow where LiteRT is not installed."""

import importlib
import importlib.util
from pathlib import Path

import keras
import numpy as np

from fit.arrays import Pixels
from fit.export.base import Target
from fit.task import Probabilities


def write(model: keras.Model, path: Path) -> None:
    """Convert a model to LiteRT."""
    model.export(str(path), format="litert", verbose=False)


def run(path: Path, *pixels: Pixels) -> Probabilities:
    """The probabilities of pixels, by LiteRT's interpreter."""
    if importlib.util.find_spec("ai_edge_litert") is not None:
        interpreter = importlib.import_module("ai_edge_litert.interpreter").Interpreter(str(path))
    else:
        interpreter = importlib.import_module("tensorflow").lite.Interpreter(str(path))
    entries = [entry["index"] for entry in sorted(interpreter.get_input_details(), key=lambda entry: entry["name"])]
    result = interpreter.get_output_details()[0]["index"]
    for entry, values in zip(entries, pixels, strict=True):
        interpreter.resize_tensor_input(entry, values.shape)
    interpreter.allocate_tensors()
    for entry, values in zip(entries, pixels, strict=True):
        interpreter.set_tensor(entry, values)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(result), np.float64)


TARGET = Target("litert", ".tflite", ("tensorflow",), "", write, run)
