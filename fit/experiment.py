"""An experiment: the images of a store, their labels, and which of them are for what.

Everything that a fit knows about its images is decided here, once. Fitting, cross-validation, sweeps and evaluations
read it, and none decides by itself which images it may use.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter
from fit.data import Features, Source, load_features
from fit.heads.table import HEADS, HeadKind
from fit.options import FitOptions
from fit.request import FitRequest, new_classifier
from fit.rows import ImageRows, select_images
from fit.splits import Positions, Split, SplitGroups, cut, find_split_groups, folds, split_rows
from fit.task import Targets, Task, find_task
from store.errors import UsageError
from store.files.names import printable
from store.reader import FeatureStore
from store.snapshot import all_views

_NONE: Positions = np.empty(0, np.int64)


@dataclass(frozen=True)
class Roles:
    """The images of one fit.

    Attributes:
        learn: those that the head learns from.
        stop: those that stop its training early; none for heads that do not stop early.
    """

    learn: Positions
    stop: Positions


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
        return self.task.strata(self.targets)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Experiment:
    """What a fit learns from and is evaluated on.

    A head learns from all views of its images and is evaluated on the unaltered one alone. Images are numbered by
    their position in `images`.

    Attributes:
        images: with labels and split.
        features: of all views of each image: those of image i are rows i * views and on, the unaltered one first.
        views: the number of views of each image.
        validation: the fraction of a fold's training images that stops a head early.
        seed: of the splits, and of the resamples of every interval.
    """

    images: LabelledImages
    features: Features
    views: int
    validation: float
    seed: int

    @property
    def task(self) -> Task:
        """What is to be predicted."""
        return self.images.task

    @property
    def split(self) -> Split:
        """Train, validation and test."""
        return self.images.split

    @cached_property
    def targets(self) -> Targets:
        """Those of the features' rows."""
        return self.images.targets.repeat(self.views, axis=0)

    # Which images are for what

    def first_roles(self, stops_early: bool) -> Roles:
        """The fit that train and validation are predicted by: it learns from train alone."""
        return Roles(self.split.train, self.split.validation if stops_early else _NONE)

    def final_roles(self, stops_early: bool) -> Roles | None:
        """The fit that is kept and that test is predicted by: it learns from validation too, unless that stops it.

        None where that is the first fit.
        """
        if stops_early or len(self.split.validation) == 0:
            return None
        return Roles(self.split.development, _NONE)

    def folds(self, count: int, stops_early: bool) -> Iterator[tuple[Positions, Roles]]:
        """For each fold of a cross-validation over all images: those that are predicted, and those of the fit.

        Raises:
            UsageError: there are more folds than the images can fill.
        """
        every = np.arange(len(self.images))
        strata, groups = self.images.strata, self.images.split_groups
        for number, predicted in enumerate(folds(every, strata, groups, count), start=1):
            if len(predicted) == 0:
                raise UsageError(f"--cv {count}: fold {number} would be empty; ask for fewer folds")
            learn, stop = np.setdiff1d(every, predicted), _NONE
            if stops_early:
                learn, stop, _ = cut(learn, strata, groups, self.validation, 0.0)
            yield predicted, Roles(learn, stop)

    # Features

    def learning(self, images: Positions) -> Source:
        """All views of those images, to learn from."""
        return Source(self.features, all_views(images, self.views), self.targets)

    def unaltered(self, images: Positions) -> Source:
        """The unaltered views of those images, to stop at and to evaluate on."""
        return Source(self.features, images * self.views, self.targets)

    def split_groups(self, source: Source) -> npt.NDArray[np.int64]:
        """The split group of each of the source's rows."""
        groups: npt.NDArray[np.int64] = np.repeat(self.images.split_groups.of_rows, self.views)[source.rows]
        return groups


def load_experiment(request: FitRequest, reporter: Reporter = SILENT) -> Experiment:
    """The images, labels, split and features that a request is about, checked.

    Raises:
        UsageError: there are no images or labels, a class has too few images for the head, a feature is not a number,
            or the features do not fit into memory.
    """
    store, options = request.store, request.options
    images = label_images(store, options, request.kind, reporter)
    # The head is built once before the features are read, so that impossible parameters are refused at once.
    streams = new_classifier(request, images.task).streams
    views = store.recipe.views
    stored = all_views(images.rows.stored, views)
    features = load_features(store, request.output, request.reduction, stored, streams, reporter)
    return Experiment(images, features, views, options.val, options.seed)


def label_images(
    store: FeatureStore, options: FitOptions, kind: HeadKind, reporter: Reporter = SILENT
) -> LabelledImages:
    """The images that a fit may use, with labels, split groups and split, checked.

    Raises:
        UsageError: there are no images or labels, or a class has too few images for the head.
    """
    rows = select_images(store, options.labels, reporter, options.exclude_from)
    task, targets = find_task(rows.texts("label"), rows.texts("path"))
    _require_suitable(kind, task)
    groups = find_split_groups(
        rows.texts("sha256"), None if options.group_by is None else rows.groups(options.group_by), options.seed
    )
    split = split_rows(rows.table["split"].to_pylist(), task.strata(targets), groups, options.val, options.test)
    images = LabelledImages(rows, task, targets, groups, split)
    _report_identical(images, reporter)
    _require_enough(images, kind)
    return images


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
    for name, has_class in zip(images.task.classes, images.task.membership(images.targets).T, strict=True):
        members = np.flatnonzero(has_class)
        different = len(np.unique(groups[members]))
        trained = len(np.unique(groups[np.intersect1d(members, images.split.train)]))
        if different < 2:
            raise UsageError(
                f"all {len(members)} images of the class {printable(name)} are identical or of one group: "
                "they cannot be on both sides of a split; add others, or leave the class out with --labels FILE"
            )
        if trained < kind.least_images:
            raise UsageError(
                f"the class {printable(name)} has {trained} different images to train on, the head "
                f"{kind.name} needs {kind.least_images}: add images, lower --val and --test, "
                "or merge or leave out the class with --labels FILE"
            )
