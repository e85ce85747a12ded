"""The numbers of metrics.json as a page says them: a table of scores, and the confusion matrix. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fit.metrics.confused import most_confused, most_mistaken
from fit.metrics.format import format_values
from fit.metrics.regression import REGRESSION_METRICS
from fit.page.charts import percent
from fit.page.content import Cell, Confusion, Group, GroupTable, Number, ScoreTable
from fit.page.images import PageImages
from fit.predictions import CV
from fit.splits import TEST, TRAIN, VALIDATION, Positions
from store.files.names import printable

SHADES = 8

_SHOWN = (TEST, CV, VALIDATION)
_BASELINE = "baseline"
_PERCENT = "\N{NO-BREAK SPACE}%"
_NOT_SHARES = ("log_loss", "brier_score", "brier", "kappa", "cohen_kappa", *REGRESSION_METRICS)

USES = {
    TEST: "not used to fit or to choose anything",
    CV: "each predicted by a head that has not seen it",
    VALIDATION: "for choosing between heads and settings: optimistic once it was used for that",
    TRAIN: "the head learned from these images: far too optimistic",
    _BASELINE: "always the class frequencies of the training images",
}
"""What the images of an evaluation were used for."""


def number(name: str, metric: Mapping[str, Any]) -> Number:
    """A metric of metrics.json in words, with its interval or the reason why it has none."""
    value, low, high, reason = metric["value"], metric.get("low"), metric.get("high"), metric.get("reason")
    if value is None or low is None or high is None:
        return Number(value_alone(name, metric).value, reason=printable(reason or ""))
    text, *bounds = _texts(name, [value, low, high])
    return Number(text, " to ".join(bounds).replace(_PERCENT, "", 1))


def value_alone(name: str, metric: Mapping[str, Any]) -> Number:
    """A metric of metrics.json in words, without its interval."""
    value = metric["value"]
    return Number("-" if value is None else _texts(name, [value])[0])


def _texts(name: str, values: Sequence[float]) -> list[str]:
    """Values of one metric that are read together."""
    return format_values(name, values) if name in _NOT_SHARES else list(map(percent, values))


def score_table(metrics: Mapping[str, Any]) -> ScoreTable:
    """All metrics of all evaluations that there are."""
    names = [name for name in (*_SHOWN, _BASELINE) if metrics.get(name)]
    known = list(dict.fromkeys(key for name in names for key in _metrics_of(metrics[name])))
    shown_by = {name: value_alone if name == _BASELINE else number for name in names}
    rows = [
        (
            key.replace("_", " "),
            [shown_by[name](key, metrics[name][key]) if key in metrics[name] else Number("-") for name in names],
        )
        for key in known
    ]
    notes = [(name, f"{metrics[name]['rows']:,} images, {USES[name]}") for name in names if name != _BASELINE]
    if _BASELINE in names:
        notes.append((_BASELINE, USES[_BASELINE]))
    return ScoreTable(names, rows, notes, _reasons(names, rows))


def _reasons(names: Sequence[str], rows: Sequence[tuple[str, Sequence[Number]]]) -> list[tuple[str, str]]:
    """Each reason for which metrics have no interval, with their names."""
    found = dict[str, list[str]]()
    for metric, numbers in rows:
        for name, value in zip(names, numbers, strict=True):
            if value.reason:
                found.setdefault(value.reason, []).append(f"{metric} ({name})")
    return [(reason, ", ".join(metrics)) for reason, metrics in found.items()]


def _metrics_of(evaluation: Mapping[str, Any]) -> list[str]:
    return [name for name, value in evaluation.items() if isinstance(value, Mapping) and "value" in value]


# The confusion matrix


def confusion_table(classes: Sequence[str], matrix: npt.NDArray[np.int64], of: str) -> Confusion:
    """Actual class by predicted class; of many classes, those most often confused.

    Args:
        classes: their names.
        matrix: (classes, classes), images of true class x predicted class.
        of: which images, in words.
    """
    shown = most_confused(matrix).tolist()
    names = [printable(classes[at]) for at in shown]
    rows = []
    for actual in shown:
        total = int(matrix[actual].sum())
        cells = [
            Cell(
                images=int(matrix[actual, given]),
                shade=_shade(matrix[actual, given], total),
                actual=f"{actual}",
                predicted=f"{given}",
                says=_says(printable(classes[actual]), printable(classes[given])),
                right=bool(actual == given),
            )
            for given in shown
        ]
        if len(shown) < len(classes):
            others = total - sum(cell.images for cell in cells)
            cells.append(
                Cell(
                    others,
                    _shade(others, total),
                    "",
                    "",
                    f"{printable(classes[actual])} taken for another class",
                    False,
                )
            )
        rows.append((printable(classes[actual]), cells))
    columns = names if len(shown) == len(classes) else [*names, "others"]
    return Confusion(columns, rows, of, _left_out(len(shown), len(classes), "classes that are most often confused"))


def _says(actual: str, predicted: str) -> str:
    return f"{actual}, predicted correctly" if actual == predicted else f"{actual} taken for {predicted}"


def label_table(classes: Sequence[str], counts: npt.NDArray[np.int64], of: str) -> Confusion:
    """True and false positives and negatives of each label; of many labels, those with the most mistakes.

    Args:
        classes: their names.
        counts: (classes, 4): true negatives, false positives, false negatives, true positives.
        of: which images, in words.
    """
    shown = most_mistaken(counts[:, 1] + counts[:, 2]).tolist()
    rows = []
    for at in shown:
        name, (absent, given, missed, found) = printable(classes[at]), counts[at].tolist()
        cells = [
            Cell(found, _shade(found, found + missed), f"{at}", f"{at}", f"{name}, found", True),
            Cell(missed, _shade(missed, found + missed), f"{at}", f"!{at}", f"{name}, missed", False),
            Cell(given, _shade(given, given + absent), f"!{at}", f"{at}", f"{name}, given wrongly", False),
            Cell(absent, _shade(absent, given + absent), f"!{at}", f"!{at}", f"not {name}, and not given", True),
        ]
        rows.append((name, cells))
    columns = ["found", "missed", "given wrongly", "correctly not given"]
    return Confusion(columns, rows, of, _left_out(len(shown), len(classes), "labels with the most mistakes"))


def _shade(images: int, total: int) -> int:
    """0 for none, else 1 to SHADES - 1 by the share."""
    return int(np.ceil((SHADES - 1) * images / total)) if total and images else 0


def _left_out(shown: int, classes: int, which: str) -> str:
    return "" if shown == classes else f"the {shown} of {classes:,} {which}"


# Groups


def group_table(images: PageImages, positions: Positions, group_of: Mapping[str, str | None]) -> GroupTable | None:
    """The evaluated images of each group, the lowest accuracy first; None where no image has a group."""
    counts = dict[str, list[int]]()
    for position in positions.tolist():
        name = group_of.get(images.paths[position])
        if name is not None:
            count = counts.setdefault(name, [0, 0])
            count[0] += 1
            count[1] += bool(images.right[position])
    groups = [
        Group(printable(name), total, right / total, Number(percent(right / total)))
        for name, (total, right) in counts.items()
    ]
    ordered = sorted(groups, key=lambda group: (group.share, -group.images, group.name))
    return GroupTable("group", ordered) if groups else None


def by_table(by: Mapping[str, Any]) -> GroupTable:
    """What `fit head --by COLUMN` measured: the accuracy of each value of the column, with its interval."""
    groups = [
        Group(
            printable("none" if found["value"] is None else str(found["value"])),
            found["rows"],
            found["accuracy"]["value"] or 0.0,
            number("accuracy", found["accuracy"]),
        )
        for found in by["values"]
    ]
    return GroupTable(printable(by["column"]), groups)
