"""Arithmetic of the metrics, in which 0 / 0 is NaN."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fit.arrays import Bools, Floats, Ints


def require_same_rows(first: Bools | Floats, second: Bools | Floats) -> None:
    """Raise ValueError unless both are of the same rows, one or more."""
    if first.shape != second.shape or not len(first):
        raise ValueError(f"expected two arrays of one shape with a row or more, got {first.shape} and {second.shape}")


def join_groups(groupings: Sequence[Ints]) -> Ints:
    """(rows,): rows that any of the groupings (rows,) puts together, and rows that are together with such, get one number."""
    joined = np.unique(groupings[0], return_inverse=True)[1].astype(np.int64)
    for grouping in groupings[1:]:
        numbers = np.unique(grouping, return_inverse=True)[1]
        count = int(max(joined.max(initial=-1), numbers.max(initial=-1))) + 1
        links = coo_array((np.ones(len(joined), bool), (joined, numbers + count)), shape=(2 * count, 2 * count))
        joined = connected_components(links, directed=False)[1][joined].astype(np.int64)
    return joined


def ratio(numerator: Ints | Floats, denominator: Ints | Floats) -> Floats:
    """Elementwise quotient, with broadcasting; NaN where the denominator is 0."""
    safe = np.where(denominator == 0, 1, denominator)
    return np.where(denominator == 0, np.nan, numerator / safe)
