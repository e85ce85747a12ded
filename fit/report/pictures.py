"""Writing the pictures of a head: its scores, its training, its mistakes, and images of its classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from fit.evaluated import evaluated_numbers
from fit.head_folder import Results
from fit.metrics.calibration import reliability
from fit.page.sources import (
    EVALUATIONS,
    Evaluation,
    NoImages,
    find_images_of,
    gather_evaluation,
    monitor_of,
    most_confident_errors,
    paths_of_classes,
)
from fit.report.gather import SAMPLED_IMAGES, gather_averages, gather_mistakes, gather_samples
from fit.report.images import draw_averages, draw_mistakes, draw_samples
from fit.report.numbers import (
    draw_calibration,
    draw_classes,
    draw_confusion,
    draw_label_confusion,
    draw_predicted,
    draw_training,
)
from fit.report.style import to_png
from store.errors import UsageError
from store.files.local import write_whole

CONFUSION, TRAINING, CALIBRATION, CLASSES = "confusion.png", "training.png", "calibration.png", "classes.png"
PREDICTED = "predicted.png"
MISTAKES, SAMPLES, AVERAGE = "mistakes.png", "samples.png", "average.png"


@dataclass
class Report:
    """What was written.

    Attributes:
        folder: where.
        pictures: by file name, what each shows.
        left_out: by file name, why it was not written.
        no_mistakes: a sentence where there is no picture of mistakes because there are none, or "".
    """

    folder: Path
    pictures: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    no_mistakes: str = ""

    def add(self, name: str, figure: Figure, shows: str) -> None:
        """Write a picture.

        Raises:
            EnvironmentFailure: it cannot be written.
        """
        write_whole(self.folder / name, to_png(figure))
        self.pictures[name] = shows


def write_report(results: Results, out: Path | None = None, images: Path | None = None) -> Report:
    """Write the pictures of a head.

    Args:
        results: what the head's folder holds.
        out: the folder to write to; by default `report` in the head's folder.
        images: the folder that the images are in, if they have moved since they were extracted.

    Raises:
        UsageError: there is no such folder of images, or `out` is a file.
        EnvironmentFailure: a picture cannot be written.
    """
    if images is not None and not images.is_dir():
        raise UsageError(f"--images {images}: there is no such folder; name the one that was extracted")
    report = Report(out or results.folder / "report")
    if report.folder.exists() and not report.folder.is_dir():
        raise UsageError(f"--out {report.folder} is a file: name a folder for the pictures")
    if results.info.task.regression:
        _add_regression(report, results)
        return report
    evaluation = gather_evaluation(results)
    _add_numbers(report, results, evaluation)
    _add_images(report, results, evaluation, images)
    return report


def _add_numbers(report: Report, results: Results, evaluation: Evaluation) -> None:
    """The pictures that need no images."""
    metrics, of = results.metrics, evaluation.of
    draw = draw_label_confusion if results.info.multi_label else draw_confusion
    figure = draw(results.info.classes, np.array(metrics["confusion"]), of)
    report.add(CONFUSION, figure, f"the confusion matrix of the {of}")
    report.add(CLASSES, draw_classes(evaluation.scores.per_class, of), "precision, recall and F1 of each class")
    figure = draw_calibration(reliability(*evaluation.evaluated.decisions()), evaluation.scores.calibration_error, of)
    report.add(CALIBRATION, figure, "how often predictions are right, by the probability they were given")
    _add_training(report, results)


def _add_regression(report: Report, results: Results) -> None:
    """The pictures of a head that predicts numbers."""
    name = results.metrics["reported"]
    evaluated = evaluated_numbers(results, name)
    of = f"{len(evaluated):,} {EVALUATIONS[name]}"
    figure = draw_predicted(evaluated.targets, evaluated.predicted, of)
    report.add(PREDICTED, figure, f"predicted by actual number of the {of}")
    _add_training(report, results)


def _add_training(report: Report, results: Results) -> None:
    if history := results.metrics.get("history"):
        names = " and ".join(name for name in ("loss", "accuracy") if name in history)
        report.add(TRAINING, draw_training(history, monitor_of(results.info)), f"{names} of each epoch")


def _add_images(report: Report, results: Results, evaluation: Evaluation, images: Path | None) -> None:
    """The pictures of images, as far as those can be read."""
    errors = most_confident_errors(evaluation.evaluated)
    if not errors:
        report.no_mistakes = f"no mistakes among the {evaluation.of}"
    names = (SAMPLES, AVERAGE, MISTAKES) if errors else (SAMPLES, AVERAGE)
    try:
        root = find_images_of(results, images)
    except NoImages as reason:
        report.left_out.update(dict.fromkeys(names, str(reason)))
        return
    members = paths_of_classes(results)
    draw: dict[str, Callable[[], tuple[Figure, str]]] = {
        SAMPLES: lambda: _samples(results, root, members),
        AVERAGE: lambda: _averages(results, root, members),
        MISTAKES: lambda: _mistakes(results, root, errors, evaluation),
    }
    for name in names:
        try:
            report.add(name, *draw[name]())
        except NoImages as reason:
            report.left_out[name] = str(reason)


# Each returns a picture and what it shows.


def _samples(results: Results, root: str, members: Sequence[Sequence[str]]) -> tuple[Figure, str]:
    samples, note = gather_samples(results, root, members)
    return draw_samples(samples, note), f"up to {SAMPLED_IMAGES} images of each class"


def _averages(results: Results, root: str, members: Sequence[Sequence[str]]) -> tuple[Figure, str]:
    averages, note, of = gather_averages(results, root, members)
    return draw_averages(averages, note), f"the average image of each class, of {of}"


def _mistakes(results: Results, root: str, errors: Sequence[int], evaluation: Evaluation) -> tuple[Figure, str]:
    mistakes = gather_mistakes(results, root, evaluation.evaluated, errors)
    figure = draw_mistakes(mistakes, len(errors), evaluation.of)
    return figure, f"the {len(errors):,} of {evaluation.of} that are wrong, most confident errors first"
