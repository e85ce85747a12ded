"""Rows that are near each other by the cosine of their features: exact, block by block, in bounded memory. Pure.

Every cosine is computed, by matrix products of float32; its last bits may depend on where the blocks begin. Where two
rows are equally near, the one with the lower number comes first. A row of zeros has no direction: its cosine with every
row, itself included, is 0.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from fit.splits import Positions

Vectors = npt.NDArray[np.float32]
Cosines = npt.NDArray[np.float32]

NO_ROW = -1
"""In place of a neighbor, where there are fewer than were asked for."""

MOST_PAIRS = 1_000_000
BLOCK_ROWS = 2048  # the cosines of a block with a block take 16 MB

_CROWDED = 4  # times k: candidates of a row among which the k best are found before they are sorted


class Rows(Protocol):
    """Features of rows that are numbered from 0: an array (rows, columns), or what reads slices of one."""

    def __len__(self) -> int:
        """The number of rows."""
        ...

    def __getitem__(self, part: slice, /) -> npt.NDArray[np.generic]:
        """Consecutive rows, (rows, columns), finite."""
        ...


def unit_rows(values: npt.NDArray[np.generic]) -> Vectors:
    """Rows (rows, columns) of length 1, so that a product of two is their cosine; rows of zeros stay as they are."""
    scaled = np.array(values, np.float32)
    if scaled.size == 0:
        return scaled
    # Divided by the largest value first: squares of large or tiny values leave the range of float32.
    _divide(scaled, np.abs(scaled).max(axis=1))
    _divide(scaled, np.linalg.norm(scaled, axis=1))
    return scaled


def _divide(values: Vectors, lengths: Vectors) -> None:
    values /= np.where(lengths == 0, np.float32(1), lengths)[:, None]


# The nearest rows


@dataclass(frozen=True)
class Neighbors:
    """The nearest rows of each query, nearest first.

    Attributes:
        rows: (queries, k), their numbers; NO_ROW where there are fewer than k.
        cosines: (queries, k), -infinity there.
    """

    rows: Positions
    cosines: Cosines


def nearest(
    queries: npt.NDArray[np.generic], batches: Iterable[tuple[npt.NDArray[np.generic], Positions]], k: int
) -> Neighbors:
    """The k rows of a stream with the largest cosines, for each query.

    Args:
        queries: (queries, columns).
        batches: (features, row numbers), in any order, as `FeatureStore.passes` gives them; one is in memory at a time.
        k: how many neighbors, 1 or more.
    """
    directions = unit_rows(queries)
    best = _Best(len(directions), k)
    for values, rows in batches:
        candidates = unit_rows(values)
        for at in range(0, len(directions), BLOCK_ROWS):
            part = slice(at, at + BLOCK_ROWS)
            for start in range(0, len(candidates), BLOCK_ROWS):
                block = slice(start, start + BLOCK_ROWS)
                best.offer(directions[part] @ candidates[block].T, at, rows[block])
    return best.neighbors()


class _Best:
    """The k best rows so far of each query, by falling cosine, then by row."""

    def __init__(self, queries: int, k: int) -> None:
        self.k = k
        self._rows = np.full((queries, k), NO_ROW, np.int64)
        self._cosines = np.full((queries, k), -np.inf, np.float32)

    def offer(self, cosines: Cosines, first: int, rows: Positions, across: bool = False) -> None:
        """Take in the cosines (queries, rows) of consecutive queries, from number `first`, with some rows.

        With `across` they are (rows, queries); a transposed view would have to be copied.
        """
        if cosines.size == 0:
            return
        # Where fewer than k rows are found yet, the limit is -infinity, which every row reaches.
        limits = self._cosines[first : first + cosines.shape[1 if across else 0], -1].copy()
        possible = cosines >= (limits if across else limits[:, None])
        crowded = np.flatnonzero(np.count_nonzero(possible, axis=0 if across else 1) > _CROWDED * self.k)
        if len(crowded):
            chosen = np.ascontiguousarray(cosines[:, crowded].T) if across else cosines[crowded]
            kth = np.partition(chosen, -self.k, axis=1)[:, -self.k]
            limits[crowded] = np.maximum(limits[crowded], kth)
            possible = cosines >= (limits if across else limits[:, None])
        place = _where(possible)
        of, at = place[::-1] if across else place
        if len(of):
            self._take_in(of + first, cosines[place], rows[at])

    def _take_in(self, of: Positions, cosines: Cosines, rows: Positions) -> None:
        changed = np.unique(of)
        of = np.concatenate([np.repeat(changed, self.k), of])
        cosines = np.concatenate([self._cosines[changed].ravel(), cosines])
        rows = np.concatenate([self._rows[changed].ravel(), rows])
        order = np.lexsort((rows, -cosines, of))
        of, cosines, rows = of[order], cosines[order], rows[order]
        rank = np.arange(len(of)) - np.searchsorted(of, of)
        kept = rank < self.k
        self._cosines[of[kept], rank[kept]] = cosines[kept]
        self._rows[of[kept], rank[kept]] = rows[kept]

    def neighbors(self) -> Neighbors:
        """The best of all rows that were offered."""
        return Neighbors(self._rows, self._cosines)


def _where(chosen: npt.NDArray[np.bool_]) -> tuple[Positions, Positions]:
    """The row and the column of each element that is chosen; faster than `np.nonzero` where few are."""
    row, column = np.divmod(np.flatnonzero(chosen), chosen.shape[1])
    return row, column


# All rows with all rows


@dataclass(frozen=True)
class NearPairs:
    """Pairs of rows whose cosine is at least a threshold; sorted, each pair once.

    Attributes:
        first: (pairs,), the lower row of each.
        second: (pairs,), the higher row.
        cosines: (pairs,).
        found: the number of all such pairs. If it is more than the most that are kept, `first` and `second` have only those
            that hold the groups of near rows together (a maximum spanning forest).
    """

    first: Positions
    second: Positions
    cosines: Cosines
    found: int

    def __len__(self) -> int:
        return len(self.first)


def near_pairs(
    features: Rows, threshold: float, most: int = MOST_PAIRS, done: Callable[[int], None] = lambda _: None
) -> NearPairs:
    """All pairs of rows whose cosine is at least the threshold.

    Args:
        features: the rows, read in blocks: each block once for every block before it.
        threshold: above 0, at most 1.
        most: how many pairs are kept, see `NearPairs`; memory is bounded by it.
        done: receives the number of rows that are compared with all others, as they are.

    Raises:
        ValueError: a threshold that cannot be.
    """
    return compare_all(features, 0, threshold, most, done)[1]


def compare_all(
    features: Rows, k: int, threshold: float, most: int = MOST_PAIRS, done: Callable[[int], None] = lambda _: None
) -> tuple[Neighbors, NearPairs]:
    """The k nearest other rows of every row, and what `near_pairs` gives, in one pass over all pairs.

    Args:
        features: see `near_pairs`.
        k: how many neighbors of each row; 0 for none.
        threshold: see `near_pairs`.
        most: see `near_pairs`.
        done: see `near_pairs`.

    Raises:
        ValueError: a threshold that cannot be.
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"the threshold is {threshold}: expected a cosine above 0 and at most 1")
    best, pairs = _Best(len(features), k), _PairCollection(len(features), threshold, most)
    for at, start, cosines in _ahead(_blocks(features)):
        pairs.offer(cosines, at, start)
        if k:
            best.offer(cosines, at, np.arange(start, start + cosines.shape[1]))
            if start > at:
                best.offer(cosines, start, np.arange(at, at + len(cosines)), across=True)
        if start + cosines.shape[1] == len(features):
            done(len(cosines))
    return best.neighbors(), pairs.near_pairs()


