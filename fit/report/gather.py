"""What the pictures of a head show, read from its folder: its evaluation, and images of its classes."""

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from extract.api import BadImage, any_present, image_root, read_pixels
from fit.evaluated import Evaluated, evaluated_rows
from fit.head_folder import Results
from fit.metrics.scores import Scores
from fit.report.images import Average, Mistake, Pixels, Sample
from fit.splits import TEST, TRAIN, VALIDATION
from store.files.names import printable

SHOWN_MISTAKES = 24
SAMPLED_CLASSES, SAMPLED_IMAGES = 20, 8
AVERAGED_CLASSES, AVERAGED_IMAGES = 60, 300

_IMAGES_LOOKED_FOR = 200  # if none of these is there, the images have moved
_EVALUATIONS = {
    TEST: "test images",
    "cv": "cross-validated images",
    VALIDATION: "validation images",
    TRAIN: "training images",
}


class NoImages(Exception):
    """None of the images that a picture needs can be read."""


# From predictions


@dataclass(frozen=True)
class Evaluation:
    """The predictions that a head is reported by, `of` which images in words, and their scores."""

    evaluated: Evaluated
    of: str
    scores: Scores


def gather_evaluation(results: Results) -> Evaluation:
    """The evaluation whose confusion metrics.json has: of the test images where there are any."""
    name = results.metrics["confusion_of"]
    evaluated = evaluated_rows(results, name)
    measured = results.metrics.get(name)
    scores = evaluated.score() if measured is None else Scores.from_dict(measured)
    return Evaluation(evaluated, f"{len(evaluated):,} {_EVALUATIONS[name]}", scores)


def most_confident_errors(evaluated: Evaluated) -> list[int]:
    """The rows that are wrong, most confident errors first; ties keep their order."""
    wrong = np.flatnonzero(~evaluated.right)
    order: list[int] = wrong[np.argsort(-evaluated.confidence[wrong], kind="stable")].tolist()
    return order


# From images


def find_images_of(results: Results, images: Path | None) -> str:
    """The folder that the head's images are in.

    Args:
        results: the head's.
        images: the folder, if they are no longer where they were extracted from.

    Raises:
        NoImages: not one of them is there.
    """
    data = results.info.data
    if images is None and not data:
        raise NoImages("the head is of an earlier version, which did not note where its images were")
    root = os.fspath(images) if images is not None else image_root(data)
    paths = evenly_spread(results.predictions["path"].to_pylist(), _IMAGES_LOOKED_FOR)
    if not any_present(root, paths):
        raise NoImages(f"none of the head's images is in {printable(root)}")
    return root


def paths_of_classes(results: Results) -> list[list[str]]:
    """The paths of each class's images, sorted, in the order of the classes."""
    rows = results.predictions.select(["path", "label"]).to_pylist()
    label_of = {row["path"]: row["label"] for row in rows}
    paths = sorted(label_of)
    task = results.info.task
    membership = task.membership(task.encode([label_of[path] for path in paths]))
    return [[paths[row] for row in np.flatnonzero(has_class)] for has_class in membership.T]


def gather_samples(results: Results, root: str, members: Sequence[Sequence[str]]) -> tuple[list[Sample], str]:
    """Some images of each class, and a note on which they are.

    Args:
        results: the head's.
        root: the folder of its images.
        members: the paths of each class's images.

    Raises:
        NoImages: none of them can be read.
    """
    largest = _largest(members, SAMPLED_CLASSES)
    chosen = [evenly_spread(members[number], SAMPLED_IMAGES) for number in largest]
    samples = []
    for number, images in zip(largest, _read_groups(results, root, chosen), strict=True):
        readable = list(images)
        if readable:
            samples.append(Sample(results.info.classes[number], readable))
    _require_some(samples)
    return samples, f"images of each class, evenly by name{_note_on_classes(len(largest), len(members))}"


def gather_averages(results: Results, root: str, members: Sequence[Sequence[str]]) -> tuple[list[Average], str, str]:
    """The average image of each class, a note on which they are, and of which images, in words.

    Args:
        results: the head's.
        root: the folder of its images.
        members: the paths of each class's images.

    Raises:
        NoImages: none of them can be read.
    """
    largest = _largest(members, AVERAGED_CLASSES)
    chosen = [evenly_spread(members[number], AVERAGED_IMAGES) for number in largest]
    averages = []
    for number, images in zip(largest, _read_groups(results, root, chosen), strict=True):
        total, count = np.zeros((*results.info.recipe.image_size, 3)), 0
        for image in images:
            total, count = total + image, count + 1
        if count:
            averages.append(Average(results.info.classes[number], np.round(total / count).astype(np.uint8), count))
    _require_some(averages)
    capped = any(len(members[number]) > AVERAGED_IMAGES for number in largest)
    of = f"up to {AVERAGED_IMAGES} images of each class" if capped else "all images of each class"
    return averages, f"{of} (how many){_note_on_classes(len(largest), len(members))}", of


def gather_mistakes(results: Results, root: str, evaluated: Evaluated, rows: Sequence[int]) -> list[Mistake]:
    """The first SHOWN_MISTAKES of those rows whose images can be read.

    Args:
        results: the head's.
        root: the folder of its images.
        evaluated: its predictions.
        rows: those that are wrong, in the order in which they are shown.

    Raises:
        NoImages: none of them can be read.
    """
    mistakes = list[Mistake]()
    predicted, confidence = evaluated.predicted, evaluated.confidence
    for start in range(0, len(rows), SHOWN_MISTAKES):
        batch = rows[start : start + SHOWN_MISTAKES]
        images = read_pixels(root, [evaluated.paths[row] for row in batch], results.info.recipe)
        for row, image in zip(batch, images, strict=True):
            if not isinstance(image, BadImage):
                path, actual = evaluated.paths[row], evaluated.labels[row]
                mistakes.append(Mistake(path, image, actual, predicted[row] or "none", float(confidence[row])))
        if len(mistakes) >= SHOWN_MISTAKES:
            break
    _require_some(mistakes)
    return mistakes[:SHOWN_MISTAKES]


def evenly_spread(paths: Sequence[str], most: int) -> list[str]:
    """At most `most` of the paths, evenly spaced from the first to the last."""
    count = min(most, len(paths))
    return [paths[position] for position in np.linspace(0, len(paths) - 1, count).round().astype(int)]


def _read_groups(results: Results, root: str, groups: Sequence[Sequence[str]]) -> Iterator[Iterator[Pixels]]:
    """For each group of paths its images that can be read; each group must be consumed before the next is asked for."""
    images = read_pixels(root, list(itertools.chain.from_iterable(groups)), results.info.recipe)
    for group in groups:
        yield (image for image in itertools.islice(images, len(group)) if not isinstance(image, BadImage))


def _largest(members: Sequence[Sequence[str]], most: int) -> list[int]:
    """Ascending positions of the classes with the most images."""
    return sorted(sorted(range(len(members)), key=lambda number: -len(members[number]))[:most])


def _note_on_classes(shown: int, classes: int) -> str:
    return "" if shown == classes else f"; the {shown} of {classes:,} classes with the most images"


def _require_some(found: Sequence[object]) -> None:
    if not found:
        raise NoImages("none of the images that it shows can be read")
