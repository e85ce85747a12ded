"""Heads that have not seen an image predict it: which labels to doubt, and what copies between splits do to scores."""

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from extract.api import SILENT, Reporter
from fit.audit.labels import LabelDoubts, doubt_labels
from fit.audit.request import AuditedImages
from fit.data import Source
from fit.evaluation import GroundTruth
from fit.heads.base import Classifier, HeadSpec
from fit.heads.build import build_classifier
from fit.heads.table import HEADS
from fit.metrics.intervals import Interval
from fit.prediction import predict_rows
from fit.splits import TEST, TRAIN, VALIDATION, Positions, SplitGroups, find_split_groups, folds
from fit.task import Task
from store.files.names import printable
from store.labels import SEPARATOR, split_labels

LEAST_IMAGES = 10
"""A class of fewer different images is too small to assess: out of five folds, one has two of them."""

_ARRAY_BYTES = 256e6  # of features: more are learned from batch by batch, in constant memory
_VISITS = 200_000  # images that descent learns from, one after the other, however often each
_WEAKEST, _PER_IMAGE = 0.01, 15.0
"""C of the logistic regression, fixed, is 15 / images: that is as much regularization for each image, however many there
are, but C is no less than 0.01. Strong regularization follows wrong labels less than a C chosen by inner folds, whose
accuracy counts them as right: with 5 % of the digits' labels changed, where this is 0.01, the first 5 % by doubt hold 83
to 88 % of them; for C = 0.1, 81 to 84 %."""


@dataclass(frozen=True)
class LabelledSubset:
    """The images whose labels can be assessed.

    Attributes:
        images: (assessed,), their positions among the audited images.
        task: their classes.
        targets: (all images,), class numbers; 0 for those that are not assessed.
        split_groups: of all images; copies are in one.
        small: classes that are too small, with their numbers of different images.
        notes: what is left out and why, a sentence each.
    """

    images: Positions
    task: Task
    targets: Positions
    split_groups: SplitGroups
    small: Mapping[str, int]
    notes: tuple[str, ...]

    @property
    def possible(self) -> bool:
        """Whether there are two classes or more."""
        return len(self.task.classes) > 1


def choose_labelled(audited: AuditedImages, groups: Positions) -> LabelledSubset:
    """The images with one label of a class that is large enough.

    Args:
        audited: the images.
        groups: (images,), which are copies of each other.
    """
    options = audited.options
    given = None if options.group_by is None else audited.rows.groups(options.group_by)
    split_groups = find_split_groups([f"copies:{group}" for group in groups], given, options.seed)
    names = [sorted(split_labels(text or "")) for text in audited.labels]
    single = [row for row, labels in enumerate(names) if len(labels) == 1]
    different = Counter(label for label, _ in {(names[row][0], int(split_groups.of_rows[row])) for row in single})
    small = {label: count for label, count in sorted(different.items()) if count < LEAST_IMAGES}
    images = np.array([row for row in single if names[row][0] not in small], np.int64)
    task = Task(tuple(sorted(set(different) - set(small))), multi_label=False)
    targets = np.zeros(len(names), np.int64)
    targets[images] = task.targets([names[row] for row in images.tolist()]) if len(images) else 0
    subset = LabelledSubset(images, task, targets, split_groups, small, ())
    return replace(subset, notes=_notes(names, subset))


def _notes(names: Sequence[Sequence[str]], subset: LabelledSubset) -> tuple[str, ...]:
    without, many = sum(not labels for labels in names), sum(len(labels) > 1 for labels in names)
    notes = []
    if without:
        notes.append(f"labels are not assessed of {without:,} image{'' if without == 1 else 's'} without one")
    if many:
        notes.append(
            f"labels are not assessed of {many:,} image{'' if many == 1 else 's'} with several (a{SEPARATOR}b)"
        )
    if not subset.possible and without < len(names):
        notes.append(f"no label is assessed: that takes two classes with {LEAST_IMAGES} different images each")
    return tuple(notes)


@dataclass(frozen=True)
class LabelAssessment:
    """Doubts about labels, image by image.

    Attributes:
        images: (assessed,), positions among the audited images.
        task: their classes.
        targets: (assessed,), their labels as class numbers.
        probabilities: (assessed, classes), out of fold.
        doubts: what follows from them.
    """

    images: Positions
    task: Task
    targets: Positions
    probabilities: npt.NDArray[np.float64]
    doubts: LabelDoubts


