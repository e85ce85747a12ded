"""Softmax regression by gradient descent over batches, for several settings at once.

    minimize over W and b    mean_i s_i * -log softmax(x_i W + b)[y_i]  +  decay * |W|^2 / 2

Each batch is read and rotated once, and one matrix product serves all settings, as DINOv2 evaluates features (Oquab et
al. 2023, arXiv:2304.07193). In the coordinates of the principal axes the curvature is nearly diagonal and known
beforehand (see `fit.heads.softmax`); steps are divided by it, so that a few hundred of them come near the minimum,
which plain descent on correlated features does not in thousands. Step sizes fall to 0 along a cosine.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh
from scipy.special import log_softmax
from sklearn.preprocessing import StandardScaler

from fit.arrays import AnyFloats
from fit.data import Source
from fit.heads.softmax import Softmax

_MOMENTUM = 0.9
_LEAST_STRENGTH = 1e-7  # of the strongest axis: weaker ones are rounding
_FLOOR = 1e-4  # of the mean strength, added to the curvature that steps are divided by
_LEFT_OUT = 1e-3  # of the variance, by `Axes.main`
_LEAST_LOGIT = -60.0  # below the largest: exp of less would be denormal in float32, which is slow


@dataclass(frozen=True)
class Setting:
    """What a fit depends on: the first step size, as a part of a Newton step, and the penalty."""

    rate: float
    decay: float


@dataclass(frozen=True)
class Axes:
    """The principal axes of scaled rows, the strongest first.

    Attributes:
        mean: (features,), of the rows before they are scaled.
        scale: (features,), what they are divided by.
        axes: (features, axes), orthonormal columns.
        strength: (axes,), the mean square along each axis.
    """

    mean: AnyFloats
    scale: AnyFloats
    axes: AnyFloats
    strength: AnyFloats

    def main(self) -> "Axes":
        """Without the axes that hold the last thousandth of the variance: as good to choose by, and quicker."""
        kept = int(np.searchsorted(np.cumsum(self.strength), (1 - _LEFT_OUT) * self.strength.sum())) + 1
        return Axes(self.mean, self.scale, self.axes[:, :kept], self.strength[:kept])

    def unrotate(self, found: Softmax) -> Softmax:
        """The same for scaled rows."""
        return Softmax(self.axes.astype(np.float64) @ found.weights, found.bias)


@dataclass(frozen=True)
class RotatedStream:
    """Rows along axes, batch by batch.

    Attributes:
        source: the rows.
        axes: theirs.
        classes: sorted.
        weights: (classes,), what an error on a row of each class counts; their mean over the rows is 1.
        batch_size: rows per step.
    """

    source: Source
    axes: Axes
    classes: npt.NDArray[np.generic]
    weights: AnyFloats
    batch_size: int

    def batches(self, seed: int | None) -> Iterator[tuple[AnyFloats, npt.NDArray[np.int64], AnyFloats]]:
        """One pass: rows (rows, axes), their classes by number, and their weights."""
        mean, turn = self.axes.mean.astype(np.float32), (self.axes.axes / self.axes.scale[:, None]).astype(np.float32)
        for rows, targets in self.source.batches(self.batch_size, seed):
            numbers = np.searchsorted(self.classes, targets)
            yield (rows - mean) @ turn, numbers, self.weights[numbers].astype(np.float32)


def find_axes(source: Source, scaler: StandardScaler, batch_size: int) -> Axes:
    """The axes of a source's rows, scaled, in one pass."""
    size = len(scaler.scale_)
    products = np.zeros((size, size))
    mean, scale = scaler.mean_.astype(np.float32), scaler.scale_.astype(np.float32)
    for rows, _ in source.batches(batch_size, None):
        scaled = (rows - mean) / scale
        products += scaled.T @ scaled
    strength, axes = eigh(products / len(source))
    kept = np.flatnonzero(strength > _LEAST_STRENGTH * strength[-1])[::-1]
    return Axes(scaler.mean_, scaler.scale_, axes[:, kept], strength[kept])


def descend(rows: RotatedStream, settings: Sequence[Setting], epochs: int, seed: int) -> list[Softmax]:
    """What each setting gives after `epochs` passes, in the coordinates of the axes."""
    classes, count = len(rows.classes), len(settings)
    curvature = (1 - 1 / classes) / classes  # of the loss of one row at equal probabilities
    strength = rows.axes.strength[:, None]
    decays = np.array([setting.decay for setting in settings])
    steepness = curvature * (strength + _FLOOR * strength.mean()) + decays
    step = (1 / steepness).astype(np.float32)[:, :, None]
    decay, rate = (np.array(values, np.float32)[:, None] for values in (decays, [one.rate for one in settings]))
    weights, bias = np.zeros((len(strength), count, classes), np.float32), np.zeros((count, classes), np.float32)
    moving, moving_bias = np.zeros_like(weights), np.zeros_like(bias)
    seen, total = 0, epochs * len(rows.source)
    for epoch in range(epochs):
        for values, targets, importance in rows.batches(seed + epoch):
            errors = _probabilities(values, weights, bias)
            errors[np.arange(len(targets)), :, targets] -= 1
            errors *= (importance / len(targets))[:, None, None]
            gradient = (values.T @ errors.reshape(len(targets), -1)).reshape(weights.shape)
            gradient += decay * weights
            gradient *= step
            _average(moving, gradient)
            _average(moving_bias, errors.sum(axis=0) / np.float32(curvature))
            pace = rate * np.float32((1 + np.cos(np.pi * seen / total)) / 2)
            weights -= pace * moving
            bias -= pace * moving_bias
            seen += len(targets)
    centered = weights - weights.mean(axis=2, keepdims=True)
    return [Softmax(centered[:, number].astype(np.float64), bias[number].astype(np.float64)) for number in range(count)]


def _probabilities(values: AnyFloats, weights: AnyFloats, bias: AnyFloats) -> AnyFloats:
    """(rows, settings, classes)."""
    scores = (values @ weights.reshape(len(weights), -1)).reshape(-1, weights.shape[2])
    scores.reshape(len(values), *bias.shape)[...] += bias
    scores -= scores.max(axis=1, keepdims=True)
    np.maximum(scores, _LEAST_LOGIT, out=scores)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores.reshape(len(values), *bias.shape)


def _average(moving: AnyFloats, new: AnyFloats) -> None:
    """Take the new gradient into the moving average."""
    moving *= np.float32(_MOMENTUM)
    moving += np.float32(1 - _MOMENTUM) * new


def log_losses(rows: RotatedStream, found: Sequence[Softmax]) -> list[float]:
    """The weighted mean log loss of each on rows that it has not learned from."""
    losses, total = np.zeros(len(found)), 0.0
    for values, targets, importance in rows.batches(None):
        for number, one in enumerate(found):
            scores = values @ one.weights.astype(np.float32) + one.bias.astype(np.float32)
            logs = log_softmax(scores.astype(np.float64), axis=1)[np.arange(len(targets)), targets]
            losses[number] -= importance @ logs
        total += float(importance.sum())
    return [float(loss / total) for loss in losses]
