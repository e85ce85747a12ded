"""A head's folder -> pictures of what it learnt from, what it gets right and what it does not."""

import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from extract.images.decode import BadImage
from extract.images.pixels import read_pixels
from extract.sources.listing import image_root
from extract.sources.reading import ask, images_at
from fit.evaluated import Evaluated, evaluated_rows
from fit.head import Results
from fit.metrics.scores import ClassScores, Interval, reliability
from fit.report.drawings import (
    Average,
    Mistake,
    Pixels,
    Sample,
    draw_averages,
    draw_calibration,
    draw_classes,
    draw_confusion,
    draw_label_confusion,
    draw_mistakes,
    draw_samples,
    draw_training,
)
from fit.report.style import to_png
from fit.splits import TEST, TRAIN, VALIDATION
from fit.task import encode_known
from store.errors import UsageError
from store.files.local import write_whole
from store.files.names import printable

CONFUSION, TRAINING, CALIBRATION, CLASSES = "confusion.png", "training.png", "calibration.png", "classes.png"
MISTAKES, SAMPLES, AVERAGE = "mistakes.png", "samples.png", "average.png"

SHOWN_MISTAKES = 24
SAMPLED_CLASSES, SAMPLED_IMAGES = 20, 8
AVERAGED_CLASSES, AVERAGED_IMAGES = 60, 300

_LOOKED_FOR = 200  # images, before they are given up
_WORDS = {
    TEST: "test images",
    "cv": "cross-validated images",
    VALIDATION: "validation images",
    TRAIN: "training images",
}


@dataclass
class Report:
    """What was written: `pictures` by file name, each with what it shows; `left_out` likewise, with the reason.

    `without` says so where the head made no mistakes that could be shown.
    """

    folder: Path
    pictures: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    without: str = ""

    def add(self, name: str, figure: Figure, shows: str) -> None:
        """Write a picture."""
        write_whole(self.folder / name, to_png(figure))
        self.pictures[name] = shows


def write_report(results: Results, out: Path | None = None, images: Path | None = None) -> Report:
    """Write the pictures of a head.

    Args:
        results: what its folder says.
        out: where to; by default the folder report in the head's.
        images: the folder that the images are in, if no longer where they were extracted from.

    Raises:
        UsageError: there is no such folder of images, or `out` is a file.
        EnvironmentFailure: a picture cannot be written.
    """
    if images is not None and not images.is_dir():
        raise UsageError(f"--images {images}: there is no such folder; name the one that was extracted")
    report = Report(out or results.folder / "report")
    if report.folder.exists() and not report.folder.is_dir():
        raise UsageError(f"--out {report.folder} is a file: name a folder for the pictures")
    pages = _Pages(results, images)
    pages.numbers(report)
    for name, draw in ((SAMPLES, pages.samples), (AVERAGE, pages.averages), (MISTAKES, pages.mistakes)):
        try:
            draw(report)
        except _NoImages as reason:
            report.left_out[name] = str(reason)
    return report


class _NoImages(Exception):
    """None of the images that a picture needs can be read."""


