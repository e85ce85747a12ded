"""Accuracy for each value of a column, such as site or camera: the worst one is often what matters."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fit.metrics.arrays import Bools, Ints
from fit.metrics.estimates import share_of
from fit.metrics.intervals import Clusters, Interval, interval_of
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


def accuracy_by(values: Sequence[str | None], right: Bools, groups: Ints | None) -> tuple[ValueAccuracy, ...]:
    """The accuracy of each value, the lowest first; of equal ones, that of more rows.

    Args:
        values: (rows,).
        right: (rows,), whether the row is predicted right.
        groups: (rows,), the rows' split groups; None if every row is by itself.
    """
    positions = defaultdict[str | None, list[int]](list)
    for at, value in enumerate(values):
        positions[value].append(at)
    found = []
    for value, rows in positions.items():
        members = np.array(rows)
        clusters = Clusters(len(rows), None if groups is None else groups[members])
        accuracy = interval_of(share_of(right[members]), clusters, SHARE)
        found.append(ValueAccuracy(value, len(rows), clusters.count, accuracy))
    return tuple(sorted(found, key=lambda one: (one.accuracy.value, -one.rows, one.value or "")))