Item = TypeVar("Item")


def _ahead(items: Iterator[Item]) -> Iterator[Item]:
    """The same items; a thread makes the next one while the caller works on the last.

    The library that multiplies matrices uses all cores, and nothing else here uses more than one.
    """
    with ThreadPoolExecutor(1, "compare") as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item


def _blocks(features: Rows) -> Iterator[tuple[int, int, Cosines]]:
    """(first row, first column, cosines) of each block on the diagonal and above it; a row has none with itself."""
    count = len(features)
    for at in range(0, count, BLOCK_ROWS):
        ours = unit_rows(features[at : at + BLOCK_ROWS])
        for start in range(at, count, BLOCK_ROWS):
            theirs = ours if start == at else unit_rows(features[start : start + BLOCK_ROWS])
            cosines: Cosines = ours @ theirs.T
            if start == at:
                np.fill_diagonal(cosines, -np.inf)
            yield at, start, cosines


class _PairCollection:
    """Pairs as they are found, thinned out to a spanning forest when there are too many."""

    def __init__(self, count: int, threshold: float, most: int) -> None:
        self._count = count
        self._threshold = np.float32(threshold)
        self._most = most
        self._parts: list[tuple[Positions, Positions, Cosines]] = []
        self._kept = self._found = 0

    def offer(self, cosines: Cosines, at: int, start: int) -> None:
        """Take in a block; of one on the diagonal, what is above the diagonal."""
        near = np.flatnonzero(cosines.max(axis=1) >= self._threshold)
        of, to = _where(cosines[near] >= self._threshold)
        of = near[of]
        if at == start:
            of, to = of[of < to], to[of < to]
        if len(of) == 0:
            return
        self._parts.append((of + at, to + start, np.minimum(cosines[of, to], np.float32(1))))
        self._found += len(of)
        self._kept += len(of)
        if self._kept > self._most:
            self._parts = [_spanning_forest(*self._joined(), self._count)]
            self._kept = len(self._parts[0][0])

    def _joined(self) -> tuple[Positions, Positions, Cosines]:
        none = (np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
        first, second, cosines = (np.concatenate(parts) for parts in zip(none, *self._parts, strict=True))
        return first, second, cosines

    def near_pairs(self) -> NearPairs:
        """All that were offered, or those that are kept of them."""
        if self._found > self._most and self._kept < self._found:
            self._parts = [_spanning_forest(*self._joined(), self._count)]
        first, second, cosines = self._joined()
        order = np.lexsort((second, first))
        return NearPairs(first[order], second[order], cosines[order], self._found)


def _spanning_forest(
    first: Positions, second: Positions, cosines: Cosines, count: int
) -> tuple[Positions, Positions, Cosines]:
    """Of the pairs those that keep each group connected, by the largest cosines."""
    weights = 2 - cosines.astype(np.float64)  # smallest for the nearest, and never 0, which would be no pair
    forest = minimum_spanning_tree(coo_array((weights, (first, second)), shape=(count, count)).tocsr()).tocoo()
    low, high = np.minimum(forest.row, forest.col), np.maximum(forest.row, forest.col)
    return low.astype(np.int64), high.astype(np.int64), (2 - forest.data).astype(np.float32)


def near_groups(pairs: NearPairs, count: int) -> Positions:
    """(rows,): each row's group of near rows, directly or through others; groups are numbered by their first row."""
    links = coo_array((np.ones(len(pairs), bool), (pairs.first, pairs.second)), shape=(count, count))
    found = connected_components(links, directed=False)[1]
    _, first, of_rows = np.unique(found, return_index=True, return_inverse=True)
    groups: Positions = np.argsort(np.argsort(first))[of_rows].astype(np.int64)
    return groups
