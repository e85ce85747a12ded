"""Keras' own format, a file ending in .keras, which Keras runs under every backend."""

from pathlib import Path

import keras
import numpy as np

from fit.arrays import Pixels
from fit.export.base import Target
from fit.task import Probabilities


def write(model: keras.Model, path: Path) -> None:
    """Save a model."""
    model.save(path)


def run(path: Path, *pixels: Pixels) -> Probabilities:
    """The probabilities of pixels, by Keras."""
    model = keras.saving.load_model(path, compile=False)
    return np.asarray(model.predict_on_batch(list(pixels) if len(pixels) > 1 else pixels[0]), np.float64)


TARGET = Target("keras", ".keras", (), "", write, run, every_backend=True)
