"""The images that a fit may use, with labels, split groups and split: before their features are read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter
from fit.blocks import select_common_images
from fit.choices import CLASSIFICATION
from fit.heads.table import HEADS, HeadKind
from fit.numeric_labels import are_many_numbers
from fit.options import FitOptions
from fit.rows import ImageRows
from fit.splits import Positions, Split, SplitGroups, find_split_groups, split_rows
from fit.task import Targets, Task, find_numbers, find_task
from store.errors import UsageError
from store.files.names import printable
from store.reader import FeatureStore

LEAST_NUMBERS = 5
"""How many different images a regression needs to learn from."""


@dataclass(frozen=True)
class LabelledImages:
    """Images with their labels and split, before their features are read.

    Attributes:
        rows: one per image.
        task: what is to be predicted.
        targets: (images,) or (images, classes), see `fit.task.Targets`.
        split_groups: which images must stay on one side of a split.
        split: train, validation and test.
    """

    rows: ImageRows
    task: Task
    targets: Targets
    split_groups: SplitGroups
    split: Split

    @property
    def strata(self) -> npt.NDArray[np.int64]:
        """(images,): the class by which splits distribute an image."""
        return self.task.strata(self.targets, len(self.split_groups.keys))

    def __len__(self) -> int:
        return len(self.rows)


def label_images(
    stores: Sequence[FeatureStore], options: FitOptions, kind: HeadKind, reporter: Reporter = SILENT
) -> LabelledImages:
    """The images that a fit may use, with labels, split groups and split, checked: those that all stores have.

    Raises:
        UsageError: there are no images or labels, a class has too few images for the head, or the stores contradict each
            other.
    """
    rows = select_common_images(stores, options.labels, options.exclude_from, reporter)
    labels, paths = rows.texts("label"), rows.texts("path")
    if options.task == CLASSIFICATION and are_many_numbers(labels):
        reporter.message("note: all labels are numbers, many different ones: --task regression predicts numbers")
    task, targets = (find_task if options.task == CLASSIFICATION else find_numbers)(labels, paths)
    _require_suitable(kind, task)
    images = _split(rows, task, targets, options, None)
    _report_identical(images, reporter)
    _require_enough(images, kind)
    return images


def keep_twins_together(
    images: LabelledImages, twins: Positions, options: FitOptions, kind: HeadKind, reporter: Reporter = SILENT
) -> LabelledImages:
    """The same images split again, near twins on one side.

    Args:
        images: split already, by content and group.
        twins: (images,); images with the same number are near twins.
        options: of the fit.
        kind: the head's entry in the table.
        reporter: what is left out is reported.

    Raises:
        UsageError: a class has too few images for the head now.
    """
    split = _split(images.rows, images.task, images.targets, options, twins)
    _report_left_out(split, reporter)
    _require_enough(split, kind)
    return split


def _split(
    rows: ImageRows, task: Task, targets: Targets, options: FitOptions, twins: Positions | None
) -> LabelledImages:
    owners = None if options.group_by is None else rows.groups(options.group_by)
    groups = find_split_groups(rows.texts("sha256"), owners, options.seed, twins)
    given = rows.table["split"].to_pylist()
    split = split_rows(given, task.strata(targets, len(groups.keys)), groups, options.val, options.test)
    return LabelledImages(rows, task, targets, groups, split)


def _require_suitable(kind: HeadKind, task: Task) -> None:
    if task.multi_label and not kind.multi_label:
        raise UsageError(
            f"some images have several labels (a|b), which the head {kind.name} cannot learn: "
            f"use one of {', '.join(other.name for other in HEADS.values() if other.multi_label)}"
        )


def _report_identical(images: LabelledImages, reporter: Reporter) -> None:
    """Report how many images are identical to others, and what follows from that."""
    digests, labels = images.rows.texts("sha256"), images.rows.texts("label")
    counts = [count for count in Counter(digests).values() if count > 1]
    if counts:
        reporter.message(
            f"{sum(counts):,} images are identical to another ({len(counts):,} different ones): "
            "they stay in the same split"
        )
    contradicting = _contradicting(digests, labels)
    if contradicting:
        reporter.message(f"warning: {contradicting:,} identical images have different labels")
    _report_left_out(images, reporter)


def _report_left_out(images: LabelledImages, reporter: Reporter) -> None:
    left_out = len(images) - len(images.split.development) - len(images.split.test)
    if left_out:
        reporter.message(
            f"{left_out:,} images of train or validation are left out: an identical one, or one of their group, "
            "is in test or validation"
        )


def _contradicting(digests: Sequence[str], labels: Sequence[str]) -> int:
    """How many image contents have several labels."""
    found: dict[str, set[str]] = {}
    for digest, label in zip(digests, labels, strict=True):
        found.setdefault(digest, set()).add(label)
    return sum(len(names) > 1 for names in found.values())


def _require_enough(images: LabelledImages, kind: HeadKind) -> None:
    """Raise UsageError unless every class has images to learn from, on each side of every fold too."""
    groups = images.split_groups.of_rows
    if images.task.regression:
        _require_enough_numbers(len(np.unique(groups[images.split.train])))
    for name, has_class in zip(images.task.classes, images.task.membership(images.targets).T, strict=True):
        members = np.flatnonzero(has_class)
        different = len(np.unique(groups[members]))
        trained = len(np.unique(groups[np.intersect1d(members, images.split.train)]))
        if different < 2:
            raise UsageError(
                f"all {len(members)} images of the class {printable(name)} are identical, near twins or of one group: "
                "they cannot be on both sides of a split; add others, or leave the class out with --labels FILE"
            )
        if trained < kind.least_images:
            raise UsageError(
                f"the class {printable(name)} has {trained} different images to train on, the head "
                f"{kind.name} needs {kind.least_images}: add images, lower --val and --test, "
                "or merge or leave out the class with --labels FILE"
            )


def _require_enough_numbers(trained: int) -> None:
    if trained < LEAST_NUMBERS:
        raise UsageError(
            f"there are {trained} different images to train on, a regression needs {LEAST_NUMBERS}: add images, or lower "
            "--val and --test"
        )