def assess_labels(
    audited: AuditedImages, subset: LabelledSubset, reporter: Reporter = SILENT
) -> LabelAssessment | None:
    """Doubts from out-of-fold probabilities; None if a class is in no training side of a fold.

    Each image's probabilities are of a head that has learned from neither the image, nor a copy, nor its group.
    """
    count, images = audited.options.folds, subset.images
    probabilities = np.full((len(subset.targets), len(subset.task.classes)), np.nan)
    with reporter.step("cross-validating", count) as progress:
        for predicted in folds(images, subset.targets, subset.split_groups, count):
            learn = np.setdiff1d(images, predicted)
            if len(np.unique(subset.targets[learn])) < len(subset.task.classes):
                return None
            if len(predicted):
                head = _fit(audited, subset, learn)
                probabilities[predicted] = predict_rows(head, audited.features, predicted)
            progress.advance(1, 0)
    found, targets = probabilities[images], subset.targets[images]
    return LabelAssessment(images, subset.task, targets, found, doubt_labels(targets, found))


def _fit(audited: AuditedImages, subset: LabelledSubset, learn: Positions) -> Classifier:
    large = len(learn) * float(np.prod(audited.features.shape)) * 4 > _ARRAY_BYTES
    kind = HEADS["sgd" if large else "logistic"]
    strength = max(_WEAKEST, _PER_IMAGE / len(learn))
    fixed = {"smallest": strength, "largest": strength, "steps": 1, "inner_folds": 1}
    parameters = kind.complete({"epochs": max(2, _VISITS // len(learn))} if large else fixed)
    spec = HeadSpec(kind.name, parameters, audited.features.shape, subset.task, "none", audited.options.seed)
    head = build_classifier(spec)
    # On one thread: small products in several threads spend their time waiting for each other, which on a machine that
    # is busy with something else took a hundred times as long.
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about convergence: the probabilities are good enough to rank labels by
        head.fit(Source(audited.features, learn, subset.targets), None, subset.split_groups.of_rows[learn])
    return head


@dataclass(frozen=True)
class Leakage:
    """What copies between splits do to a score: a head learns from train as it is, and predicts another split.

    Attributes:
        split: the one that is predicted.
        images: of it.
        leaked: those of them that are a copy of an image of train, or of its group of copies.
        accuracy: on all of its images.
        without: on those that are not leaked; None if there is none.
    """

    split: str
    images: int
    leaked: int
    accuracy: Interval
    without: Interval | None

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return asdict(self)


def measure_leakage(
    audited: AuditedImages, subset: LabelledSubset, groups: Positions, reporter: Reporter = SILENT
) -> Leakage | None:
    """The accuracy on test, or else on validation, with and without copies of train; None if there are no such copies.

    Args:
        audited: the images.
        subset: those that can be assessed.
        groups: (images,), which are copies of each other.
        reporter: shows progress.
    """
    parts = {name: _of_split(audited, subset, name) for name in (TRAIN, VALIDATION, TEST)}
    name = TEST if len(parts[TEST]) else VALIDATION
    learn, predicted = parts[TRAIN], parts[name]
    leaked = np.isin(groups[predicted], groups[learn])
    if not leaked.any() or len(np.unique(subset.targets[learn])) < len(subset.task.classes):
        return None
    with reporter.step("scoring with and without copies", None):
        probabilities = predict_rows(_fit(audited, subset, learn), audited.features, predicted)
        truth = GroundTruth(subset.task, subset.targets, subset.split_groups.of_rows)
        clean = predicted[~leaked]
        return Leakage(
            name,
            len(predicted),
            int(leaked.sum()),
            truth.score(predicted, probabilities).accuracy,
            truth.score(clean, probabilities[~leaked]).accuracy if len(clean) else None,
        )


def _of_split(audited: AuditedImages, subset: LabelledSubset, name: str) -> Positions:
    splits = np.array(audited.splits, dtype=object)
    chosen: Positions = subset.images[splits[subset.images] == name]
    return chosen


def describe_doubt(assessment: LabelAssessment, number: int) -> str:
    """Why the label of an assessed image is doubted, in words."""
    classes, row = assessment.task.classes, assessment.probabilities[number]
    label, suggested = int(assessment.targets[number]), int(assessment.doubts.suggested[number])
    return (
        f"out of fold, the probability of {printable(classes[label])} is {row[label]:.3f}, "
        f"of {printable(classes[suggested])} {row[suggested]:.3f}"
    )
