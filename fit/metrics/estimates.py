"""A metric's value with what each row contributes to it, from which its interval is computed.

The influence of a row is the derivative of the metric with respect to the row's weight, at equal weights (the
infinitesimal jackknife: Efron 1982, The Jackknife, the Bootstrap and Other Resampling Plans, chapter 6). Influences add
up to 0. Summed over the rows of a split group, they say how much the metric depends on that group; the sum of these
squares is the metric's variance, whatever the metric and however rows of one group resemble each other.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from fit.arrays import Bools, Floats, Ints


class Scale(Enum):
    """What a metric's values can be, which decides the form of its interval.

    Attributes:
        SHARE: a share of the rows, from 0 to 1.
        UNIT: from 0 to 1, but not a share of the rows.
        SIGNED: from -1 to 1.
        LOSS: a mean that is 0 or more.
        CORRELATION: from -1 to 1, at both of which it varies less and less.
        EXPLAINED: 1 less a ratio of two positive means: 1 or less.
    """

    SHARE = "share"
    UNIT = "unit"
    SIGNED = "signed"
    LOSS = "loss"
    CORRELATION = "correlation"
    EXPLAINED = "explained"


@dataclass(frozen=True, eq=False)
class Estimate:
    """A metric of some rows.

    Attributes:
        value: NaN where undefined.
        influence: (rows,): the derivative of the value with respect to each row's weight.
        scale: what the values can be.
        reason: why there is no value; "" where there is one.
    """

    value: float
    influence: Floats
    scale: Scale
    reason: str = ""

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return not math.isnan(self.value)


def undefined(rows: int, reason: str, scale: Scale = Scale.UNIT) -> Estimate:
    """A metric that these rows do not have."""
    return Estimate(float("nan"), np.zeros(rows), scale, reason)


def share_of(marks: Bools) -> Estimate:
    """The share of the rows (rows,) that are marked."""
    return mean_of(marks.astype(np.float64), Scale.SHARE)


def mean_of(values: Floats, scale: Scale = Scale.LOSS) -> Estimate:
    """The mean of the rows' values (rows,)."""
    if len(values) == 0:
        return undefined(0, "no images", scale)
    mean = float(values.mean())
    return Estimate(mean, (values - mean) / len(values), scale)


def explained_share(targets: Floats, predicted: Floats) -> Estimate:
    """R2: 1 less the ratio of the mean squared error and the variance of the targets (rows,)."""
    rows = len(targets)
    spread = (targets - targets.mean()) ** 2 if rows else targets
    if rows == 0 or spread.mean() == 0:
        return undefined(rows, "no images" if rows == 0 else "all images have the same number", Scale.EXPLAINED)
    errors, variance = (targets - predicted) ** 2, float(spread.mean())
    left = float(errors.mean()) / variance
    return Estimate(1 - left, (left * spread - errors) / variance / rows, Scale.EXPLAINED)


def average(estimates: Iterable[Estimate], rows: int, reason: str) -> Estimate:
    """The mean of the metrics of these rows that are defined; `reason` says why none is."""
    mean = Average(rows)
    for estimate in estimates:
        mean.add(estimate)
    return mean.result(reason)


class Average:
    """The mean of metrics of the same rows, which are added one after another, so that memory holds one at a time."""

    def __init__(self, rows: int) -> None:
        self._value, self._influence, self._count = 0.0, np.zeros(rows), 0
        self._scale = Scale.UNIT

    def add(self, estimate: Estimate) -> None:
        """Add a metric; one that is undefined is left out."""
        if estimate.defined:
            self._value += estimate.value
            self._influence += estimate.influence
            self._count += 1
            self._scale = estimate.scale

    def result(self, reason: str) -> Estimate:
        """The mean; `reason` says why there is none."""
        if not self._count:
            return undefined(len(self._influence), reason)
        return Estimate(self._value / self._count, self._influence / self._count, self._scale)


# Metrics of counts: T rows are of a class, P are predicted to be, and C are both, of N


def recall_of_class(target: Bools, predicted: Bools) -> Estimate:
    """C / T of (rows,) target and predicted: the share of the class's rows that are recognized."""
    return _conditional(target & predicted, target)


def specificity_of_class(target: Bools, predicted: Bools) -> Estimate:
    """The share of the rows of other classes that are recognized as such."""
    return _conditional(~target & ~predicted, ~target)


def _conditional(marked: Bools, among: Bools) -> Estimate:
    count = int(among.sum())
    if count == 0:
        return undefined(len(among), "no such image")
    share = float(marked.sum()) / count
    return Estimate(share, (marked - share * among) / count, Scale.UNIT)


def f1_of_class(target: Bools, predicted: Bools) -> Estimate:
    """2 C / (T + P)."""
    total = int(target.sum()) + int(predicted.sum())
    if total == 0:
        return undefined(len(target), "no such image")
    value = 2 * float((target & predicted).sum()) / total
    return Estimate(
        value, (2.0 * (target & predicted) - value * (target.astype(np.float64) + predicted)) / total, Scale.UNIT
    )


def kappa(targets: Ints, predicted: Ints, classes: int) -> Estimate:
    """Cohen's kappa: the agreement of two columns (rows,) of class numbers beyond what their frequencies give by chance.

    Cohen 1960, Educational and Psychological Measurement 20, 37.
    """
    rows = len(targets)
    if rows == 0:
        return undefined(0, "no images", Scale.SIGNED)
    true = np.bincount(targets, minlength=classes) / rows
    given = np.bincount(predicted, minlength=classes) / rows
    correct = targets == predicted
    observed, expected = float(correct.mean()), float(true @ given)
    if expected >= 1:
        return undefined(rows, "all images are of one class, and predicted to be", Scale.SIGNED)
    by_chance = (given[targets] + true[predicted] - 2 * expected) / rows
    influence = (correct - observed) / rows / (1 - expected) - (1 - observed) / (1 - expected) ** 2 * by_chance
    return Estimate((observed - expected) / (1 - expected), influence, Scale.SIGNED)
