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

_SPREADING_ROUNDS = 10


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


def find_split_groups(
    sha256: Sequence[str], groups: Sequence[str | None] | None, seed: int, twins: Positions | None = None
) -> SplitGroups:
    """Join rows of equal content and, where they are given, rows of one group and near twins.

    Args:
        sha256: the source's digest of each row.
        groups: each row's group; None in it is a row of no group.
        seed: goes into the hash that orders the groups.
        twins: (rows,); rows with the same number are near twins.
    """
    names = [f"sha256:{value}" for value in sha256]
    contents = np.unique(names, return_inverse=True)[1]
    if groups is not None:
        names = [name if group is None else f"group:{group}" for name, group in zip(names, groups, strict=True)]
    owners = np.unique(names, return_inverse=True)[1]
    # Rows of one content, of one owner and of one set of twins are linked; each connected component is a split group.
    count = len(names)
    ends = [owners + count] if twins is None else [owners + count, np.unique(twins, return_inverse=True)[1] + 2 * count]
    starts = np.concatenate([contents] * len(ends))
    size = (len(ends) + 1) * count
    links = coo_array((np.ones(len(starts), bool), (starts, np.concatenate(ends))), shape=(size, size))
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
    more also gives one to a requested validation. No class is missing from train: where groups are of several classes,
    one group of a class that would be is taken from the other parts.

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
    _keep_classes_in_train(parts, _groups_of_classes(rows, strata, groups))
    train, validated, tested_rows = (_rows_of(part, rows, groups) for part in parts)
    return train, validated, tested_rows


def _keep_classes_in_train(parts: tuple[list[int], list[int], list[int]], of_classes: Sequence[Positions]) -> None:
    """Move a split group of each class that train lacks to train, from validation where that has one."""
    train = parts[0]
    for members in of_classes:
        if set(train).isdisjoint(members.tolist()):
            held_out = next(part for part in parts[1:] if not set(part).isdisjoint(members.tolist()))
            moved = next(group for group in members.tolist() if group in held_out)
            held_out.remove(moved)
            train.append(moved)


def _groups_of_classes(rows: Positions, strata: npt.NDArray[np.int64], groups: SplitGroups) -> list[Positions]:
    """For each class that occurs: the split groups that have a row of it, in hash order."""
    pairs = np.unique(np.stack([strata[rows], groups.of_rows[rows]], axis=1), axis=0)
    order = np.lexsort((groups.keys[pairs[:, 1]], pairs[:, 0]))
    ordered = pairs[order]
    return np.split(ordered[:, 1], np.flatnonzero(np.diff(ordered[:, 0])) + 1) if len(ordered) else []


def _at_least(middles: npt.NDArray[np.float64], limit: float, least: int) -> int:
    """How many groups, in order, have their middle before the limit; but no fewer than `least`."""
    return max(int(np.searchsorted(middles, limit, side="right")), int(least))


def folds(rows: Positions, strata: npt.NDArray[np.int64], groups: SplitGroups, count: int) -> list[Positions]:
    """The rows of each fold: split groups whole, classes spread evenly.

    Every class is in every training side, which is what is outside a fold. So a split group that is the only one of a
    class is in no fold, and a class of two or more is never in one fold alone. All other rows are in one fold each.
    """
    of_classes = _groups_of_classes(rows, strata, groups)
    kept = {int(members[0]) for members in of_classes if len(members) == 1}
    fold_of: dict[int, int] = {}
    for ordered, middles, total in _ordered_groups(rows, strata, groups):
        shift = int(groups.keys[ordered[0]] % count)  # so that small classes do not all begin in the first fold
        for group, middle in zip(ordered.tolist(), middles.tolist(), strict=True):
            fold_of[group] = (int(middle * count / total) + shift) % count
    for group in kept:
        del fold_of[group]
    _spread_classes(fold_of, of_classes, count)
    number = np.full(len(groups.keys), -1, np.int64)
    number[list(fold_of)] = list(fold_of.values())
    return [rows[number[groups.of_rows[rows]] == fold] for fold in range(count)]


def nested_parts(
    rows: Positions, strata: npt.NDArray[np.int64], groups: SplitGroups, fractions: Sequence[float], least: int
) -> list[Positions]:
    """Parts of the rows, each within every larger one: split groups whole, classes in their proportions.

    Args:
        rows: what is divided.
        strata: (all rows,), each row's class.
        groups: of all rows; their order decides which come first.
        fractions: of each part, above 0; 1 for all rows.
        least: how many split groups of each class every part has, or all where a class has fewer.
    """
    place = np.full(len(groups.keys), np.inf)
    for ordered, middles, total in _ordered_groups(rows, strata, groups):
        place[ordered] = middles / total
    for members in _groups_of_classes(rows, strata, groups):
        place[members[:least]] = 0.0
    place_of_rows = place[groups.of_rows[rows]]
    return [rows[place_of_rows < fraction] for fraction in fractions]


def _spread_classes(fold_of: dict[int, int], of_classes: Sequence[Positions], count: int) -> None:
    """Take classes apart that lie in one fold alone, as they may where split groups are of several classes.

    Moving a group to the next fold may put another class into one fold; a group that is not settled after some rounds
    is taken out of all folds.
    """
    for attempt in range(_SPREADING_ROUNDS):
        settled = True
        for members in of_classes:
            within = [group for group in members.tolist() if group in fold_of]
            if within and len(within) == len(members) and len({fold_of[group] for group in within}) == 1:
                settled = False
                if attempt == _SPREADING_ROUNDS - 1:
                    del fold_of[within[-1]]
                else:
                    fold_of[within[-1]] = (fold_of[within[-1]] + 1) % count
        if settled:
            return


def reshuffled(groups: SplitGroups, repeat: int) -> SplitGroups:
    """The same split groups in another order for each repeat of a cross-validation; as they are for repeat 0.

    The keys are mixed as in SplitMix64 (Steele, Lea & Flood 2014, doi:10.1145/2660193.2660195).
    """
    if repeat == 0:
        return groups
    with np.errstate(over="ignore"):
        mixed = groups.keys + np.uint64(repeat) * np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return SplitGroups(groups.of_rows, mixed ^ (mixed >> np.uint64(31)))


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
    """The rows that share no split group with `others`."""
    return rows[~np.isin(groups.of_rows[rows], groups.of_rows[others])]
