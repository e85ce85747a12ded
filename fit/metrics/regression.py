"""Numbers and what was predicted for them -> metrics with 95 % intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np

from fit.arrays import Floats
from fit.metrics.correlation import spearman
from fit.metrics.estimates import Estimate, explained_share, mean_of
from fit.metrics.intervals import (
    ROW_BY_ROW,
    Clusters,
    Interval,
    Requirement,
    Sampling,
    interval_of,
    value_alone,
    without_interval,
)

REGRESSION_METRICS = ("mean_absolute_error", "root_mean_squared_error", "r2", "spearman")
"""The fields of `RegressionScores` that are intervals."""

ERRORS = ("mean_absolute_error", "root_mean_squared_error")
"""Those that are in the unit of the labels."""

REGRESSION_REQUIREMENTS = {
    "mean_absolute_error": Requirement(images=100, groups=30),
    "r2": Requirement(images=1000, groups=30),
    "spearman": Requirement(images=30, groups=10),
}
"""What each metric needs for an interval that covers the truth in 93 to 97.5 % of samples (`benchmarks/coverage.py`)."""

_NO_SQUARED_INTERVAL = "a few large errors decide it: no interval covers the truth as often as it should"


@dataclass(frozen=True)
class RegressionScores:
    """All metrics of one set of rows.

    Attributes:
        mean_absolute_error: in the unit of the targets, as is the next.
        root_mean_squared_error: which large errors raise most.
        r2: the share of the targets' variance that the predictions explain; below 0 they are worse than the mean.
        spearman: how well the predictions order the rows, from -1 to 1.
        rows: how many.
        groups: how many split groups they are of.
    """

    mean_absolute_error: Interval
    root_mean_squared_error: Interval
    r2: Interval
    spearman: Interval
    rows: int
    groups: int

    def metric(self, name: str) -> Interval:
        """The metric of that name, one of REGRESSION_METRICS."""
        interval: Interval = getattr(self, name)
        return interval

    def intervals(self) -> dict[str, Interval]:
        """All of REGRESSION_METRICS."""
        return {name: self.metric(name) for name in REGRESSION_METRICS}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The scores that `to_dict` wrote."""
        stored = cast(Mapping[str, Any], values)
        return cls(
            **{name: Interval(**stored[name]) for name in REGRESSION_METRICS},
            rows=stored["rows"],
            groups=stored["groups"],
        )

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        intervals = {name: interval.to_dict() for name, interval in self.intervals().items()}
        return {**intervals, "rows": self.rows, "groups": self.groups}


def regression_estimates(targets: Floats, predicted: Floats) -> dict[str, Estimate]:
    """Every metric of targets and predictions (rows,) but the root mean squared error, by name."""
    return {
        "mean_absolute_error": mean_of(np.abs(targets - predicted)),
        "r2": explained_share(targets, predicted),
        "spearman": spearman(targets, predicted),
    }


def score_numbers(targets: Floats, predicted: Floats, sampling: Sampling = ROW_BY_ROW) -> RegressionScores:
    """Scores of rows that each have a number.

    Args:
        targets: (rows,).
        predicted: (rows,).
        sampling: the rows' split groups, and whether there are to be intervals.

    Raises:
        ValueError: the shapes differ.
    """
    if targets.shape != predicted.shape or targets.ndim != 1:
        raise ValueError(f"expected two columns of one length, got {targets.shape} and {predicted.shape}")
    clusters = Clusters(len(targets), sampling.groups)
    intervals = {"root_mean_squared_error": _root_mean_square(targets - predicted)}
    for name, estimate in regression_estimates(targets, predicted).items():
        if sampling.intervals:
            intervals[name] = interval_of(estimate, clusters, REGRESSION_REQUIREMENTS[name])
        else:
            intervals[name] = value_alone(estimate)
    return RegressionScores(**intervals, rows=clusters.rows, groups=clusters.count)


def _root_mean_square(errors: Floats) -> Interval:
    if len(errors) == 0:
        return Interval(None, None, None, "no images")
    return without_interval(float(np.sqrt((errors**2).mean())), _NO_SQUARED_INTERVAL)
