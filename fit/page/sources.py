"""What a report of a head is made from: the evaluation that it is reported by, its mistakes, and where its images are."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from extract.api import any_present, image_root
from fit.command_words import evaluate_test_words, noted_stores
from fit.evaluated import Evaluated, evaluated_rows
from fit.experiment_record import Choices
from fit.head_folder import Results, read_experiment
from fit.head_info import HeadInfo
from fit.heads.table import HEADS, HeadKind
from fit.metrics.scores import Scores
from fit.predictions import CV
from fit.splits import TEST, TRAIN, VALIDATION, Positions
from store.files.names import printable
from store.suggestions import suggest

EVALUATIONS = {
    TEST: "test images",
    CV: "cross-validated images",
    VALIDATION: "validation images",
    TRAIN: "training images",
}
"""The evaluations of predictions.parquet in words, the most informative first."""

_IMAGES_LOOKED_FOR = 200  # if none of these is there, the images have moved


class NoImages(Exception):
    """None of the images that a report needs can be read."""


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
    return Evaluation(evaluated, f"{len(evaluated):,} {EVALUATIONS[name]}", scores)


def unseen_note(results: Results) -> list[str]:
    """A sentence about test images that there are, but that the head was not evaluated on; none otherwise."""
    images = results.metrics["rows"].get(TEST, 0)
    if not images or results.metrics.get(TEST) is not None:
        return []
    folder, stores = results.folder, noted_stores(results.info)
    evaluate = suggest(*evaluate_test_words(folder, results.info.head, stores, choices_of(results)))
    then = f"{evaluate}, then {suggest('fit', 'report', folder)}, shows them"
    return [f"The {images:,} test images are not on this page: {printable(then)}."]


def choices_of(results: Results) -> Choices | None:
    """The options that decided the images of a head's fit; None for heads of 0.5.0, which did not note them."""
    record = read_experiment(results.folder)
    return None if record is None else record.choices


def monitor_of(info: HeadInfo) -> str:
    """What decides which epoch's weights of a head are kept."""
    return HEADS[info.head].monitor if info.head in HEADS else HeadKind.monitor


def most_confident_errors(evaluated: Evaluated) -> list[int]:
    """The rows that are wrong, most confident errors first; ties keep their order."""
    wrong = np.flatnonzero(~evaluated.right)
    order: list[int] = wrong[np.argsort(-evaluated.confidence[wrong], kind="stable")].tolist()
    return order


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


def evenly_spread(paths: Sequence[str], most: int) -> list[str]:
    """At most `most` of the paths, evenly spaced from the first to the last."""
    return [paths[place] for place in even_places(len(paths), most).tolist()]


def even_places(count: int, most: int) -> Positions:
    """At most `most` of the places 0 to `count` - 1, evenly spaced from the first to the last."""
    return np.linspace(0, count - 1, min(most, count)).round().astype(np.int64)
