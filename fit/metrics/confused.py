"""Which classes a confusion matrix shows where there are too many for all."""

import numpy as np

from fit.arrays import Ints

MATRIX_CLASSES = 30
"""Of more classes, a confusion matrix shows those with the most mistakes."""


def most_confused(matrix: Ints) -> Ints:
    """Ascending positions of the classes that are shown, of (classes, classes) images of true class x predicted class."""
    wrong = matrix - np.diag(np.diag(matrix))
    return most_mistaken(wrong.sum(axis=0) + wrong.sum(axis=1))


def most_mistaken(mistakes: Ints) -> Ints:
    """Ascending positions of the MATRIX_CLASSES largest numbers of mistakes (classes,)."""
    shown: Ints = np.sort(np.argsort(-mistakes, kind="stable")[:MATRIX_CLASSES])
    return shown
