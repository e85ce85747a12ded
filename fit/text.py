"""Metrics and predictions as rows of cells for a terminal."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fit.choices import REGRESSION
from fit.metrics.format import format_interval
from fit.metrics.regression import REGRESSION_METRICS
from fit.metrics.scores import METRICS
from fit.predictions import class_columns
from fit.search.space import format_value
from fit.task import Task, first_names
from store.files.names import printable
from store.tables import table_width

if TYPE_CHECKING:  # they draw, and metrics alone are printed without matplotlib
    from fit.search.summary import Sweep

_EVALUATIONS = ("validation", "test", "cv", "evaluation", "baseline")
_MAIN_METRICS = ("accuracy", "macro_f1", "log_loss")
_MATRIX_CLASSES = 20
_MISSING = 5
_VALUES = 20
_CONFUSIONS = 10


def format_metrics(metrics: Mapping[str, Any], everything: bool = False) -> list[list[str]]:
    """One line per metric, the main ones or everything; one column per evaluation, with 95 % intervals."""
    found = {name: metrics[name] for name in _EVALUATIONS if metrics.get(name) is not None}
    rows = [["95 % interval", *found], ["images", *(f"{scores['rows']:,}" for scores in found.values())]]
    if any(scores.get("groups") not in (None, scores["rows"]) for scores in found.values()):
        rows.append(["groups", *(_format_count(scores.get("groups")) for scores in found.values())])
    if any(scores.get("missing") for scores in found.values()):
        classes = len(metrics["classes"])
        missing = (len(scores.get("missing", ())) for scores in found.values())
        rows.append(["missing classes", *(f"{count} of {classes}" if count else "-" for count in missing)])
    for metric in _metrics_of(metrics, everything):
        cells = [_format_measured(metric, scores.get(metric), name != "baseline") for name, scores in found.items()]
        rows.append([metric.replace("_", " "), *cells])
    return rows + _format_decided(metrics, found)


def _metrics_of(metrics: Mapping[str, Any], everything: bool) -> Sequence[str]:
    """The metrics that are printed, of classes or of numbers."""
    if metrics.get("task") == REGRESSION:
        return REGRESSION_METRICS
    return METRICS if everything else _MAIN_METRICS


def _format_decided(metrics: Mapping[str, Any], found: Mapping[str, Any]) -> list[list[str]]:
    """What a head answers where it may abstain, and what its predictions cost."""
    measured = metrics.get("decision", {}).get("measured", {})
    decided = [measured.get(name, {}) for name in found]
    rows = []
    if any("answered" in one for one in decided):
        answered = [one.get("answered", {}) for one in decided]
        rows.append(["answered", *(_format_measured("fraction", one.get("fraction")) for one in answered)])
        rows.append(["right of these", *(_format_measured("accuracy", one.get("accuracy")) for one in answered)])
    costs = [name for name in ("mean_cost", "mean_cost_of_most_probable") if any(name in one for one in decided)]
    cells = [[f"{one[name]:.3f}" if name in one else "-" for one in decided] for name in costs]
    return rows + [[name.replace("_", " "), *row] for name, row in zip(costs, cells, strict=True)]


def format_decision(metrics: Mapping[str, Any]) -> list[str]:
    """Sentences on how the head decides, where it does not predict the most probable class."""
    decision, classes = metrics.get("decision", {}), metrics["classes"]
    thresholds, rule = decision.get("thresholds"), decision.get("rule", "")
    sentences = []
    if thresholds:
        named = [decision["positive"]] if "positive" in decision else classes
        pairs = [f"{printable(name)} {value:.3g}" for name, value in zip(named, thresholds, strict=True)][:_VALUES]
        more = ", …" if len(thresholds) > _VALUES else ""
        sentences.append(
            f"predicted from a probability of: {', '.join(pairs)}{more} ({rule}, chosen on validation: its numbers there "
            "are optimistic; the test images took no part)"
        )
    elif rule:
        sentences.append(f"the class with the least expected cost is predicted ({printable(rule)})")
    if "abstain" in decision:
        sentences.append(
            f"no answer below a probability of {decision['abstain']:g}; accuracy, the confusion matrix and all other "
            "scores are of all images, as if each were answered"
        )
    return sentences


def format_remarks(metrics: Mapping[str, Any], everything: bool = False) -> list[str]:
    """Sentences below the metrics: how it is decided, which classes are missing, why metrics have no interval."""
    remarks = format_decision(metrics)
    for name in _EVALUATIONS[:-1]:
        scores = metrics.get(name) or {}
        if missing := scores.get("missing"):
            shown = first_names(missing, _MISSING)
            remarks.append(f"{name}: no image of {shown}; balanced accuracy and macro f1 are of the other classes")
        # That there never is one for squared errors is in metrics.json and in docs/heads.md, not below every table.
        chosen = [metric for metric in _metrics_of(metrics, everything) if metric != "root_mean_squared_error"]
        reasons = [(metric, (scores.get(metric) or {}).get("reason")) for metric in chosen]
        remarks += [f"{name} {line}" for line in _join_reasons([(metric, text) for metric, text in reasons if text])]
    return remarks


def _join_reasons(reasons: Sequence[tuple[str, str]]) -> list[str]:
    """One sentence for the metrics whose reasons differ only by the number that each needs, in brackets at the end."""
    found = dict[str, dict[str, list[str]]]()
    for metric, reason in reasons:
        sentence, _, needed = reason.partition(" (")
        found.setdefault(sentence, {}).setdefault(needed.rstrip(")"), []).append(metric.replace("_", " "))
    return [
        f"{', '.join(name for names in needs.values() for name in names)}: {printable(sentence)}{_format_needs(needs)}"
        for sentence, needs in found.items()
    ]


def _format_needs(needs: Mapping[str, Sequence[str]]) -> str:
    """What metrics need, in brackets; by metric, where they need different numbers."""
    if len(needs) == 1:
        return "".join(f" ({needed})" for needed in needs if needed)
    parts = [f"{needed} for {', '.join(names)}" for needed, names in needs.items() if needed]
    return f" ({'; '.join(parts)})" if parts else ""


def format_by(by: Mapping[str, Any]) -> list[list[str]]:
    """One line per value of a column, the lowest accuracy, or the largest error, first."""
    metric = "mean_absolute_error" if "mean_absolute_error" in by["values"][0] else "accuracy"
    rows = [[f"{by['of']}: {printable(by['column'])}", "images", metric.replace("_", " ")]]
    for one in by["values"][:_VALUES]:
        name = "(none)" if one["value"] is None else printable(one["value"])
        rows.append([name, f"{one['rows']:,}", format_interval(metric, one[metric])])
    if len(by["values"]) > _VALUES:
        rows.append([f"and {len(by['values']) - _VALUES:,} more", "", ""])
    return rows


def _format_count(count: int | None) -> str:
    return "-" if count is None else f"{count:,}"


def _format_measured(metric: str, interval: Mapping[str, Any] | None, with_interval: bool = True) -> str:
    if interval is None:
        return "-"
    return format_interval(metric, interval if with_interval else {**interval, "low": None})


def format_sweep(sweep: "Sweep") -> list[list[str]]:
    """One line per trial, the best first and marked."""
    rows = [["trial", f"validation {sweep.metric.replace('_', ' ')}", *sweep.names, "seconds"]]
    for trial in sweep.trials:
        values = [printable(format_value(trial.parameters[name])) for name in sweep.names]
        score = format_interval(sweep.metric, trial.scores[sweep.metric].to_dict()) if trial.scores else "refused"
        chosen = " *" if trial is sweep.chosen else ""
        rows.append([f"{trial.number + 1}{chosen}", score, *values, f"{trial.seconds:.1f}"])
    return rows


def format_refusals(sweep: "Sweep") -> list[list[str]]:
    """One line per trial that the head refused, and why."""
    return [[f"{trial.number + 1}", f"refused: {printable(trial.refused)}"] for trial in sweep.trials if trial.refused]


def format_confusion(metrics: Mapping[str, Any], width: int) -> list[list[str]]:
    """The confusion matrix, one line per true class; of many classes, those most often taken for another.

    If the names of the classes would make it wider than `width`, the predicted classes are numbered.
    """
    classes = [printable(name) for name in metrics["classes"]]
    matrix = np.array(metrics["confusion"])
    title = f"{metrics['confusion_of']}: " if "confusion_of" in metrics else ""
    # Earlier versions did not say whether images have several labels.
    if metrics.get("multi_label", matrix.shape != (len(classes), len(classes))):
        rows = [[f"{title}label", "true negative", "false positive", "false negative", "true positive"]]
        return rows + [[name, *map(str, counts)] for name, counts in zip(classes, matrix.tolist(), strict=True)]
    if len(classes) <= _MATRIX_CLASSES:
        counts = [[str(count) for count in row] for row in matrix.tolist()]
        return _format_matrix(f"{title}true \\ predicted", classes, counts, width)
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:_CONFUSIONS]
    rows = [[f"{title}true", "taken for", "images"]]
    for true, predicted in zip(*np.unravel_index(order, matrix.shape), strict=True):
        if matrix[true, predicted]:
            rows.append([classes[true], classes[predicted], str(matrix[true, predicted])])
    return rows


def _format_matrix(title: str, classes: Sequence[str], counts: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    rows = [[title, *classes], *([name, *row] for name, row in zip(classes, counts, strict=True))]
    if table_width(rows) <= width:
        return rows
    numbers = [str(number) for number in range(1, len(classes) + 1)]
    names = [f"{number} {name}" for number, name in zip(numbers, classes, strict=True)]
    return [[title, *numbers], *([name, *row] for name, row in zip(names, counts, strict=True))]


def _format_number(row: Mapping[str, Any]) -> list[str]:
    path, error = printable(row["path"]), row["error"]
    return [path, f"{row['predicted']:.6g}" if error is None else f"error: {printable(error)}"]


def format_predictions(table: pa.Table, task: Task, top: int) -> list[list[str]]:
    """One line per image: its path and its classes, the predicted ones first, then the most probable; or its error.

    Of a regression, its path and its number.
    """
    if task.regression:
        return [_format_number(row) for row in table.to_pylist()]
    rows = []
    columns = class_columns(table, task.classes)
    predicted = task.membership(task.decide(columns)) if task.decision.rule else np.zeros(columns.shape, bool)
    errors, names = table["error"].to_pylist(), table["predicted"].to_pylist()
    for number, path in enumerate(table["path"].to_pylist()):
        if errors[number] is not None:
            rows.append([printable(path), f"error: {printable(errors[number])}"])
            continue
        best = np.lexsort((-columns[number], ~predicted[number]))[:top]
        shown = "  ".join(f"{printable(task.classes[at])} {columns[number, at]:.3f}" for at in best)
        rows.append([printable(path), shown if names[number] is not None else f"no answer: {shown}"])
    return rows
