"""TensorFlow's SavedModel, a folder, which TensorFlow runs."""

import importlib
from pathlib import Path

import keras
import numpy as np

from fit.arrays import Pixels
from fit.export.base import Target
from fit.task import Probabilities


def write(model: keras.Model, path: Path) -> None:
    """Write a model as a SavedModel."""
    model.export(str(path), format="tf_saved_model", verbose=False)


def run(path: Path, *pixels: Pixels) -> Probabilities:
    """The probabilities of pixels, by TensorFlow."""
    tensorflow = importlib.import_module("tensorflow")
    serve = tensorflow.saved_model.load(str(path)).signatures["serving_default"]
    names = sorted(serve.structured_input_signature[1])
    given = {name: tensorflow.constant(values) for name, values in zip(names, pixels, strict=True)}
    (values,) = serve(**given).values()
    return np.asarray(values, np.float64)


TARGET = Target("saved_model", "", ("tensorflow",), "", write, run, recognized_by="saved_model.pb")
