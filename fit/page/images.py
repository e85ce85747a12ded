"""Each image of a head once, and which of them a page shows: all of a few, the most informative of many. Pure."""

from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass

import numpy as np

from fit.arrays import Bools, Floats
from fit.evaluated import evaluated_rows
from fit.head_folder import Results
from fit.page.sources import EVALUATIONS, even_places
from fit.splits import Positions
from fit.task import Task

MOST_IMAGES = 5000
"""How many images a page lists."""

PER_CELL = 8
"""How many images of each cell of the confusion matrix come before others."""


@dataclass(frozen=True)
class PageImages:
    """Each image of a head once, with the prediction that says most about the head.

    Attributes:
        task: what is predicted.
        paths: (images,), the row names.
        evaluations: (images,), which evaluation each prediction is from: test, cv, validation or train.
        actual: (images, classes), whether the image is labelled so.
        predicted: (images, classes), whether it is predicted so.
        confidence: (images,), the probability of the predicted class, see `Evaluated.confidence`.
        right: (images,), whether exactly the image's classes are predicted.
    """

    task: Task
    paths: Sequence[str]
    evaluations: Sequence[str]
    actual: Bools
    predicted: Bools
    confidence: Floats
    right: Bools

    def __len__(self) -> int:
        return len(self.paths)

    def of_evaluation(self, name: str) -> Positions:
        """The images whose prediction is from this evaluation."""
        return np.flatnonzero(np.array(self.evaluations, dtype=object) == name)

    def members(self) -> list[Positions]:
        """The images of each class, in the order of their paths."""
        order = np.array(sorted(range(len(self)), key=self.paths.__getitem__), np.int64)
        return [order[has_class[order]] for has_class in self.actual.T]


def gather_images(results: Results) -> PageImages:
    """The images of predictions.parquet; of one that was predicted several times, the most informative prediction.

    That is the one that the head is reported by, then one by heads that have not seen the image.
    """
    task, seen = results.info.task, set[str]()
    names = dict.fromkeys([results.metrics["confusion_of"], *EVALUATIONS])
    parts, paths, evaluations = [], list[str](), list[str]()
    for name in names:
        evaluated = evaluated_rows(results, name)
        new = np.array([row for row, path in enumerate(evaluated.paths) if path not in seen], np.int64)
        if len(new) == 0:
            continue
        added = [evaluated.paths[row] for row in new]
        seen.update(added)
        paths += added
        evaluations += [name] * len(added)
        decided = task.decide(evaluated.probabilities)
        parts.append(
            (
                task.membership(evaluated.targets)[new],
                task.membership(decided)[new],
                evaluated.confidence[new],
                evaluated.right[new],
            )
        )
    actual, predicted, confidence, right = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return PageImages(task, paths, evaluations, actual, predicted, confidence, right)


def errors_of(images: PageImages, evaluation: str) -> Positions:
    """The images of an evaluation that are wrong, most confident errors first."""
    wrong = images.of_evaluation(evaluation)
    wrong = wrong[~images.right[wrong]]
    return wrong[np.argsort(-images.confidence[wrong], kind="stable")]


def largest_classes(members: Sequence[Sized], most: int) -> list[int]:
    """Ascending numbers of the classes with the most images."""
    return sorted(sorted(range(len(members)), key=lambda number: -len(members[number]))[:most])


def evenly(positions: Positions, most: int) -> Positions:
    """At most `most` of them, evenly spaced from the first to the last."""
    chosen: Positions = positions[even_places(len(positions), most)]
    return chosen


def order_of_need(images: PageImages, first: Iterable[Positions], evaluation: str) -> Positions:
    """All images, those first that a page can least do without.

    Args:
        images: all of them.
        first: those that are needed in any case, the most needed first.
        evaluation: the one that the head is reported by: then come some images of each cell of its confusion matrix,
            then all its errors, then the others at random, always in the same order.
    """
    reported = images.of_evaluation(evaluation)
    wrong = errors_of(images, evaluation)
    others = np.random.default_rng(0).permutation(len(images))
    of_cells = _first_of_each(images, np.concatenate([wrong, reported[images.right[reported]]]))
    ordered = np.concatenate([*first, of_cells, wrong, others]).astype(np.int64)
    _, places = np.unique(ordered, return_index=True)
    return ordered[np.sort(places)]


def _first_of_each(images: PageImages, positions: Positions) -> Positions:
    """The first PER_CELL images with the same actual and predicted classes."""
    counts, chosen = dict[bytes, int](), []
    for position in positions.tolist():
        cell = images.actual[position].tobytes() + images.predicted[position].tobytes()
        counts[cell] = counts.get(cell, 0) + 1
        if counts[cell] <= PER_CELL:
            chosen.append(position)
    return np.array(chosen, np.int64)
