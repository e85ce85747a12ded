"""Images that are copies of others: pairs -> which image to keep, and which leak between splits. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

from fit.audit.findings import DUPLICATE, MIRRORED, NEAR_DUPLICATE
from fit.neighbors import NearPairs
from fit.splits import TEST, TRAIN, VALIDATION, Positions

KEPT_FIRST = (TEST, VALIDATION, TRAIN, None)
"""Of copies in different splits the one that is kept: scores are about test, so test stays as it is."""

HOW = (DUPLICATE, NEAR_DUPLICATE, MIRRORED)
"""How an image is a copy, the most certain way first."""


@dataclass(frozen=True)
class CopyPairs:
    """Pairs of images: (pairs,) each; `how` are positions in HOW, `scores` are at most 1, and 1 for identical bytes."""

    first: Positions
    second: Positions
    how: Positions
    scores: npt.NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.first)


def join_pairs(*parts: CopyPairs) -> CopyPairs:
    """All pairs, each once: in the way with the highest score, of equal ones the first of HOW."""
    first = np.concatenate([part.first for part in parts])
    second = np.concatenate([part.second for part in parts])
    how = np.concatenate([part.how for part in parts])
    scores = np.concatenate([part.scores for part in parts])
    low, high = np.minimum(first, second), np.maximum(first, second)
    order = np.lexsort((how, -scores, high, low))
    low, high, how, scores = low[order], high[order], how[order], scores[order]
    new = np.ones(len(low), bool)
    new[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    return CopyPairs(low[new], high[new], how[new], scores[new])


def identical_pairs(sha256: Sequence[str]) -> tuple[CopyPairs, Positions]:
    """Each image with the first of the same bytes; and those first ones, ascending."""
    _, first, of_rows = np.unique(np.array(sha256), return_index=True, return_inverse=True)
    owners = first[of_rows]
    copies = np.flatnonzero(owners != np.arange(len(owners)))
    zeros = np.zeros(len(copies), np.int64)
    return CopyPairs(owners[copies], copies, zeros, np.ones(len(copies))), np.sort(first)


def pairs_by(near: NearPairs, rows: Positions, how: str) -> CopyPairs:
    """Near pairs of some images, `rows` being what their numbers stand for."""
    kind = np.full(len(near), HOW.index(how), np.int64)
    return CopyPairs(rows[near.first], rows[near.second], kind, near.cosines.astype(np.float64))


@dataclass(frozen=True)
class Copy:
    """An image that is a copy.

    Attributes:
        row: the image.
        other: the image that it is a copy of: the nearest one on the way to the one that is kept.
        kept: the image of its group that is kept.
        how: one of HOW.
        score: how near it is to `other`.
    """

    row: int
    other: int
    kept: int
    how: str
    score: float


def find_copies(pairs: CopyPairs, splits: Sequence[str | None]) -> list[Copy]:
    """All images that are a copy of one that is kept, the most certain first.

    Images that are linked by pairs, directly or through others, are a group. One of each group is kept: of the split
    that comes first in KEPT_FIRST, and the first of these.

    Args:
        pairs: as `join_pairs` gives them.
        splits: the split of every image.
    """
    count = len(splits)
    if len(pairs) == 0:
        return []
    # A spanning tree of the nearest pairs, and a root above all groups, linked with the image of each that is kept.
    weights = 2.0 - pairs.scores + 1e-4 * pairs.how
    links = coo_array((weights, (pairs.first, pairs.second)), shape=(count, count)).tocsr()
    forest = minimum_spanning_tree(links).tocoo()
    groups = connected_components(links, directed=False)[1]
    rank = np.array([KEPT_FIRST.index(split) if split in KEPT_FIRST else len(KEPT_FIRST) for split in splits])
    order = np.lexsort((np.arange(count), rank, groups))
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    kept = order[starts][groups]  # groups are numbered from 0 without gaps
    keepers = np.unique(kept)
    above = (
        np.concatenate([forest.row, np.full(len(keepers), count)]),
        np.concatenate([forest.col, keepers]),
    )
    tree = coo_array((np.ones(len(above[0])), above), shape=(count + 1, count + 1)).tocsr()
    parents = breadth_first_order(tree, count, directed=False)[1]
    at = {(low, high): number for number, (low, high) in enumerate(zip(pairs.first, pairs.second, strict=True))}
    copies = []
    for row in np.flatnonzero(kept != np.arange(count)).tolist():
        parent = int(parents[row])
        pair = at[min(row, parent), max(row, parent)]
        copies.append(Copy(row, parent, int(kept[row]), HOW[pairs.how[pair]], float(pairs.scores[pair])))
    return sorted(copies, key=lambda copy: (HOW.index(copy.how), -copy.score, copy.row))


def copy_groups(pairs: CopyPairs, count: int) -> Positions:
    """(images,): the group of copies that each image belongs to."""
    links = coo_array((np.ones(len(pairs), bool), (pairs.first, pairs.second)), shape=(count, count))
    groups: Positions = connected_components(links, directed=False)[1].astype(np.int64)
    return groups
