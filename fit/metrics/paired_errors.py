"""Two heads on the same images that each have a number: the difference of their mean absolute errors."""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr

from fit.arrays import Floats
from fit.metrics.arrays import require_same_rows
from fit.metrics.estimates import Scale, mean_of
from fit.metrics.intervals import (
    ROW_BY_ROW,
    Clusters,
    Interval,
    Sampling,
    measure_spread,
    too_few_groups,
    without_interval,
)
from fit.metrics.regression import REGRESSION_REQUIREMENTS


@dataclass(frozen=True)
class PairedErrors:
    """The mean absolute error of a head less that of another on the same images.

    Attributes:
        difference: with its interval: a paired t interval over split groups.
        groups: how many split groups the images are of.
        p_value: of the paired t test: how probable a difference as large as this would be if the heads were equally good;
            None where there are too few images or groups.
    """

    difference: Interval
    groups: int
    p_value: float | None

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**vars(self), "difference": self.difference.to_dict()}


def compare_errors(first: Floats, second: Floats, sampling: Sampling = ROW_BY_ROW) -> PairedErrors:
    """Compare the absolute errors of two heads on the same rows.

    Args:
        first: (rows,), of the one head; one row or more.
        second: (rows,), of the other.
        sampling: the rows' split groups.

    Raises:
        ValueError: the shapes differ, or there is no row.
    """
    require_same_rows(first, second)
    clusters = Clusters(len(first), sampling.groups)
    estimate = mean_of(first - second, Scale.SIGNED)
    value = estimate.value
    if reason := too_few_groups(clusters, REGRESSION_REQUIREMENTS["mean_absolute_error"]):
        return PairedErrors(without_interval(value, reason), clusters.count, None)
    spread = measure_spread(estimate.influence, clusters)
    if spread.variance == 0:
        reason = "the difference is the same for every image: nothing shows how much it varies"
        return PairedErrors(without_interval(value, reason), clusters.count, 1.0 if value == 0 else 0.0)
    error = float(np.sqrt(spread.variance))
    reach = spread.quantile * error
    p_value = float(2 * stdtr(spread.freedom, -abs(value) / error))
    return PairedErrors(Interval(value, value - reach, value + reach), clusters.count, p_value)
