"""What a terminal shows of metrics and predictions: rows of cells."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fit.metrics.intervals import Interval
from fit.metrics.scores import METRICS
from fit.predictions import class_column
from fit.search.space import format_value
from store.files.names import printable

if TYPE_CHECKING:  # they draw, and metrics alone are printed without matplotlib
    from fit.compare import Comparison
    from fit.search.summary import Sweep

_EVALUATIONS = ("validation", "test", "cv", "evaluation", "baseline")
_MATRIX_CLASSES = 20
_CONFUSIONS = 10


def format_metrics(metrics: Mapping[str, Any]) -> list[list[str]]:
    """One line an evaluation, each metric with its 95 % interval."""
    rows = [["", "images", *(name.replace("_", " ") for name in METRICS)]]
    for name in _EVALUATIONS:
        scores = metrics.get(name)
        if scores is not None:
            rows.append([name, f"{scores['rows']:,}", *(format_interval(scores[metric]) for metric in METRICS)])
    return rows


def format_interval(metric: Mapping[str, float | None]) -> str:
    """A metric and its 95 % interval."""
    if metric["value"] is None:
        return "-"
    if metric["low"] is None:
        return f"{metric['value']:.3f}"
    return f"{metric['value']:.3f} ({metric['low']:.3f}..{metric['high']:.3f})"


def format_comparison(comparison: "Comparison") -> list[list[str]]:
    """One line a head, the best marked."""
    rows = [
        ["", "head", "backbone", "images", "validation", "log loss", "test", "log loss", "test - best's", "on images"]
    ]
    for number, head in enumerate(comparison.heads):
        cells = [
            printable(head.name) + (" *" if number == comparison.best else ""),
            head.head,
            head.backbone,
            f"{head.images:,}",
        ]
        for scores in (head.validation, head.test):
            cells += [
                format_interval(scores.metric(name).to_dict()) if scores else "-" for name in ("accuracy", "log_loss")
            ]
        cells += ["-" if head.difference is None else _signed(head.difference), f"{head.shared:,}"]
        rows.append(cells)
    return rows


def format_sweep(sweep: "Sweep") -> list[list[str]]:
    """One line a trial, the best first and marked; of those that were refused, why."""
    rows = [["", *sweep.names, f"validation {sweep.metric.replace('_', ' ')}", "seconds"]]
    for trial in sweep.trials:
        values = [format_value(trial.parameters[name]) for name in sweep.names]
        score = format_interval(trial.scores[sweep.metric].to_dict()) if trial.scores else f"refused: {trial.refused}"
        rows.append(
            ["*" if trial is sweep.chosen else "", *map(printable, values), printable(score), f"{trial.seconds:.1f}"]
        )
    return rows


def _signed(difference: Interval) -> str:
    return f"{difference.value:+.3f} ({difference.low:+.3f}..{difference.high:+.3f})"


def format_confusion(metrics: Mapping[str, Any]) -> list[list[str]]:
    """The confusion matrix, a row a true class; of many classes, those most often taken for another."""
    classes = [printable(name) for name in metrics["classes"]]
    matrix = np.array(metrics["confusion"])
    title = f"{metrics['confusion_of']}: " if "confusion_of" in metrics else ""
    if matrix.shape != (len(classes), len(classes)) or (len(classes) == 4 and "|" in "".join(classes)):
        rows = [[f"{title}label", "true negative", "false positive", "false negative", "true positive"]]
        return rows + [[name, *map(str, counts)] for name, counts in zip(classes, matrix.tolist(), strict=True)]
    if len(classes) <= _MATRIX_CLASSES:
        rows = [[f"{title}true \\ predicted", *classes]]
        return rows + [[name, *map(str, counts)] for name, counts in zip(classes, matrix.tolist(), strict=True)]
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:_CONFUSIONS]
    rows = [[f"{title}true", "taken for", "images"]]
    for true, predicted in zip(*np.unravel_index(order, matrix.shape), strict=True):
        if matrix[true, predicted]:
            rows.append([classes[true], classes[predicted], str(matrix[true, predicted])])
    return rows


def format_predictions(table: pa.Table, classes: Sequence[str], top: int) -> list[list[str]]:
    """One line per image: its path and its most probable classes, or what was wrong with it."""
    rows = []
    columns = np.array([table[class_column(name)].to_numpy() for name in classes]).T
    errors = table["error"].to_pylist()
    for number, path in enumerate(table["path"].to_pylist()):
        if errors[number] is not None:
            rows.append([printable(path), f"error: {printable(errors[number])}"])
            continue
        best = np.argsort(-columns[number], kind="stable")[:top]
        rows.append([printable(path), "  ".join(f"{printable(classes[at])} {columns[number, at]:.3f}" for at in best)])
    return rows
