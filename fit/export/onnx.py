"""ONNX, a file ending in .onnx, which ONNX Runtime runs."""

import importlib
from pathlib import Path

import keras
import numpy as np

from extract.api import compose_onnx
from fit.arrays import Pixels
from fit.export.base import Target
from fit.task import Probabilities

OPERATOR_SET = 17


def write(model: keras.Model, path: Path) -> None:
    """Convert a model by tf2onnx."""
    tensorflow, tf2onnx = importlib.import_module("tensorflow"), importlib.import_module("tf2onnx")
    convert = importlib.import_module("tensorflow.python.framework.convert_to_constants")
    specification = [tensorflow.TensorSpec(given.shape, tensorflow.uint8, name=given.name) for given in model.inputs]
    traced = tensorflow.function(
        lambda *pixels: {"probabilities": model(list(pixels) if len(pixels) > 1 else pixels[0])}
    ).get_concrete_function(*specification)
    # Inlined and with constant weights: the converter knows neither nested calls nor some variables.
    frozen = convert.convert_variables_to_constants_v2(traced, lower_control_flow=False)
    graph, _ = tf2onnx.convert.from_graph_def(
        frozen.graph.as_graph_def(),
        input_names=[tensor.name for tensor in frozen.inputs],
        output_names=[tensor.name for tensor in frozen.outputs],
        opset=OPERATOR_SET,
    )
    path.write_bytes(graph.SerializeToString())


def run(path: Path, *pixels: Pixels) -> Probabilities:
    """The probabilities of pixels, by ONNX Runtime on the processor."""
    session = importlib.import_module("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = sorted(given.name for given in session.get_inputs())
    return np.asarray(session.run(None, dict(zip(names, pixels, strict=True)))[0], np.float64)


TARGET = Target("onnx", ".onnx", ("onnx", "tf2onnx", "onnxruntime"), "onnx", write, run, compose=compose_onnx)
