"""Targets and probabilities -> metrics with bootstrap 95 % intervals. The same input and seed give the same numbers.

A metric that is undefined (0 / 0) is None; resamples in which it is undefined are left out of its interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from fit.metrics.arrays import Bools, Floats, Ints, mean_of_known, ratio
from fit.metrics.intervals import ROW_BY_ROW, Interval, Resampling, draw_weights, percentile_interval
from fit.metrics.measured_rows import MeasuredRows, MultiLabelRows, SingleLabelRows, each_row_once
from fit.metrics.roc import mean_area, resamples_for_area, undefined_areas

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error", "roc_auc")
"""The fields of `Scores` that are intervals."""


@dataclass(frozen=True)
class ClassScores:
    """One class's precision, recall and F1 (0 where undefined), and how many rows are of it."""

    name: str
    precision: float
    recall: float
    f1: float
    rows: int

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Scores:
    """All metrics of one set of rows.

    `confusion` is rows of true class x predicted class; where rows have several labels it is (true negatives, false
    positives, false negatives, true positives) of each class.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    log_loss: Interval
    roc_auc: Interval
    calibration_error: Interval
    per_class: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    rows: int

    def metric(self, name: str) -> Interval:
        """The metric of that name, one of METRICS."""
        interval: Interval = getattr(self, name)
        return interval

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The scores that `to_dict` wrote."""
        stored = cast(Mapping[str, Any], values)
        return cls(
            **{name: Interval(**stored[name]) for name in METRICS},
            per_class=tuple(ClassScores(**scores) for scores in stored["per_class"]),
            confusion=tuple(map(tuple, stored["confusion"])),
            rows=stored["rows"],
        )

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            **{name: self.metric(name).to_dict() for name in METRICS},
            "per_class": [scores.to_dict() for scores in self.per_class],
            "confusion": [list(row) for row in self.confusion],
            "rows": self.rows,
        }


def score(
    targets: Ints | Bools,
    probabilities: npt.NDArray[np.floating],
    classes: Sequence[str],
    resampling: Resampling = ROW_BY_ROW,
) -> Scores:
    """`score_labels` for targets (rows, classes), `score_classes` for targets (rows,)."""
    measure = score_labels if targets.ndim == 2 else score_classes
    return measure(targets, probabilities, classes, resampling)


def score_classes(
    targets: Ints | Bools,
    probabilities: npt.NDArray[np.floating],
    classes: Sequence[str],
    resampling: Resampling = ROW_BY_ROW,
) -> Scores:
    """Scores of rows that each have one class; the class with the highest probability is predicted.

    Balanced accuracy is over the classes that occur in `targets`, macro F1 over those that occur in `targets` or
    among the predicted. The ROC AUC of two classes is that of the second's probability; of more, the mean of one
    against the rest over the classes that occur in `targets`. The calibration error is the expected one of the
    predicted class, with 15 bins of equal width (Guo et al. 2017, arXiv:1706.04599, equation 5).

    The ROC AUC's interval takes 2e9 / (rows x classes) resamples where that is fewer, but at least 100: 400 for
    5,000 rows x 1,000 classes.

    Args:
        targets: (rows,), positions in `classes`.
        probabilities: (rows, classes); a row may be off a sum of 1 by rounding.
        classes: their names.
        resampling: how rows are drawn for the intervals.

    Raises:
        ValueError: the shapes do not fit together.
    """
    numbers, given = np.asarray(targets, np.int64), np.asarray(probabilities, np.float64)
    _require_shapes(numbers.shape, given.shape, (len(given),), classes)
    return _score(SingleLabelRows(numbers, given), len(given), classes, resampling)


def score_labels(
    targets: Ints | Bools,
    probabilities: npt.NDArray[np.floating],
    classes: Sequence[str],
    resampling: Resampling = ROW_BY_ROW,
) -> Scores:
    """Scores of rows that each have any number of classes; those with a probability of at least 0.5 are predicted.

    Accuracy counts rows whose whole set of classes is right. Balanced accuracy is the mean over classes that occur in
    `targets` of the class's own (of its recall alone where every row has the class), macro F1 over those that occur in
    `targets` or among the predicted, ROC AUC over those that some rows have and some have not. Log loss is the mean
    binary cross-entropy, and the calibration error that of every (row, class) decision.

    Args:
        targets: (rows, classes), whether the row has the class.
        probabilities: (rows, classes).
        classes: their names.
        resampling: how rows are drawn; the ROC AUC's resamples are limited as in `score_classes`.

    Raises:
        ValueError: the shapes do not fit together.
    """
    marks, given = np.asarray(targets, np.bool_), np.asarray(probabilities, np.float64)
    _require_shapes(marks.shape, given.shape, given.shape, classes)
    return _score(MultiLabelRows(marks, given), len(given), classes, resampling)


def _score(measured: MeasuredRows, rows: int, classes: Sequence[str], resampling: Resampling) -> Scores:
    if resampling.groups is not None and len(resampling.groups) != rows:
        raise ValueError(f"{len(resampling.groups)} groups for {rows} rows: expected one number per row")
    all_rows = each_row_once(rows)
    values = _measure(measured, all_rows, with_roc=True)
    most_roc = resamples_for_area(rows, len(measured.ranked))
    chunks = [
        _measure(measured, weights, with_roc=first < most_roc) for first, weights in draw_weights(rows, resampling)
    ]
    intervals = {
        name: percentile_interval(
            values[name][0], np.concatenate([chunk[name] for chunk in chunks]) if chunks else np.empty(0)
        )
        for name in METRICS
    }
    confusion = tuple(map(tuple, measured.confusion().tolist()))
    return Scores(**intervals, per_class=_per_class(measured, all_rows, classes), confusion=confusion, rows=rows)


def _measure(measured: MeasuredRows, weights: Ints, with_roc: bool) -> dict[str, Floats]:
    """Each metric, (resamples,), of rows with these weights (resamples, rows)."""
    means = ratio(weights @ measured.averaged, weights.sum(axis=1, keepdims=True))
    counts = measured.count(weights)
    return {
        "accuracy": means[:, 0],
        "balanced_accuracy": measured.balanced_accuracy(counts),
        "macro_f1": mean_of_known(counts.f1),
        "log_loss": means[:, 1],
        "calibration_error": np.abs(means[:, 2:]).sum(axis=1),
        "roc_auc": mean_area(measured.ranked, weights) if with_roc else undefined_areas(weights),
    }


def _per_class(measured: MeasuredRows, all_rows: Ints, classes: Sequence[str]) -> tuple[ClassScores, ...]:
    counts = measured.count(all_rows)
    precision, recall, f1 = (np.nan_to_num(values[0]) for values in (counts.precision, counts.recall, counts.f1))
    return tuple(
        ClassScores(name, float(precision[at]), float(recall[at]), float(f1[at]), int(counts.true[0, at]))
        for at, name in enumerate(classes)
    )


def _require_shapes(
    targets: tuple[int, ...], probabilities: tuple[int, ...], expected: tuple[int, ...], classes: Sequence[str]
) -> None:
    if len(probabilities) != 2 or probabilities[1] != len(classes) or targets != expected:
        raise ValueError(
            f"targets {targets}, probabilities {probabilities} and {len(classes)} classes do not fit together"
        )
