"""Scores of a classifier to probabilities: Platt's sigmoids, and temperature. Pure.

Scores are (rows, classes), or (rows, 1) of the second of two classes, as scikit-learn's decision_function gives them.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_expit, log_softmax, softmax

from fit.arrays import Floats, Ints

_LOG_RANGE = (-10.0, 10.0)  # of the inverse temperature


def fit_sigmoids(scores: Floats, classes: Ints, weights: Floats) -> tuple[Floats, Floats]:
    """Slope and offset of each column's sigmoid, expit(slope * score + offset).

    Platt 1999, Probabilistic Outputs for Support Vector Machines: targets are (n + 1) / (n + 2) and 1 / (n + 2), n being
    the weight of the rows of the class and of the others. A class without rows here has the mean of the other classes'.

    Args:
        scores: (rows, columns), of rows that the classifier has not learned from.
        classes: (rows,), positions of classes.
        weights: (rows,).

    Returns:
        slopes (columns,) and offsets (columns,).
    """
    columns = range(scores.shape[1])
    members = [classes == (1 if len(columns) == 1 else column) for column in columns]
    fitted = {
        column: _fit_sigmoid(scores[:, column], members[column], weights) for column in columns if members[column].any()
    }
    mean = np.mean(list(fitted.values()), axis=0)
    found = np.array([fitted.get(column, mean) for column in columns])
    return found[:, 0], found[:, 1]


def _fit_sigmoid(scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """(slope, offset) by maximum likelihood."""
    inside, outside = weights[positive].sum(), weights[~positive].sum()
    targets = np.where(positive, (inside + 1) / (inside + 2), 1 / (outside + 2))
    scale = _scale(scores)
    scaled = scores / scale

    def loss(values: Floats) -> tuple[float, Floats]:
        logits = values[0] * scaled + values[1]
        value = -(weights * (targets * log_expit(logits) + (1 - targets) * log_expit(-logits))).sum()
        gradient = weights * (expit(logits) - targets)
        return float(value), np.array([gradient @ scaled, gradient.sum()])

    start = np.array([0.0, np.log((inside + 1) / (outside + 1))])
    found: Floats = minimize(loss, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-6, "ftol": 1e-12}).x
    return found / np.array([scale, 1.0])


def _scale(scores: Floats) -> float:
    """What scores are divided by, so that the same steps suit scores of any size."""
    return max(float(np.abs(scores).max()), float(np.finfo(np.float64).tiny))


def apply_sigmoids(scores: Floats, slopes: Floats, offsets: Floats) -> Floats:
    """(rows, classes): each class's sigmoid, divided by their sum; where all are 0, every class alike."""
    values = expit(scores * slopes + offsets)
    if values.shape[1] == 1:
        return np.concatenate([1 - values, values], axis=1)
    sums = values.sum(axis=1, keepdims=True)
    normalized: Floats = np.divide(values, sums, out=np.full_like(values, 1 / values.shape[1]), where=sums != 0)
    return normalized


def fit_temperature(scores: Floats, classes: Ints) -> float:
    """The inverse temperature that the scores are multiplied by before the softmax (Guo et al. 2017, arXiv:1706.04599).

    Args:
        scores: (rows, columns), of rows that the classifier has not learned from.
        classes: (rows,), positions of classes.
    """
    logits, rows = _logits(scores), np.arange(len(classes))
    scale = _scale(scores)

    def loss(log_inverse: float) -> float:
        return -float(log_softmax(np.exp(log_inverse) * (logits / scale), axis=1)[rows, classes].mean())

    found = minimize_scalar(loss, bounds=_LOG_RANGE, method="bounded", options={"xatol": 1e-10}).x
    return float(np.exp(found) / scale)


def apply_temperature(scores: Floats, inverse: float) -> Floats:
    """(rows, classes): softmax of the scores times the inverse temperature."""
    values: Floats = softmax(inverse * _logits(scores), axis=1)
    return values


def _logits(scores: Floats) -> Floats:
    """One score for two classes as two opposite ones."""
    return np.concatenate([-scores, scores], axis=1) if scores.shape[1] == 1 else scores
