"""Calibration: whether predictions made with probability p are right as often as p says.

The expected calibration error and its bins are those of Guo et al. 2017, arXiv:1706.04599, equation 5, with 15 bins of
equal width.
"""

from dataclasses import dataclass

import numpy as np

from fit.metrics.arrays import Bools, Floats, Ints
from fit.metrics.intervals import Interval, wilson_interval

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """Decisions of similar confidence: their mean confidence, their accuracy with its interval, and their number."""

    confidence: float
    accuracy: Interval
    decisions: int


def reliability(confidence: Floats, correct: Bools) -> list[ReliabilityBin]:
    """The bins of the calibration error that hold any decision, by ascending confidence.

    Args:
        confidence: (decisions,), the probability given to what was decided.
        correct: (decisions,), whether the decision is right.
    """
    numbers = _bin_numbers(confidence)
    bins = []
    for number in np.unique(numbers):
        members = numbers == number
        accuracy = wilson_interval(float(correct[members].mean()), int(members.sum()))
        bins.append(ReliabilityBin(float(confidence[members].mean()), accuracy, int(members.sum())))
    return bins


def calibration_gaps(confidence: Floats, correct: Bools) -> Floats:
    """Each row's part of the calibration error, (rows, bins): its mean of correct - confidence, in the bin it belongs to.

    The weighted mean of a column over the rows is the signed gap of that bin times the bin's share of the decisions; the
    error is the sum of the columns' absolute values.

    Args:
        confidence: (rows, decisions per row).
        correct: (rows, decisions per row).
    """
    rows, decisions = confidence.shape
    gaps = np.zeros((rows, CALIBRATION_BINS))
    np.add.at(gaps, (np.arange(rows)[:, None], _bin_numbers(confidence)), (correct - confidence) / decisions)
    return gaps


def _bin_numbers(confidence: Floats) -> Ints:
    return np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
