"""Images that are far from all others, and features that say nothing. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fit.neighbors import NO_ROW, Neighbors
from fit.splits import Positions

FENCE = 3.0
"""Interquartile ranges above the upper quartile from which a distance is far out (Tukey 1977)."""

_LEAST_ROWS = 20  # quartiles of fewer distances say little


@dataclass(frozen=True)
class Outliers:
    """Rows whose distance is far out, farthest first, all distances, and the limit (infinity where there are too few).

    `distances` is (rows,): the mean cosine distance to the nearest neighbors; NaN for a row without any.
    """

    rows: Positions
    distances: npt.NDArray[np.float64]
    limit: float


def find_outliers(neighbors: Neighbors) -> Outliers:
    """Rows far from their nearest neighbors: the mean of their cosine distances (Angiulli and Pizzuti 2002)."""
    there = neighbors.rows != NO_ROW
    distances = np.full(len(there), np.nan)
    counts, some = there.sum(axis=1), there.any(axis=1)
    sums = np.where(there, 1.0 - neighbors.cosines.astype(np.float64), 0.0).sum(axis=1)
    distances[some] = np.maximum(sums[some] / counts[some], 0.0)
    if some.sum() < _LEAST_ROWS:
        return Outliers(np.empty(0, np.int64), distances, np.inf)
    lower, upper = np.quantile(distances[some], (0.25, 0.75))
    limit = float(upper + FENCE * (upper - lower))
    far = np.flatnonzero(some & (distances > limit))
    return Outliers(far[np.argsort(-distances[far], kind="stable")], distances, limit)


@dataclass(frozen=True)
class FeatureColumns:
    """The columns of features that say nothing about images.

    Attributes:
        count: of all columns.
        dead: those that are 0 for every image.
        constant: those that have another value, the same for every image.
        mean: (columns,), of all rows.
    """

    count: int
    dead: Positions
    constant: Positions
    mean: npt.NDArray[np.float32]


def describe_columns(batches: Iterable[npt.NDArray[np.float32]], count: int) -> FeatureColumns:
    """What is in each column of a stream of rows (rows, count), of which there is at least one."""
    low, high = np.full(count, np.inf, np.float32), np.full(count, -np.inf, np.float32)
    total, rows = np.zeros(count), 0
    for values in batches:
        low, high = np.minimum(low, values.min(axis=0)), np.maximum(high, values.max(axis=0))
        total += values.sum(axis=0, dtype=np.float64)
        rows += len(values)
    same = (low == high) & (rows > 1)  # of one image every feature is
    return FeatureColumns(
        count, np.flatnonzero(same & (low == 0)), np.flatnonzero(same & (low != 0)), (total / rows).astype(np.float32)
    )
