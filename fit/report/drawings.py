"""What a report, a comparison and a sweep show. Pure: numbers and arrays -> figures; the style is fit/style.py's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fit.heads.table import Value
from fit.metrics.scores import Bin, ClassScores, Interval
from fit.report.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LIGHT,
    ORANGE,
    RED,
    SHADES,
    SHEET_HEAD,
    log_axis,
    new_figure,
    new_sheet,
    percents,
    shown,
    styled,
)

Pixels = npt.NDArray[np.uint8]
"""(height, width, 3)."""

MATRIX_CLASSES = 30
LISTED_CLASSES = 40
_PANELS_A_ROW = 3
_THUMBNAIL = 1.15  # inches
_LOG_SPAN = 10  # values that lie further apart are drawn on a logarithmic axis


# Numbers of a head


@styled
def draw_confusion(classes: Sequence[str], matrix: npt.NDArray[np.int64], of: str) -> Figure:
    """What the images of each class were taken for; of many classes, those most often confused.

    Args:
        classes: their names.
        matrix: (classes, classes), images of true class x predicted class.
        of: which images, in words.
    """
    wrong = matrix - np.diag(np.diag(matrix))
    kept = _worst(wrong.sum(axis=0) + wrong.sum(axis=1), MATRIX_CLASSES)
    names = [shown(classes[number]) for number in kept]
    cells, note = matrix[np.ix_(kept, kept)], f"{of}; colour is the share of the row's images"
    columns = names
    if len(kept) < len(classes):
        others = matrix[kept].sum(axis=1) - cells.sum(axis=1)
        cells, columns = np.column_stack([cells, others]), [*names, "others"]
        note += f"\nthe {len(kept)} of {len(classes):,} classes that are most often confused"
    totals = cells.sum(axis=1, keepdims=True)
    return _matrix("Confusion", note, names, columns, cells, cells / np.maximum(totals, 1), ("actual", "predicted"))


@styled
def draw_label_confusion(classes: Sequence[str], counts: npt.NDArray[np.int64], of: str) -> Figure:
    """How often each label was found, missed and given wrongly; of many, those with the most mistakes.

    Args:
        classes: their names.
        counts: (classes, 4): true negatives, false positives, false negatives, true positives.
        of: which images, in words.
    """
    kept = _worst(counts[:, 1] + counts[:, 2], MATRIX_CLASSES)
    cells = counts[kept][:, [3, 2, 1, 0]]
    has = np.maximum(cells[:, :2].sum(axis=1, keepdims=True), 1)
    has_not = np.maximum(cells[:, 2:].sum(axis=1, keepdims=True), 1)
    note = f"{of}; colour is the share of those\nthat have the label, or have it not"
    if len(kept) < len(classes):
        note += f"\nthe {len(kept)} of {len(classes):,} labels with the most mistakes"
    columns = ["has it: found", "has it: missed", "has it not: given", "has it not: left out"]
    shares = np.concatenate([cells[:, :2] / has, cells[:, 2:] / has_not], axis=1)
    return _matrix("Labels", note, [shown(classes[number]) for number in kept], columns, cells, shares, ("label", ""))


def _worst(mistakes: npt.NDArray[np.int64], most: int) -> npt.NDArray[np.int64]:
    """Positions of those with the most mistakes, in their own order."""
    return np.sort(np.argsort(-mistakes, kind="stable")[:most])


def _matrix(
    title: str,
    note: str,
    rows: Sequence[str],
    columns: Sequence[str],
    counts: npt.NDArray[np.int64],
    shares: npt.NDArray[np.float64],
    axis_names: tuple[str, str],
) -> Figure:
    names = 0.085 * max(map(len, [*rows, *columns]))
    figure = new_figure(max(4.6, 1.2 + names + 0.36 * len(columns)), 1.6 + names + 0.36 * len(rows), title, note)
    axes = figure.subplots()
    axes.imshow(shares, cmap=SHADES, vmin=0, vmax=1)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(columns)), columns, rotation=90)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylabel(axis_names[0], color=GREY)
    axes.set_xlabel(axis_names[1], color=GREY)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            colour = "white" if shares[row, column] > 0.55 else INK
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=7.5, color=colour)
    return figure


@styled
def draw_training(history: Mapping[str, Sequence[float]]) -> Figure:
    """Loss and accuracy of each epoch, of training and, where it has them, validation (`val_…`)."""
    epochs = np.arange(1, len(history["loss"]) + 1)
    note = f"{len(epochs)} epoch{'s' if len(epochs) > 1 else ''}"
    if "val_loss" in history:
        note += f"; validation loss is lowest at epoch {int(np.argmin(history['val_loss'])) + 1}"
    figure = new_figure(8.4, 3.6, "Training", note)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        lines = (("training", name, BLUE), ("validation", f"val_{name}", ORANGE))
        for label, key, colour in lines:
            if key in history:
                axes.plot(epochs, history[key], color=colour, label=label, marker="o", markersize=2.5)
        axes.set_title(name)
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if name == "accuracy":
            axes.yaxis.set_major_formatter(percents())
        axes.legend()
    return figure


@styled
def draw_calibration(bins: Sequence[Bin], error: Interval, of: str) -> Figure:
    """How often decisions are right that were made with a certainty, and how many such there were."""
    note = f"{of}; expected calibration error {_told(error)}"
    figure = new_figure(5.2, 6.0, "Calibration", note)
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    certainty = [entry.certainty for entry in bins]
    top.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="as often right as it is sure")
    _with_intervals(top, certainty, [entry.accuracy for entry in bins], BLUE, "right, with 95 % intervals")
    top.plot(certainty, [entry.accuracy.value for entry in bins], color=BLUE, linewidth=1.2)
    top.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="predictions that are right")
    top.legend(loc="upper left")
    bottom.bar(certainty, [entry.decisions for entry in bins], width=0.045, color=BLUE)
    bottom.set(ylabel="predictions", xlabel="probability given to what was predicted")
    bottom.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    for axis in (top.xaxis, top.yaxis, bottom.xaxis):
        axis.set_major_formatter(percents())
    return figure


@styled
def draw_classes(classes: Sequence[ClassScores], of: str) -> Figure:
    """Precision, recall and F1 of each class and how many images it has; of many, those with the lowest F1."""
    listed = sorted(classes, key=lambda scores: scores.f1)[:LISTED_CLASSES]
    note = of
    if len(listed) < len(classes):
        note += f"; the {len(listed)} of {len(classes):,} classes with the lowest F1"
    figure = new_figure(7.2, 1.5 + 0.26 * len(listed), "Classes", note)
    axes = figure.subplots()
    places = np.arange(len(listed))
    values = np.array([[scores.precision, scores.recall, scores.f1] for scores in listed])
    axes.hlines(places, values.min(axis=1), values.max(axis=1), color=LIGHT, linewidth=4, zorder=1)
    for column, (name, colour, marker) in enumerate(
        (("precision", GREEN, "^"), ("recall", ORANGE, "v"), ("F1", BLUE, "o"))
    ):
        axes.scatter(values[:, column], places, color=colour, marker=marker, s=26, label=name, zorder=2)
    axes.set_yticks(places, [f"{shown(scores.name)}  ({scores.rows:,})" for scores in listed])
    axes.set(xlim=(-0.02, 1.02), ylim=(len(listed) - 0.4, -0.6))
    axes.set_ylabel("class (images)", color=GREY)
    axes.xaxis.set_major_formatter(percents())
    axes.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


# Images


@dataclass(frozen=True)
class Mistake:
    """An image that was taken for something else, and the probability given to that."""

    pixels: Pixels
    actual: str
    predicted: str
    probability: float


@styled
def draw_mistakes(mistakes: Sequence[Mistake], wrong: int, of: str) -> Figure:
    """The images that were taken for something else, in the order given; `wrong` is how many there are in all."""
    note = f"{wrong:,} of {of}" + (
        f", the {len(mistakes)} most wrong" if len(mistakes) < wrong else ", most wrong first"
    )
    note += "; in red what each was taken for"
    columns = min(6, len(mistakes))
    grid = _Thumbnails("Mistakes", note, -(-len(mistakes) // columns), columns, mistakes[0].pixels.shape, under=0.48)
    for number, mistake in enumerate(mistakes):
        axes = grid.show(number // columns, number % columns, mistake.pixels)
        below: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 6.8, "transform": axes.transAxes}
        axes.text(0.5, -0.04, shown(mistake.actual, 20), color=INK, **below)
        axes.text(0.5, -0.2, f"{shown(mistake.predicted, 14)} {_percent(mistake.probability)}", color=RED, **below)
    return grid.figure


@dataclass(frozen=True)
class Sample:
    """Images of one class."""

    name: str
    images: Sequence[Pixels]


@styled
def draw_samples(samples: Sequence[Sample], note: str) -> Figure:
    """A row of images for each class."""
    columns = max(len(sample.images) for sample in samples)
    left = 0.3 + 0.075 * max(len(shown(sample.name)) for sample in samples)
    shape = next(sample.images[0].shape for sample in samples if sample.images)
    grid = _Thumbnails("Samples", note, len(samples), columns, shape, left=left)
    for row, sample in enumerate(samples):
        for column, pixels in enumerate(sample.images):
            axes = grid.show(row, column, pixels)
            if column == 0:
                axes.text(-0.08, 0.5, shown(sample.name), ha="right", va="center", fontsize=8, transform=axes.transAxes)
    return grid.figure


@dataclass(frozen=True)
class Average:
    """The average image of a class, of so many."""

    name: str
    pixels: Pixels
    images: int


@styled
def draw_averages(averages: Sequence[Average], note: str) -> Figure:
    """The average image of each class."""
    columns = min(6, len(averages))
    grid = _Thumbnails(
        "Average images", note, -(-len(averages) // columns), columns, averages[0].pixels.shape, under=0.3
    )
    for number, average in enumerate(averages):
        axes = grid.show(number // columns, number % columns, average.pixels)
        text = f"{shown(average.name, 16)} ({average.images:,})"
        axes.text(0.5, -0.04, text, ha="center", va="top", fontsize=7, transform=axes.transAxes)
    return grid.figure


class _Thumbnails:
    """A grid of small images with room beneath each and to the left of all, in inches."""

    def __init__(
        self,
        title: str,
        note: str,
        rows: int,
        columns: int,
        shape: tuple[int, ...],
        under: float = 0.06,
        left: float = 0.1,
    ) -> None:
        self.size = (_THUMBNAIL, _THUMBNAIL * shape[0] / shape[1])
        self.step = (self.size[0] + 0.12, self.size[1] + under + 0.06)
        self.left = left
        self.width = max(5.0, left + columns * self.step[0] + 0.1)
        self.height = SHEET_HEAD + 0.1 + rows * self.step[1]
        self.figure = new_sheet(self.width, self.height, title, note)

    def show(self, row: int, column: int, pixels: Pixels) -> Axes:
        """Put an image there."""
        left = self.left + column * self.step[0]
        bottom = self.height - SHEET_HEAD - row * self.step[1] - self.size[1]
        place = (
            left / self.width,
            bottom / self.height,
            self.size[0] / self.width,
            self.size[1] / self.height,
        )
        axes = self.figure.add_axes(place)
        axes.imshow(pixels)
        axes.set_axis_off()
        return axes


# Several heads


@dataclass(frozen=True)
class Compared:
    """A head's line in a comparison; `difference` is that of its test accuracy to the best head's."""

    name: str
    validation: Interval | None
    test: Interval | None
    difference: Interval | None


@styled
def draw_comparison(heads: Sequence[Compared], best: str) -> Figure:
    """Accuracies of heads with their intervals, and how far each is from the best."""
    note = f"with 95 % intervals; the best by validation accuracy is {shown(best)}"
    figure = new_figure(9.4, 1.7 + 0.34 * len(heads), "Comparison", note)
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(heads))
    for name, colour, shift in (("validation", ORANGE, -0.12), ("test", BLUE, 0.12)):
        _across(left, places + shift, [getattr(head, name) for head in heads], colour, name)
    _across(right, places, [head.difference for head in heads], BLUE, "")
    right.axvline(0, color=GREY, linewidth=1)
    left.set_title("accuracy")
    right.set_title(f"test accuracy against {shown(best)}, same images")
    left.set_yticks(places, [shown(head.name) for head in heads])
    left.set_ylim(len(heads) - 0.4, -0.6)
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(percents())
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


@dataclass(frozen=True)
class Change:
    """What came of one change of the settings; without a score the head refused it."""

    name: str
    score: Interval | None
    chosen: bool


@styled
def draw_changes(base: Interval, changes: Sequence[Change], metric: str, note: str) -> Figure:
    """One change at a time against the base settings."""
    figure = new_figure(7.2, 1.7 + 0.3 * len(changes), "Sweep", note)
    axes = figure.subplots()
    places = np.arange(len(changes))
    if base.low is not None and base.high is not None:
        axes.axvspan(base.low, base.high, color=LIGHT, linewidth=0, zorder=0)
    axes.axvline(base.value or 0.0, color=GREY, linewidth=1, label="base settings, with 95 % interval")
    for chosen, colour, name in ((False, BLUE, "one change"), (True, ORANGE, "chosen")):
        scores = [change.score if change.chosen == chosen else None for change in changes]
        if any(scores):
            _across(axes, places, scores, colour, name)
    axes.set_yticks(places, [shown(change.name) + ("" if change.score else " (refused)") for change in changes])
    axes.set_ylim(len(changes) - 0.4, -0.6)
    axes.set_xlabel(f"validation {metric.replace('_', ' ')}")
    axes.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


@styled
def draw_sweep(
    parameters: Mapping[str, Sequence[Value]], scores: Sequence[Interval], chosen: int, metric: str, note: str
) -> Figure:
    """A panel a parameter: every trial's score over its value, the chosen one marked.

    Args:
        parameters: the values of each parameter that was tried, one a trial.
        scores: of each trial on validation.
        chosen: the position of the chosen trial.
        metric: what the scores are.
        note: for beneath the title.
    """
    across = min(_PANELS_A_ROW, len(parameters))
    down = -(-len(parameters) // across)
    figure = new_figure(max(5.0, 1.0 + 3.0 * across), 1.0 + 2.8 * down, "Sweep", note)
    panels = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    for axes, (name, values) in zip(panels, parameters.items(), strict=False):
        places = _places(axes, values)
        others = [number for number in range(len(scores)) if number != chosen]
        _with_intervals(
            axes, [places[number] for number in others], [scores[number] for number in others], BLUE, "trial"
        )
        _with_intervals(axes, [places[chosen]], [scores[chosen]], ORANGE, "chosen")
        axes.set_xlabel(name)
    for axes in panels[::across]:
        axes.set_ylabel(f"validation {metric.replace('_', ' ')}")
    for axes in panels[len(parameters) :]:
        axes.set_axis_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def _places(axes: Axes, values: Sequence[Value]) -> list[float]:
    """Where values stand along x: numbers on a scale, words and few numbers side by side."""
    distinct = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    if any(isinstance(value, str) for value in distinct) or len(distinct) <= 5:
        names = [shown(value) if isinstance(value, str) else f"{value:g}" for value in distinct]
        axes.set_xticks(range(len(distinct)), names)
        axes.set_xlim(-0.5, len(distinct) - 0.5)
        axes.grid(axis="x", visible=False)
        # Trials of one value stand beside each other.
        turns = dict.fromkeys(distinct, 0)
        totals = {value: list(values).count(value) for value in distinct}
        places = []
        for value in values:
            turns[value] += 1
            places.append(distinct.index(value) + 0.6 * (turns[value] / (totals[value] + 1) - 0.5))
        return places
    numbers = [float(value) for value in values]
    if min(numbers) > 0 and max(numbers) >= _LOG_SPAN * min(numbers):
        log_axis(axes, max(numbers) / min(numbers))
    return numbers


def _with_intervals(
    axes: Axes, places: Sequence[float], intervals: Sequence[Interval], colour: str, label: str
) -> None:
    """Points over places along x, each with its interval upright."""
    values, lows, highs = _bounds(intervals)
    axes.vlines(places, lows, highs, color=colour, linewidth=1, alpha=0.55)
    axes.scatter(places, values, color=colour, s=18, label=label, zorder=3)


def _across(
    axes: Axes, places: npt.NDArray[Any], intervals: Sequence[Interval | None], colour: str, label: str
) -> None:
    """Points beside places along y, each with its interval lying; where there is none, nothing."""
    known = [number for number, interval in enumerate(intervals) if interval is not None]
    values, lows, highs = _bounds([interval for interval in intervals if interval is not None])
    axes.hlines(places[known], lows, highs, color=colour, linewidth=1.4, alpha=0.6)
    axes.scatter(values, places[known], color=colour, s=22, label=label, zorder=3)


def _bounds(intervals: Sequence[Interval]) -> tuple[list[float], list[float], list[float]]:
    """Values, lower and upper bounds; NaN, which is not drawn, where undefined."""
    columns = [[getattr(interval, name) for interval in intervals] for name in ("value", "low", "high")]
    values, lows, highs = ([np.nan if number is None else number for number in column] for column in columns)
    return values, lows, highs


def _told(interval: Interval) -> str:
    if interval.value is None:
        return "-"
    if interval.low is None:
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} ({interval.low:.3f}..{interval.high:.3f})"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
