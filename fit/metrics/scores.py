"""Targets and probabilities -> metrics with 95 % intervals. The same input gives the same numbers.

A metric that is undefined (0 / 0) is None. One without an interval says why; see `fit.metrics.intervals`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt

from fit.metrics.calibration import calibration_error
from fit.metrics.intervals import (
    ROW_BY_ROW,
    Clusters,
    Interval,
    Requirement,
    Sampling,
    interval_of,
    value_alone,
    without_interval,
)
from fit.metrics.measured_rows import MeasuredRows, MultiLabelRows, SingleLabelRows
from fit.task import Targets

METRICS = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "log_loss",
    "brier",
    "calibration_error",
    "roc_auc",
    "average_precision",
    "top_5_accuracy",
    "kappa",
)
"""The fields of `Scores` that are intervals."""

SHARE = Requirement(images=20, groups=10)
_AVERAGED = Requirement(images=200, groups=100, per_class=20)
_LOSS = Requirement(images=200, groups=100)
REQUIREMENTS = {
    "accuracy": SHARE,
    "balanced_accuracy": _AVERAGED,
    "macro_f1": _AVERAGED,
    "log_loss": _LOSS,
    "brier": _LOSS,
    "roc_auc": Requirement(images=100, groups=100, per_class=40, errors=10),
    "average_precision": Requirement(images=100, groups=100, per_class=40, errors=20),
    "top_5_accuracy": SHARE,
    "kappa": Requirement(images=100, groups=100),
}
"""What each metric needs for an interval that covers the truth in 93 to 97.5 % of samples (`benchmarks/coverage.py`)."""

NOT_MEASURED = "metrics.json is of an earlier version, which did not measure this"
_NO_CALIBRATION_INTERVAL = "no interval of the calibration error covers the truth as often as it should near 0"


@dataclass(frozen=True)
class ClassScores:
    """One class's scores, and how many rows are of it.

    Precision, recall and F1 are 0 where undefined; the others, each class against the rest, are None.
    """

    name: str
    precision: float
    recall: float
    f1: float
    rows: int
    roc_auc: float | None = None
    average_precision: float | None = None
    kappa: float | None = None

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Scores:
    """All metrics of one set of rows.

    Attributes:
        accuracy: and so on: see `score_classes` and `score_labels`.
        per_class: of each class.
        confusion: rows of true class x predicted class; where rows have several labels it is (true negatives, false
            positives, false negatives, true positives) of each class.
        rows: how many.
        groups: how many split groups they are of; None in scores of earlier versions.
        missing: the classes that no row is of: macro averages are of the others.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    log_loss: Interval
    brier: Interval
    calibration_error: Interval
    roc_auc: Interval
    average_precision: Interval
    top_5_accuracy: Interval
    kappa: Interval
    per_class: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    rows: int
    groups: int | None = None
    missing: tuple[str, ...] = ()

    def metric(self, name: str) -> Interval:
        """The metric of that name, one of METRICS."""
        interval: Interval = getattr(self, name)
        return interval

    def intervals(self) -> dict[str, Interval]:
        """All of METRICS."""
        return {name: self.metric(name) for name in METRICS}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The scores that `to_dict` wrote, in an earlier version too."""
        stored = cast(Mapping[str, Any], values)
        per_class = tuple(ClassScores(**scores) for scores in stored["per_class"])
        return cls(
            **read_intervals(stored),
            per_class=per_class,
            confusion=tuple(map(tuple, stored["confusion"])),
            rows=stored["rows"],
            groups=stored.get("groups"),
            missing=tuple(scores.name for scores in per_class if scores.rows == 0),
        )

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            **{name: interval.to_dict() for name, interval in self.intervals().items()},
            "per_class": [scores.to_dict() for scores in self.per_class],
            "confusion": [list(row) for row in self.confusion],
            "rows": self.rows,
            "groups": self.groups,
            "missing": list(self.missing),
        }


def read_intervals(stored: Mapping[str, Any], names: Sequence[str] = METRICS) -> dict[str, Interval]:
    """Each metric as it was written; one that an earlier version did not measure has no value."""
    nothing = {"value": None, "low": None, "high": None, "reason": NOT_MEASURED}
    return {name: Interval(**stored.get(name, nothing)) for name in names}


def score(
    targets: Targets,
    probabilities: npt.NDArray[np.floating],
    classes: Sequence[str],
    sampling: Sampling = ROW_BY_ROW,
    predicted: Targets | None = None,
) -> Scores:
    """`score_labels` for targets (rows, classes), `score_classes` for targets (rows,)."""
    measure = score_labels if targets.ndim == 2 else score_classes
    return measure(targets, probabilities, classes, sampling, predicted)


def score_classes(
    targets: Targets,
    probabilities: npt.NDArray[np.floating],
    classes: Sequence[str],
    sampling: Sampling = ROW_BY_ROW,
    predicted: Targets | None = None,
) -> Scores:
    """Scores of rows that each have one class.

    Balanced accuracy is over the classes that occur in `targets`, macro F1 over those that occur in `targets` or
    among the predicted. ROC AUC and average precision of two classes are those of the second's probability; of more,
    the mean of one against the rest over the classes that occur in `targets`. The Brier score is summed over the
    classes (of two, the second alone), as scikit-learn has it. The calibration error is that of the predicted class,
    see `fit.metrics.calibration`.

    Args:
        targets: (rows,), positions in `classes`.
        probabilities: (rows, classes); a row may be off a sum of 1 by rounding.
        classes: their names.
        sampling: the rows' split groups, and whether there are to be intervals.
        predicted: (rows,), encoded as `targets`; None for the most probable class.

    Raises:
        ValueError: the shapes do not fit together.
    """
    numbers, given = np.asarray(targets, np.int64), np.asarray(probabilities, np.float64)
    decided = None if predicted is None else np.asarray(predicted, np.int64)
    _require_shapes(numbers.shape, given.shape, (len(given),), classes)
    return _score(SingleLabelRows(numbers, given, decided), classes, sampling)


def score_labels(
    targets: Targets,
    probabilities: npt.NDArray[np.floating],
    classes: Sequence[str],
    sampling: Sampling = ROW_BY_ROW,
    predicted: Targets | None = None,
) -> Scores:
    """Scores of rows that each have any number of classes.

    Accuracy counts rows whose whole set of classes is right. Balanced accuracy is the mean over classes that occur in
    `targets` of the class's own (of its recall alone where every row has the class), macro F1 over those that occur in
    `targets` or among the predicted, ROC AUC and average precision over those that some rows have and some have not,
    kappa over all. Log loss is the mean binary cross-entropy, the Brier score the mean squared difference, and the
    calibration error that of every (row, class) decision.

    Args:
        targets: (rows, classes), whether the row has the class.
        probabilities: (rows, classes).
        classes: their names.
        sampling: the rows' split groups, and whether there are to be intervals.
        predicted: (rows, classes), encoded as `targets`; None for the labels with a probability of 0.5 or more.

    Raises:
        ValueError: the shapes do not fit together.
    """
    marks, given = np.asarray(targets, np.bool_), np.asarray(probabilities, np.float64)
    decided = None if predicted is None else np.asarray(predicted, np.bool_)
    _require_shapes(marks.shape, given.shape, given.shape, classes)
    return _score(MultiLabelRows(marks, given, decided), classes, sampling)


def _score(measured: MeasuredRows, classes: Sequence[str], sampling: Sampling) -> Scores:
    clusters = Clusters(measured.rows, sampling.groups)
    intervals = {"calibration_error": _calibration(measured, clusters)}
    for name, estimate in measured.estimates().items():
        requirement = REQUIREMENTS[name]
        if not sampling.intervals:
            intervals[name] = value_alone(estimate)
        elif estimate.defined and (reason := _too_few_of_a_class(measured, clusters, classes, requirement.per_class)):
            intervals[name] = without_interval(estimate.value, reason)
        else:
            intervals[name] = interval_of(estimate, clusters, requirement)
    counts = measured.class_counts
    return Scores(
        **intervals,
        per_class=_per_class(measured, classes),
        confusion=tuple(map(tuple, measured.confusion().tolist())),
        rows=measured.rows,
        groups=clusters.count,
        missing=tuple(name for name, count in zip(classes, counts, strict=True) if count == 0),
    )


def _calibration(measured: MeasuredRows, clusters: Clusters) -> Interval:
    confidence, correct = measured.decisions()
    error = calibration_error(confidence, correct, clusters)
    if np.isnan(error):
        return Interval(None, None, None, "too few images of similar confidence")
    return without_interval(error, _NO_CALIBRATION_INTERVAL)


def _too_few_of_a_class(measured: MeasuredRows, clusters: Clusters, classes: Sequence[str], least: int) -> str:
    """Why the rows of some class allow no interval of an average over the classes; "" if all have enough."""
    if not least or clusters.too_few(REQUIREMENTS["macro_f1"]):
        return ""  # for which there is another sentence
    found = [(clusters.of_class(marks), name) for name, marks in zip(classes, measured.marks.T, strict=True)]
    fewest, name = min((pair for pair in found if pair[0]), default=(least, ""))
    if fewest >= least:
        return ""
    unit = "image" if clusters.independent else "group"
    return (
        f"the class {name} has {fewest} {unit}{'' if fewest == 1 else 's'}: too few for an interval "
        f"({least} or more of every class)"
    )


def _per_class(measured: MeasuredRows, classes: Sequence[str]) -> tuple[ClassScores, ...]:
    values, counts = measured.per_class(), measured.class_counts
    precision, recall, f1 = (np.nan_to_num(values[name]) for name in ("precision", "recall", "f1"))
    return tuple(
        ClassScores(
            name,
            float(precision[at]),
            float(recall[at]),
            float(f1[at]),
            int(counts[at]),
            **{other: _or_none(values[other][at]) for other in ("roc_auc", "average_precision", "kappa")},
        )
        for at, name in enumerate(classes)
    )


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _require_shapes(
    targets: tuple[int, ...], probabilities: tuple[int, ...], expected: tuple[int, ...], classes: Sequence[str]
) -> None:
    if len(probabilities) != 2 or probabilities[1] != len(classes) or targets != expected:
        raise ValueError(
            f"targets {targets}, probabilities {probabilities} and {len(classes)} classes do not fit together"
        )
