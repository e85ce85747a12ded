"""Calibration: whether predictions made with probability p are right as often as p says.

The bins are those of Guo et al. 2017, arXiv:1706.04599: 15 of equal width.
"""

from dataclasses import dataclass

import numpy as np

from fit.arrays import Bools, Floats, Ints
from fit.metrics.arrays import ratio
from fit.metrics.intervals import Clusters, Interval, wilson_interval

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class ReliabilityBin:
    """Decisions of similar confidence: their mean confidence, their accuracy with its interval, and their number."""

    confidence: float
    accuracy: Interval
    decisions: int


def reliability(confidence: Floats, correct: Bools) -> list[ReliabilityBin]:
    """The bins that hold any decision, by ascending confidence.

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


def calibration_error(confidence: Floats, correct: Bools, clusters: Clusters) -> float:
    """The root mean square of the difference between confidence and accuracy, without the part that noise adds.

    In each bin, the squared difference between mean confidence and accuracy is larger than the true one by its
    variance, which is estimated and subtracted (Kumar et al. 2019, arXiv:1909.10155, section 4), here between split
    groups. The weighted sum over the bins is 0 on average for perfectly calibrated probabilities; a negative one counts
    as 0. A bin of a single split group shows no variance and is left out.

    Args:
        confidence: (rows, decisions per row), the probability given to what was decided.
        correct: (rows, decisions per row), whether it is right.
        clusters: the split groups of the rows.

    Returns:
        NaN if no bin has decisions of two groups.
    """
    per_row = confidence.shape[1]
    cells = np.repeat(clusters.of_rows, per_row) * CALIBRATION_BINS + _bin_numbers(confidence.ravel())
    used, cell_of_decision, counts = np.unique(cells, return_inverse=True, return_counts=True)
    sums = np.bincount(cell_of_decision, weights=(correct - confidence).ravel(), minlength=len(used))
    bins = used % CALIBRATION_BINS
    groups, decisions, gaps = (
        np.bincount(bins, weights=values, minlength=CALIBRATION_BINS) for values in (None, counts, sums)
    )
    known = groups > 1
    if not known.any():
        return float("nan")
    mean_gaps = ratio(gaps, decisions)
    noise = np.bincount(bins, weights=(sums - counts * mean_gaps[bins]) ** 2, minlength=CALIBRATION_BINS)
    groups, decisions, mean_gaps, noise = groups[known], decisions[known], mean_gaps[known], noise[known]
    squared = mean_gaps**2 - noise / decisions**2 * groups / (groups - 1)
    return float(np.sqrt(max(float((squared * decisions).sum() / decisions.sum()), 0.0)))


def _bin_numbers(confidence: Floats) -> Ints:
    return np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