class _Pages:
    """Gathers what each picture shows."""

    def __init__(self, results: Results, images: Path | None) -> None:
        self.results = results
        self.classes = results.info.classes
        self.images = images
        self.evaluation = results.metrics["confusion_of"]
        self.judged: Evaluated = evaluated_rows(results, self.evaluation)
        self.of = f"{len(self.judged):,} {_WORDS[self.evaluation]}"

    # From numbers

    def numbers(self, report: Report) -> None:
        """The pictures that need no images."""
        metrics = self.results.metrics
        scores = metrics.get(self.evaluation) or self.judged.score().to_dict()
        draw = draw_label_confusion if self.results.info.several else draw_confusion
        figure = draw(self.classes, np.array(metrics["confusion"]), self.of)
        report.add(CONFUSION, figure, f"what the {self.of} of each class were taken for")
        per_class = [ClassScores(**values) for values in scores["per_class"]]
        report.add(CLASSES, draw_classes(per_class, self.of), "precision, recall and F1 of each class")
        error = Interval(**scores["calibration_error"])
        figure = draw_calibration(reliability(*self.judged.decisions()), error, self.of)
        report.add(
            CALIBRATION, figure, "whether probabilities can be believed: how often a prediction of each is right"
        )
        if "history" in metrics:
            report.add(TRAINING, draw_training(metrics["history"]), "loss and accuracy of each epoch")

    # From images

    def samples(self, report: Report) -> None:
        """Some images of each class."""
        kept = self._largest(SAMPLED_CLASSES)
        chosen = [_spread(self._members[number], SAMPLED_IMAGES) for number in kept]
        pixels = self._read(list(itertools.chain.from_iterable(chosen)))
        samples = []
        for number, paths in zip(kept, chosen, strict=True):
            read = [image for image in itertools.islice(pixels, len(paths)) if not isinstance(image, BadImage)]
            if read:
                samples.append(Sample(self.classes[number], read))
        _require_some(samples)
        note = f"images of each class, evenly by name{self._limited(kept)}"
        report.add(SAMPLES, draw_samples(samples, note), f"up to {SAMPLED_IMAGES} images of each class")

    def averages(self, report: Report) -> None:
        """The average image of each class."""
        kept = self._largest(AVERAGED_CLASSES)
        chosen = [_spread(self._members[number], AVERAGED_IMAGES) for number in kept]
        pixels = self._read(list(itertools.chain.from_iterable(chosen)))
        averages = []
        for number, paths in zip(kept, chosen, strict=True):
            total, count = np.zeros((*self.results.info.recipe.image_size, 3)), 0
            for image in itertools.islice(pixels, len(paths)):
                if not isinstance(image, BadImage):
                    total, count = total + image, count + 1
            if count:
                averages.append(Average(self.classes[number], np.round(total / count).astype(np.uint8), count))
        _require_some(averages)
        capped = any(len(self._members[number]) > AVERAGED_IMAGES for number in kept)
        of = f"up to {AVERAGED_IMAGES} images of each class" if capped else "all images of each class"
        note = f"{of} (how many){self._limited(kept)}"
        report.add(AVERAGE, draw_averages(averages, note), f"the average image of each class, of {of}")

    def mistakes(self, report: Report) -> None:
        """The images that were taken for something else."""
        judged, shown = self.judged, list[Mistake]()
        wrong = np.flatnonzero(~judged.right)
        if len(wrong) == 0:
            report.without = f"no mistakes among the {self.of}"
            return
        order = wrong[np.argsort(-judged.certainty[wrong], kind="stable")].tolist()
        for start in range(0, len(order), SHOWN_MISTAKES):
            rows = order[start : start + SHOWN_MISTAKES]
            for row, image in zip(rows, self._read([judged.paths[row] for row in rows]), strict=True):
                if not isinstance(image, BadImage):
                    predicted = judged.predicted[row] or "none"
                    shown.append(Mistake(image, judged.labels[row], predicted, float(judged.certainty[row])))
            if len(shown) >= SHOWN_MISTAKES:
                break
        _require_some(shown)
        figure = draw_mistakes(shown[:SHOWN_MISTAKES], len(wrong), self.of)
        report.add(MISTAKES, figure, f"the {len(wrong):,} of {self.of} that are wrong, the surest first")

    @cached_property
    def _members(self) -> list[list[str]]:
        """The paths of each class's images, sorted."""
        rows = self.results.predictions.select(["path", "label"]).to_pylist()
        label_of = {row["path"]: row["label"] for row in rows}
        paths = sorted(label_of)
        targets = encode_known([label_of[path] for path in paths], self.classes, self.results.info.several)
        marks = targets if targets.ndim == 2 else targets[:, None] == np.arange(len(self.classes))
        return [[paths[row] for row in np.flatnonzero(column)] for column in marks.T]

    def _largest(self, most: int) -> Sequence[int]:
        """The classes with the most images, in their own order."""
        return sorted(sorted(range(len(self.classes)), key=lambda number: -len(self._members[number]))[:most])

    def _limited(self, kept: Sequence[int]) -> str:
        if len(kept) == len(self.classes):
            return ""
        return f"; the {len(kept)} of {len(self.classes):,} classes with the most images"

    @cached_property
    def _root(self) -> str:
        """Where the images are.

        Raises:
            _NoImages: not one of them is there.
        """
        data = self.results.info.data
        if self.images is None and not data:
            raise _NoImages("the head is of an earlier version, which did not note where its images were")
        root = os.fspath(self.images) if self.images is not None else image_root(data)
        images = images_at(root)
        paths = _spread(self.results.predictions["path"].to_pylist(), _LOOKED_FOR)
        if not any(size > 0 for size, _ in ask(images, images.size_and_time, paths)):
            raise _NoImages(f"none of the head's images is in {printable(root)}")
        return root

    def _read(self, paths: Sequence[str]) -> Iterator[Pixels | BadImage]:
        return read_pixels(self._root, paths, self.results.info.recipe)


def _require_some(found: Sequence[object]) -> None:
    if not found:
        raise _NoImages("none of the images that it shows can be read")


def _spread(paths: Sequence[str], most: int) -> list[str]:
    """So many of them, evenly from the first to the last."""
    count = min(most, len(paths))
    return [paths[position] for position in np.linspace(0, len(paths) - 1, count).round().astype(int)]
