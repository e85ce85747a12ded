"""Accuracy, or the error, for each value of a column, such as site or camera: the worst one is often what matters."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fit.arrays import Bools, Floats, Ints
from fit.metrics.estimates import Estimate, mean_of, share_of
from fit.metrics.intervals import Clusters, Interval, Requirement, interval_of
from fit.metrics.regression import REGRESSION_REQUIREMENTS
from fit.metrics.scores import SHARE


@dataclass(frozen=True)
class ValueAccuracy:
    """The accuracy on the rows that have one value in a column; None stands for a missing value."""

    value: str | None
    rows: int
    groups: int
    accuracy: Interval

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**vars(self), "accuracy": self.accuracy.to_dict()}


@dataclass(frozen=True)
class ValueErrors:
    """The mean absolute error on the rows that have one value in a column; None stands for a missing value."""

    value: str | None
    rows: int
    groups: int
    mean_absolute_error: Interval

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**vars(self), "mean_absolute_error": self.mean_absolute_error.to_dict()}


def accuracy_by(values: Sequence[str | None], right: Bools, groups: Ints | None) -> tuple[ValueAccuracy, ...]:
    """The accuracy of each value, the lowest first; of equal ones, that of more rows.

    Args:
        values: (rows,).
        right: (rows,), whether the row is predicted correctly.
        groups: (rows,), the rows' split groups; None if every row is by itself.
    """
    found = []
    for value, members in _members(values).items():
        measured = _measure(share_of(right[members]), members, groups, SHARE)
        found.append(ValueAccuracy(value, *measured))
    return tuple(sorted(found, key=lambda one: (one.accuracy.value, -one.rows, one.value or "")))


def error_by(values: Sequence[str | None], errors: Floats, groups: Ints | None) -> tuple[ValueErrors, ...]:
    """The mean of the absolute errors (rows,) of each value, the largest first; of equal ones, that of more rows."""
    requirement, found = REGRESSION_REQUIREMENTS["mean_absolute_error"], []
    for value, members in _members(values).items():
        measured = _measure(mean_of(errors[members]), members, groups, requirement)
        found.append(ValueErrors(value, *measured))
    return tuple(sorted(found, key=lambda one: (-(one.mean_absolute_error.value or 0.0), -one.rows, one.value or "")))


def _members(values: Sequence[str | None]) -> dict[str | None, Ints]:
    """The rows of each value."""
    positions = defaultdict[str | None, list[int]](list)
    for at, value in enumerate(values):
        positions[value].append(at)
    return {value: np.array(rows) for value, rows in positions.items()}


def _measure(
    estimate: Estimate, members: Ints, groups: Ints | None, requirement: Requirement
) -> tuple[int, int, Interval]:
    """How many rows and groups there are, and the metric with its interval."""
    clusters = Clusters(len(members), None if groups is None else groups[members])
    return clusters.rows, clusters.count, interval_of(estimate, clusters, requirement)
