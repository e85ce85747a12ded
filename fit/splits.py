"""Rows -> train, validation and test, or folds. Pure: the same rows and seed give the same parts, whatever their order.

Rows that must stay on one side form a *split group*: rows of one group, and rows of equal bytes. Each class's split groups
are sorted by a hash of (seed, group or content) and cut at the fractions, so that adding images moves few rows.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from store.errors import UsageError

TRAIN, VALIDATION, TEST = "train", "validation", "test"

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row positions, ascending; validation and test may be empty."""

    train: Positions
    validation: Positions
    test: Positions

    @property
    def development(self) -> Positions:
        """Train and validation: what a final head may learn from."""
        return np.sort(np.concatenate([self.train, self.validation]))


@dataclass(frozen=True)
class SplitGroups:
    """Rows that must stay together: each row's split group, and each group's place in the order that splits are cut in.

    `of_rows` is (rows,); `keys` is (groups,), 64-bit hashes.
    """

    of_rows: Positions
    keys: npt.NDArray[np.uint64]

    @property
    def sizes(self) -> Positions:
        """How many rows each split group has."""
        return np.bincount(self.of_rows, minlength=len(self.keys))


def find_split_groups(sha256: Sequence[str], groups: Sequence[str | None] | None, seed: int) -> SplitGroups:
    """Join rows of equal content and, where groups are given, rows of one group.

    Args:
        sha256: the source's digest of each row.
        groups: each row's group; None in it is a row of no group.
        seed: goes into the hash that orders the groups.
    """
    names = [f"sha256:{value}" for value in sha256]
    contents = np.unique(names, return_inverse=True)[1]
    if groups is not None:
        names = [name if group is None else f"group:{group}" for name, group in zip(names, groups, strict=True)]
    owners = np.unique(names, return_inverse=True)[1]
    # Rows of one content and rows of one owner are linked; each connected component is a split group.
    count = int(max(contents.max(initial=-1), owners.max(initial=-1))) + 1
    links = coo_array((np.ones(len(names), bool), (contents, owners + count)), shape=(2 * count, 2 * count))
    of_rows = np.unique(connected_components(links, directed=False)[1][contents], return_inverse=True)[1]
    keys = np.full(int(of_rows.max(initial=-1)) + 1, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(keys, of_rows, np.array([_hash(seed, name) for name in names], np.uint64))
    return SplitGroups(of_rows.astype(np.int64), keys)


def _hash(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:8], "big")


def cut(
    rows: Positions, strata: npt.NDArray[np.int64], groups: SplitGroups, validation: float, test: float
) -> tuple[Positions, Positions, Positions]:
    """(train, validation, test) of these rows, class by class.

    A class of two split groups or more gives at least one to train and one to a requested test; a class of three or
    more also gives one to a requested validation.

    Args:
        rows: positions to be split.
        strata: (all rows,), each row's class.
        groups: the split groups of all rows.
        validation: the requested fraction, 0 for none.
        test: likewise.
    """
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for ordered, middles, total in _ordered_groups(rows, strata, groups):
        tested = _at_least(middles, test * total, 1 if test and len(ordered) > 1 else 0)
        held_out = _at_least(middles, (test + validation) * total, tested + (validation > 0 and len(ordered) > 2))
        held_out = min(held_out, len(ordered) - 1)
        tested = min(tested, held_out)
        for part, chosen in zip(parts, (ordered[held_out:], ordered[tested:held_out], ordered[:tested]), strict=True):
            part.extend(chosen.tolist())
    train, validated, tested_rows = (_rows_of(part, rows, groups) for part in parts)
    return train, validated, tested_rows


def _at_least(middles: npt.NDArray[np.float64], limit: float, least: int) -> int:
    """How many groups, in order, have their middle before the limit; but no fewer than `least`."""
    return max(int(np.searchsorted(middles, limit, side="right")), int(least))


def folds(rows: Positions, strata: npt.NDArray[np.int64], groups: SplitGroups, count: int) -> list[Positions]:
    """The rows of each fold: every row in one, split groups whole, classes spread evenly.

    A class of two split groups or more is never in one fold alone.
    """
    parts: list[list[int]] = [[] for _ in range(count)]
    for ordered, middles, total in _ordered_groups(rows, strata, groups):
        shift = int(groups.keys[ordered[0]] % count)  # so that small classes do not all begin in the first fold
        for group, middle in zip(ordered.tolist(), middles.tolist(), strict=True):
            parts[(int(middle * count / total) + shift) % count].append(group)
    return [_rows_of(part, rows, groups) for part in parts]


def _ordered_groups(
    rows: Positions, strata: npt.NDArray[np.int64], groups: SplitGroups
) -> list[tuple[Positions, npt.NDArray[np.float64], int]]:
    """For each class: its split groups in hash order, the middle of each in cumulated rows, and the rows in all.

    A split group of several classes counts as one of the class that most of its rows have.
    """
    count = int(strata.max(initial=-1)) + 1
    votes = np.zeros((len(groups.keys), count), np.int64)
    np.add.at(votes, (groups.of_rows[rows], strata[rows]), 1)
    sizes = votes.sum(axis=1)
    leading = votes.argmax(axis=1)
    ordered_groups = []
    for stratum in range(count):
        members = np.flatnonzero((leading == stratum) & (sizes > 0))
        if len(members) == 0:
            continue
        members = members[np.argsort(groups.keys[members], kind="stable")]
        ends = np.cumsum(sizes[members])
        ordered_groups.append((members, ends - sizes[members] / 2, int(ends[-1])))
    return ordered_groups


def _rows_of(chosen: Sequence[int], rows: Positions, groups: SplitGroups) -> Positions:
    return rows[np.isin(groups.of_rows[rows], np.asarray(chosen, np.int64))]


def split_rows(
    given: Sequence[str | None], strata: npt.NDArray[np.int64], groups: SplitGroups, validation: float, test: float
) -> Split:
    """The split of all rows: the given one if there is one, else by hash.

    If a given split has no validation, that is taken from train; if it has no test, the test stays empty. Where a split
    group is on several sides of a given split, its rows in train are left out, and so are those in validation if the
    group is also in test: test stays as it is.

    Args:
        given: each row's split, or None for every row.
        strata: (rows,), each row's class.
        groups: see `find_split_groups`.
        validation: the fraction for validation where it must be taken.
        test: likewise.

    Raises:
        UsageError: some rows have a split and others do not, or there is no train.
    """
    every = np.arange(len(given), dtype=np.int64)
    if all(name is None for name in given):
        return Split(*cut(every, strata, groups, validation, test))
    missing = sum(name is None for name in given)
    if missing:
        raise UsageError(
            f"{missing:,} of {len(given):,} rows have no split while the others do: "
            "give every row one (train, validation, test), or none at all"
        )
    names = np.array(given)
    parts = {name: np.flatnonzero(names == name) for name in (TRAIN, VALIDATION, TEST)}
    if len(parts[TRAIN]) == 0:
        raise UsageError("the store's own split has no train rows: expected train, and optionally validation and test")
    tested = parts[TEST]
    validated = _without(parts[VALIDATION], groups, tested)
    train = _without(parts[TRAIN], groups, np.concatenate([tested, validated]))
    if len(parts[VALIDATION]) == 0:
        train, validated, _ = cut(train, strata, groups, validation, 0.0)
    return Split(train, validated, tested)


def _without(rows: Positions, groups: SplitGroups, others: Positions) -> Positions:
    """Those rows that share no split group with the others."""
    return rows[~np.isin(groups.of_rows[rows], groups.of_rows[others])]
