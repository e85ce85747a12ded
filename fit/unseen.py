"""Which images of a store say how good a head is: those that it has not seen.

A head knows the images of its fit by the SHA-256 of their bytes, whatever they are called and wherever they are now. An
image that it learned from does not count, nor does one of the same split group or of a group that it learned from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from extract.api import SILENT, Reporter
from fit.arrays import Bools
from fit.experiment_record import LEARNS, STOPS, TESTS, ExperimentRecord, first_digits
from fit.rows import ImageRows, pick
from fit.splits import TEST, Positions, SplitGroups, find_split_groups
from store.errors import UsageError


@dataclass(frozen=True)
class Selection:
    """What a head is evaluated on.

    Attributes:
        rows: the images.
        split_groups: of those images.
        seen: how many images were left out because the head has seen them.
        tested: how many of the images are test images of the head's own fit.
    """

    rows: ImageRows
    split_groups: SplitGroups
    seen: int
    tested: int


def select_unseen(
    rows: ImageRows, record: ExperimentRecord | None, split: str | None, seed: int, reporter: Reporter = SILENT
) -> Selection:
    """The images that a head is evaluated on: those of a split, without those that it has seen.

    Where train or validation is asked for, the images that the head has seen stay, and a warning says so.

    Args:
        rows: of the store.
        record: of the head's fit; None for heads of 0.5.0, which do not know what they have seen.
        split: of the head's own fit for the images that it knows, of the store for others; None for all.
        seed: of the head, for the split groups.
        reporter: what is left out is reported.

    Raises:
        UsageError: there are no such images, or none that the head has not seen.
    """
    owners = _owners(rows, record, reporter)
    groups = find_split_groups(rows.texts("sha256"), owners, seed)
    seen = np.zeros(len(rows), bool) if record is None else _seen(rows, record, groups, owners)
    chosen = np.ones(len(rows), bool) if split is None else _of_split(rows, record, split)
    if not chosen.any():
        there = {*rows.table["split"].to_pylist(), *(record.splits.values() if record else ())} - {None}
        raise UsageError(
            f"no image of split {split!r}: the store and the head's experiment.json have "
            f"{', '.join(sorted(there)) or 'no splits'}; leave --split out for all images"
        )
    kept = chosen & ~seen if split in (None, TEST) else chosen
    if not kept.any():
        raise UsageError(
            f"the head has seen all {int(chosen.sum()):,} images: give it others, or see its validation in metrics.json"
        )
    left_out = int((chosen & ~kept).sum())
    _report_seen(left_out, int((kept & seen).sum()), record, reporter)
    positions = np.flatnonzero(kept)
    tested = 0 if record is None else _count_tested(rows, record, kept)
    return Selection(pick(rows, positions), SplitGroups(groups.of_rows[positions], groups.keys), left_out, tested)


def find_test_groups(evaluated: ImageRows, rows: ImageRows, record: ExperimentRecord) -> Positions | None:
    """(images,): the split group that each evaluated image has in a head's fit, if these are its test images.

    None if there are more or fewer, or if an image of the fit has another label now.

    Args:
        evaluated: some of the rows.
        rows: of the store.
        record: of the head's fit.
    """
    images = record.images
    tested = [place for place, role in enumerate(images.kept_fit) if role == TESTS]
    known = [(images.path[place], images.sha256[place]) for place in tested]
    if known != list(zip(evaluated.texts("path"), _digits(evaluated), strict=True)):
        return None
    labels = dict(zip(rows.texts("path"), rows.table["label"].to_pylist(), strict=True))
    return np.array(images.split_group, np.int64)[tested] if record.has_labels(labels) else None


def _owners(rows: ImageRows, record: ExperimentRecord | None, reporter: Reporter) -> Sequence[str | None] | None:
    """The groups of the column by which the head's images were kept together, where this store has it."""
    column = None if record is None else record.choices.group_by
    if column is None:
        return None
    if column not in rows.table.column_names or rows.table[column].null_count == len(rows):
        reporter.message(f"note: the head was fitted with --group-by {column}, which these images do not have")
        return None
    return rows.groups(column)


def _seen(rows: ImageRows, record: ExperimentRecord, groups: SplitGroups, owners: Sequence[str | None] | None) -> Bools:
    """(rows,): whether the head has seen the image, or one that belongs with it."""
    roles = record.roles
    learned = np.array([roles.get(digits) in (LEARNS, STOPS) for digits in _digits(rows)], bool)
    if owners is not None:
        known = record.learned_groups
        learned |= np.array([name in known for name in owners], bool)
    seen: Bools = np.isin(groups.of_rows, groups.of_rows[learned])
    return seen


def _of_split(rows: ImageRows, record: ExperimentRecord | None, split: str) -> Bools:
    """(rows,): whether the image is of that split, in the head's fit or, where that does not know it, in the store.

    An image that the fit left out is of the store's split alone: its bytes may be those of a test image.
    """
    known = {} if record is None else record.splits
    left_out = frozenset[tuple[str, str]]() if record is None else record.left_out
    images = zip(rows.texts("path"), _digits(rows), rows.table["split"].to_pylist(), strict=True)
    return np.array(
        [
            split == given or (split == known.get(digits) and (path, digits) not in left_out)
            for path, digits, given in images
        ],
        bool,
    )


def _count_tested(rows: ImageRows, record: ExperimentRecord, kept: Bools) -> int:
    roles = record.roles
    return sum(roles.get(digits) == TESTS for digits, keep in zip(_digits(rows), kept.tolist(), strict=True) if keep)


def _digits(rows: ImageRows) -> list[str]:
    return first_digits(rows.texts("sha256"))


def _report_seen(left_out: int, evaluated: int, record: ExperimentRecord | None, reporter: Reporter) -> None:
    if record is None:
        reporter.message(
            "note: a head of 0.5.0 does not say which images it has learned from: those of them that are here "
            "make it look better than it is"
        )
    if left_out:
        reporter.message(
            f"{left_out:,} images are left out: the head has learned from them, or from one of their split group"
        )
    if evaluated:
        reporter.message(
            f"warning: the head has learned from {evaluated:,} of these images: they do not say how good it is"
        )
