"""Targets and probabilities, prepared so that each metric is a function of the rows' weights.

All rows once give a metric's value, a resample's weights give one value for its interval.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from fit.metrics.arrays import Bools, Floats, Ints, mean_of_known, ratio
from fit.metrics.calibration import calibration_gaps
from fit.metrics.roc import RankedRows

SMALLEST_PROBABILITY = 1e-15
"""The log loss raises smaller probabilities to this, so that one confident error does not make it infinite."""


@dataclass(frozen=True)
class ClassCounts:
    """Weighted numbers of rows, each (resamples, classes); `rows`, of all classes, is (resamples, 1).

    Attributes:
        rows: all rows.
        true: rows that are of the class.
        predicted: rows for which the class was predicted.
        correct: rows that are of the class and for which it was predicted.
    """

    rows: Ints
    true: Ints
    predicted: Ints
    correct: Ints

    @property
    def precision(self) -> Floats:
        """(resamples, classes); NaN where the class was not predicted."""
        return ratio(self.correct, self.predicted)

    @property
    def recall(self) -> Floats:
        """(resamples, classes); NaN where no row is of the class."""
        return ratio(self.correct, self.true)

    @property
    def specificity(self) -> Floats:
        """The share of rows of other classes that were recognized as such; NaN where there are none."""
        others = self.rows - self.true
        return ratio(others - self.predicted + self.correct, others)

    @property
    def f1(self) -> Floats:
        """(resamples, classes); NaN where the class neither occurs nor was predicted."""
        return ratio(2 * self.correct, self.true + self.predicted)


class MeasuredRows(ABC):
    """Rows of known targets with predictions. `weights` is (resamples, rows) everywhere."""

    @cached_property
    @abstractmethod
    def averaged(self) -> Floats:
        """(rows, 2 + bins): whether a row is right, its log loss, and its calibration gaps."""

    @cached_property
    @abstractmethod
    def ranked(self) -> list[RankedRows]:
        """The rows ranked by the probability of each class that the ROC AUC is a mean of."""

    @abstractmethod
    def count(self, weights: Ints) -> ClassCounts:
        """Weighted numbers of rows per class."""

    @abstractmethod
    def balanced_accuracy(self, counts: ClassCounts) -> Floats:
        """(resamples,)."""

    @abstractmethod
    def confusion(self) -> Ints:
        """As in `Scores`."""


class SingleLabelRows(MeasuredRows):
    """Rows of one class each; the class with the highest probability is predicted.

    Args:
        targets: (rows,), positions of classes.
        probabilities: (rows, classes).
    """

    def __init__(self, targets: Ints, probabilities: Floats) -> None:
        self._targets = targets
        self._probabilities = probabilities
        self._classes = probabilities.shape[1]
        self._predicted: Ints = probabilities.argmax(axis=1)
        self._correct: Bools = self._predicted == targets

    @cached_property
    def averaged(self) -> Floats:
        """See `MeasuredRows`."""
        rows = np.arange(len(self._targets))
        confidence = self._probabilities[rows, self._predicted]
        gaps = calibration_gaps(confidence[:, None], self._correct[:, None])
        return np.column_stack([self._correct, _log_loss(self._probabilities[rows, self._targets]), gaps])

    @cached_property
    def ranked(self) -> list[RankedRows]:
        """See `MeasuredRows`: of two classes the second alone, of more each against the rest."""
        columns = [1] if self._classes == 2 else range(self._classes)
        return [
            RankedRows.by_score(self._probabilities[:, column], self._targets == column)
            for column in columns
            if (self._targets == column).any()
        ]

    def count(self, weights: Ints) -> ClassCounts:
        """See `MeasuredRows`."""
        right = self._correct
        return ClassCounts(
            rows=weights.sum(axis=1, keepdims=True),
            true=_sums_per_class(weights, self._targets, self._classes),
            predicted=_sums_per_class(weights, self._predicted, self._classes),
            correct=_sums_per_class(weights[:, right], self._targets[right], self._classes),
        )

    def balanced_accuracy(self, counts: ClassCounts) -> Floats:
        """See `MeasuredRows`: the mean recall over the classes that occur."""
        return mean_of_known(counts.recall)

    def confusion(self) -> Ints:
        """See `MeasuredRows`."""
        cells = np.bincount(self._targets * self._classes + self._predicted, minlength=self._classes**2)
        return cells.reshape(self._classes, self._classes)


class MultiLabelRows(MeasuredRows):
    """Rows of any number of classes; those with a probability of at least 0.5 are predicted.

    Args:
        targets: (rows, classes), whether the row is of the class.
        probabilities: (rows, classes).
    """

    def __init__(self, targets: Bools, probabilities: Floats) -> None:
        self._targets = targets
        self._probabilities = probabilities
        self._predicted: Bools = probabilities >= 0.5
        self._correct: Bools = self._predicted == targets

    @cached_property
    def averaged(self) -> Floats:
        """See `MeasuredRows`; a row is right if all its classes are."""
        given = self._probabilities
        loss = _log_loss(np.where(self._targets, given, 1 - given)).mean(axis=1)
        gaps = calibration_gaps(np.maximum(given, 1 - given), self._correct)
        return np.column_stack([self._correct.all(axis=1), loss, gaps])

    @cached_property
    def ranked(self) -> list[RankedRows]:
        """See `MeasuredRows`."""
        columns = zip(self._probabilities.T, self._targets.T, strict=True)
        return [RankedRows.by_score(scores, positive) for scores, positive in columns if positive.any()]

    def count(self, weights: Ints) -> ClassCounts:
        """See `MeasuredRows`."""
        return ClassCounts(
            rows=weights.sum(axis=1, keepdims=True),
            true=_sums_of_marked(weights, self._targets),
            predicted=_sums_of_marked(weights, self._predicted),
            correct=_sums_of_marked(weights, self._targets & self._predicted),
        )

    def balanced_accuracy(self, counts: ClassCounts) -> Floats:
        """See `MeasuredRows`: the mean of each class's recall and specificity, over the classes that occur."""
        of_classes = mean_of_known(np.stack([counts.recall, counts.specificity], axis=-1))
        return mean_of_known(np.where(counts.true > 0, of_classes, np.nan))

    def confusion(self) -> Ints:
        """See `MeasuredRows`."""
        counts = self.count(each_row_once(len(self._targets)))
        true, predicted, correct = counts.true, counts.predicted, counts.correct
        negatives = len(self._targets) - true - predicted + correct
        cells: Ints = np.stack([negatives, predicted - correct, true - correct, correct], axis=-1)[0]
        return cells


def each_row_once(rows: int) -> Ints:
    """The weights (1, rows) that give a metric's value."""
    return np.ones((1, rows), np.int64)


def _log_loss(probabilities: Floats) -> Floats:
    """Of the probability that was given to what is true."""
    return -np.log(np.clip(probabilities, SMALLEST_PROBABILITY, 1.0))


def _sums_per_class(weights: Ints, class_of_row: Ints, classes: int) -> Ints:
    """(resamples, classes): the weights of each class's rows."""
    rows = len(class_of_row)
    members = csr_array((np.ones(rows, np.int64), (np.arange(rows), class_of_row)), (rows, classes))
    sums: Ints = weights @ members
    return sums


def _sums_of_marked(weights: Ints, marks: Bools) -> Ints:
    """(resamples, classes): the weights of the rows marked in each column."""
    sums: Ints = weights @ marks.astype(np.int64)
    return sums
