"""95 % intervals: the percentile bootstrap (Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 13).

A resample is an array of row weights: a row drawn k times has weight k. Rows that belong together (one group) are drawn
together, and a resample has as many groups as the data.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass

import numpy as np

from fit.metrics.arrays import Bools, Floats, Ints

CHUNK_CELLS = 2**20
"""Resamples x rows whose weights are in memory at a time: 8 MiB, of which a few copies are made."""

_QUANTILE = 1.959964  # of the normal distribution, for 95 %


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval; None where undefined."""

    value: float | None
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, float | None]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Resampling:
    """How rows are drawn for intervals.

    Attributes:
        groups: (rows,), rows with the same number are drawn together; None draws every row by itself.
        seed: of the draws.
        count: how many resamples; with 0 there are no intervals.
    """

    groups: Ints | None = None
    seed: int = 0
    count: int = 1000


ROW_BY_ROW = Resampling()
NO_INTERVALS = Resampling(count=0)


def draw_weights(rows: int, resampling: Resampling) -> Iterator[tuple[int, Ints]]:
    """Draw all resamples, in chunks that fit into memory.

    Yields:
        The number of the chunk's first resample, and the weights (resamples of the chunk, rows).
    """
    if rows == 0:
        return
    groups = resampling.groups
    group_of_row = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    group_count = int(group_of_row.max()) + 1
    rng = np.random.default_rng(resampling.seed)
    size = max(1, CHUNK_CELLS // rows)
    for first in range(0, resampling.count, size):
        # One call of the generator per resample, so that the numbers do not depend on the size of the chunks.
        weights = [
            np.bincount(rng.integers(0, group_count, group_count), minlength=group_count)
            for _ in range(min(size, resampling.count - first))
        ]
        yield first, np.stack(weights)[:, group_of_row]


def percentile_interval(value: float, resampled: Floats) -> Interval:
    """The interval from the 2.5th to the 97.5th percentile of the resampled values.

    Args:
        value: from all rows; NaN where undefined.
        resampled: (resamples,); NaN, where the value is undefined in a resample, is left out.
    """
    if np.isnan(value):
        return Interval(None, None, None)
    known = resampled[~np.isnan(resampled)]
    if len(known) == 0:
        return Interval(float(value), None, None)
    low, high = np.percentile(known, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))


def paired_difference(first: Bools, second: Bools, resampling: Resampling = ROW_BY_ROW) -> Interval:
    """The accuracy of `first` less that of `second` on the same rows.

    Rows are drawn in pairs, so rows that are difficult for both do not widen the interval.

    Args:
        first: (rows,), whether the one prediction is right.
        second: (rows,), whether the other is.
        resampling: how rows are drawn.

    Raises:
        ValueError: the shapes differ.
    """
    if first.shape != second.shape:
        raise ValueError(f"expected two arrays of one shape, got {first.shape} and {second.shape}")
    gains = first.astype(np.float64) - second
    chunks = [weights @ gains / len(gains) for _, weights in draw_weights(len(gains), resampling)]
    return percentile_interval(
        float(gains.mean()) if len(gains) else np.nan, np.concatenate(chunks) if chunks else gains
    )


def wilson_interval(share: float, count: int) -> Interval:
    """A share of `count` trials with its interval, which stays within 0 and 1.

    Wilson 1927, Journal of the American Statistical Association 22, 209.
    """
    middle = share + _QUANTILE**2 / (2 * count)
    spread = _QUANTILE * np.sqrt(share * (1 - share) / count + _QUANTILE**2 / (4 * count**2))
    scale = 1 + _QUANTILE**2 / count
    return Interval(share, max(0.0, float((middle - spread) / scale)), min(1.0, float((middle + spread) / scale)))
