"""Pictures of a head's numbers: confusion, classes, calibration, training. Pure: numbers -> figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fit.metrics.calibration import ReliabilityBin
from fit.metrics.confused import most_confused, most_mistaken
from fit.metrics.intervals import Interval
from fit.metrics.scores import ClassScores
from fit.page.charts import kept_epoch, kept_note
from fit.report.points import draw_vertical_intervals
from fit.report.style import BLUE, GREEN, GREY, INK, LIGHT, ORANGE, SHADES, drawable, new_figure, percents, styled

LISTED_CLASSES = 40
"""The number of classes in the list; of more, it shows those with the lowest F1."""


@styled
def draw_confusion(classes: Sequence[str], matrix: npt.NDArray[np.int64], of: str) -> Figure:
    """The confusion matrix: predicted class by actual class; of many classes, those most often confused.

    Args:
        classes: their names.
        matrix: (classes, classes), images of true class x predicted class.
        of: which images, in words.
    """
    shown = most_confused(matrix)
    names = [drawable(classes[number]) for number in shown]
    cells, note = matrix[np.ix_(shown, shown)], f"{of}; color is the share of the row's images"
    columns = names
    if len(shown) < len(classes):
        others = matrix[shown].sum(axis=1) - cells.sum(axis=1)
        cells, columns = np.column_stack([cells, others]), [*names, "others"]
        note += f"\nthe {len(shown)} of {len(classes):,} classes that are most often confused"
    totals = cells.sum(axis=1, keepdims=True)
    matrix_cells = _Cells(names, columns, cells, cells / np.maximum(totals, 1))
    return _draw_cells("Confusion", note, matrix_cells, "actual", "predicted")


@styled
def draw_label_confusion(classes: Sequence[str], counts: npt.NDArray[np.int64], of: str) -> Figure:
    """True and false positives and negatives of each label; of many labels, those with the most mistakes.

    Args:
        classes: their names.
        counts: (classes, 4): true negatives, false positives, false negatives, true positives.
        of: which images, in words.
    """
    shown = most_mistaken(counts[:, 1] + counts[:, 2])
    cells = counts[shown][:, [3, 2, 1, 0]]
    with_label = np.maximum(cells[:, :2].sum(axis=1, keepdims=True), 1)
    without_label = np.maximum(cells[:, 2:].sum(axis=1, keepdims=True), 1)
    note = f"{of}; color is the share of the images\nwith the label, or of those without it"
    if len(shown) < len(classes):
        note += f"\nthe {len(shown)} of {len(classes):,} labels with the most mistakes"
    columns = ["true positives", "false negatives", "false positives", "true negatives"]
    shares = np.concatenate([cells[:, :2] / with_label, cells[:, 2:] / without_label], axis=1)
    names = [drawable(classes[number]) for number in shown]
    return _draw_cells("Labels", note, _Cells(names, columns, cells, shares), "label", "")


@dataclass(frozen=True)
class _Cells:
    """A table of counts: the names of its rows and columns, and (rows, columns) counts and the shares that color them."""

    rows: Sequence[str]
    columns: Sequence[str]
    counts: npt.NDArray[np.int64]
    shares: npt.NDArray[np.float64]


def _draw_cells(title: str, note: str, cells: _Cells, row_axis: str, column_axis: str) -> Figure:
    names = 0.085 * max(map(len, [*cells.rows, *cells.columns]))
    width = max(5.4, 1.2 + names + 0.44 * len(cells.columns))
    figure = new_figure(width, 1.6 + names + 0.44 * len(cells.rows), title, note)
    axes = figure.subplots()
    axes.imshow(cells.shares, cmap=SHADES, vmin=0, vmax=1)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    axes.set_xticks(range(len(cells.columns)), cells.columns, rotation=90)
    axes.set_yticks(range(len(cells.rows)), cells.rows)
    axes.set_ylabel(row_axis, color=GREY)
    axes.set_xlabel(column_axis, color=GREY)
    for (row, column), count in np.ndenumerate(cells.counts):
        if count:
            color = "white" if cells.shares[row, column] > 0.55 else INK
            axes.text(column, row, f"{count}", ha="center", va="center", fontsize=7.5, color=color)
    return figure


@styled
def draw_training(history: Mapping[str, Sequence[float]], monitor: str = "val_loss") -> Figure:
    """Loss and accuracy of each epoch, and the epoch whose weights are kept.

    Args:
        history: of training, and of validation where it has `val_loss` and `val_accuracy`.
        monitor: which of these two decides which epoch is the best, the lowest loss or the highest accuracy.
    """
    epochs = np.arange(1, len(history["loss"]) + 1)
    kept = kept_epoch(history, monitor)
    names = [name for name in ("loss", "accuracy") if name in history]  # a regression has no accuracy
    figure = new_figure(5.2 * len(names), 4.4, "Training", kept_note(history, monitor))
    for axes, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        lines = (("training", name, BLUE), ("validation", f"val_{name}", ORANGE))
        for label, key, color in lines:
            if key in history:
                axes.plot(epochs, history[key], color=color, label=label, marker="o", markersize=2.5)
        axes.axvline(kept, color=GREY, linewidth=1, linestyle=(0, (4, 3)), label=f"kept: epoch {kept}")
        axes.set_title(name)
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, len(epochs) + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if name == "accuracy":
            axes.yaxis.set_major_formatter(percents())
        axes.legend()
    return figure


@styled
def draw_predicted(targets: npt.NDArray[np.float64], predicted: npt.NDArray[np.float64], of: str) -> Figure:
    """Predicted by actual numbers (rows,); rows on the line are predicted correctly."""
    figure = new_figure(6.4, 6.8, "Predicted and actual", f"{of}; images on the line are predicted correctly")
    axes = figure.subplots()
    ends = [min(targets.min(), predicted.min()), max(targets.max(), predicted.max())]
    axes.plot(ends, ends, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    axes.scatter(targets, predicted, color=BLUE, s=14, alpha=0.5, linewidths=0)
    axes.set(xlabel="actual", ylabel="predicted", aspect="equal")
    return figure


@styled
def draw_calibration(bins: Sequence[ReliabilityBin], error: Interval, of: str) -> Figure:
    """The accuracy of predictions over their confidence, and how many predictions each bin holds."""
    note = f"{of}; calibration error {_interval_text(error)} (root mean square, without noise)"
    figure = new_figure(6.4, 7.4, "Calibration", note)
    top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw={"height_ratios": [3, 1]})
    confidence = [entry.confidence for entry in bins]
    top.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="perfect calibration")
    draw_vertical_intervals(top, confidence, [entry.accuracy for entry in bins], BLUE, "right, with 95 % intervals")
    top.plot(confidence, [entry.accuracy.value for entry in bins], color=BLUE, linewidth=1.2)
    top.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="predictions that are right")
    top.legend(loc="upper left")
    bottom.bar(confidence, [entry.decisions for entry in bins], width=0.045, color=BLUE)
    bottom.set(ylabel="predictions", xlabel="probability given to what was predicted")
    bottom.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    for axis in (top.xaxis, top.yaxis, bottom.xaxis):
        axis.set_major_formatter(percents())
    return figure


@styled
def draw_classes(classes: Sequence[ClassScores], of: str) -> Figure:
    """Precision, recall, F1 and number of images of each class; of many classes, those with the lowest F1."""
    listed = sorted(classes, key=lambda scores: scores.f1)[:LISTED_CLASSES]
    note = of
    if len(listed) < len(classes):
        note += f"; the {len(listed)} of {len(classes):,} classes with the lowest F1"
    figure = new_figure(9.0, 1.6 + 0.4 * len(listed), "Classes", note)
    axes = figure.subplots()
    places = np.arange(len(listed))
    values = np.array([[scores.precision, scores.recall, scores.f1] for scores in listed])
    axes.hlines(places, values.min(axis=1), values.max(axis=1), color=LIGHT, linewidth=4, zorder=1)
    marks = (("precision", GREEN, "^", -0.25), ("recall", ORANGE, "v", 0.0), ("F1", BLUE, "o", 0.25))
    for column, (name, color, marker, shift) in enumerate(marks):  # beside each other, for they may be equal
        axes.scatter(values[:, column], places + shift, color=color, marker=marker, s=26, label=name, zorder=2)
    axes.set_yticks(places, [f"{drawable(scores.name)}  ({scores.rows:,})" for scores in listed])
    axes.set(xlim=(-0.02, 1.02), ylim=(len(listed) - 0.4, -0.6))
    axes.set_ylabel("class (images)", color=GREY)
    axes.xaxis.set_major_formatter(percents())
    axes.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


def _interval_text(interval: Interval) -> str:
    if interval.value is None:
        return "-"
    if interval.low is None:
        return f"{interval.value:.3f}"
    return f"{interval.value:.3f} ({interval.low:.3f}..{interval.high:.3f})"
