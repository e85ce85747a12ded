"""Targets and probabilities -> every metric, with what each row contributes to it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fit.arrays import Bools, Floats, Ints
from fit.metrics.arrays import ratio
from fit.metrics.estimates import (
    Average,
    Estimate,
    Scale,
    average,
    f1_of_class,
    kappa,
    mean_of,
    recall_of_class,
    share_of,
    specificity_of_class,
    undefined,
)
from fit.metrics.ranking import RankedRows

SMALLEST_PROBABILITY = 1e-15
"""The log loss raises smaller probabilities to this, so that one confident error does not make it infinite."""

TOP = 5
"""How many classes the top-5 accuracy looks at."""


@dataclass(frozen=True, eq=False)
class Rankings:
    """The area under the ROC curve and the average precision: their means over the classes, and (classes,) each."""

    roc_auc: Estimate
    average_precision: Estimate
    areas: Floats
    precisions: Floats


class MeasuredRows(ABC):
    """Rows of known targets with predictions.

    Args:
        marks: (rows, classes), whether the row is of the class.
        predicted: (rows, classes), whether the class is predicted.
        probabilities: (rows, classes).
    """

    def __init__(self, marks: Bools, predicted: Bools, probabilities: Floats) -> None:
        self.marks, self.predicted, self.probabilities = marks, predicted, probabilities

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.marks)

    @property
    def class_counts(self) -> Ints:
        """(classes,): how many rows are of each class."""
        counts: Ints = self.marks.sum(axis=0)
        return counts

    @property
    @abstractmethod
    def headline_classes(self) -> list[int]:
        """The classes whose rankings are averaged: of two classes the second alone, as scikit-learn has it."""

    @cached_property
    def rankings(self) -> Rankings:
        """The metrics of ranking the rows by the probability of each class."""
        headline = set(self.headline_classes)
        area, precision = Average(self.rows), Average(self.rows)
        values = np.empty((self.marks.shape[1], 2))
        for at, marks in enumerate(self.marks.T):
            ranked = RankedRows.by_score(self.probabilities[:, at], marks)
            found = ranked.roc_auc(), ranked.average_precision()
            values[at] = found[0].value, found[1].value
            if at in headline:
                area.add(found[0])
                precision.add(found[1])
        nothing = "no class has images both of it and of others"
        return Rankings(area.result(nothing), precision.result(nothing), values[:, 0], values[:, 1])

    def estimates(self) -> dict[str, Estimate]:
        """Every metric but the calibration error, by name."""
        return {
            "accuracy": share_of(self.correct_rows()),
            "balanced_accuracy": self.balanced_accuracy(),
            "macro_f1": average((f1_of_class(*pair) for pair in self._pairs()), self.rows, "no images"),
            "log_loss": mean_of(self.losses()),
            "brier": mean_of(self.squared_errors()),
            "roc_auc": self.rankings.roc_auc,
            "average_precision": self.rankings.average_precision,
            "top_5_accuracy": self.top_accuracy(),
            "kappa": self.kappa(),
        }

    def per_class(self) -> dict[str, Floats]:
        """Precision, recall, F1, area under the ROC curve, average precision and kappa, each (classes,); NaN where undefined."""
        both = (self.marks & self.predicted).sum(axis=0)
        true, given = self.class_counts, self.predicted.sum(axis=0)
        agreement = [_agreement(*pair).value for pair in self._pairs()]
        return {
            "precision": ratio(both, given),
            "recall": ratio(both, true),
            "f1": ratio(2 * both, true + given),
            "roc_auc": self.rankings.areas,
            "average_precision": self.rankings.precisions,
            "kappa": np.array(agreement),
        }

    @abstractmethod
    def correct_rows(self) -> Bools:
        """(rows,): whether everything about a row is predicted correctly."""

    @abstractmethod
    def decisions(self) -> tuple[Floats, Bools]:
        """(rows, decisions per row): the confidence of each decision, and whether it is right."""

    @abstractmethod
    def losses(self) -> Floats:
        """(rows,): the negative logarithm of the probability given to what is true."""

    @abstractmethod
    def squared_errors(self) -> Floats:
        """(rows,): the squared difference between probabilities and the truth (Brier 1950), as scikit-learn sums it."""

    @abstractmethod
    def balanced_accuracy(self) -> Estimate:
        """The mean recall of the classes; with several labels, of recall and specificity."""

    @abstractmethod
    def top_accuracy(self) -> Estimate:
        """How often the true class is among the five most probable."""

    @abstractmethod
    def kappa(self) -> Estimate:
        """Cohen's kappa; with several labels, the mean over the labels."""

    @abstractmethod
    def confusion(self) -> Ints:
        """The confusion matrix, as in `Scores`."""

    def _pairs(self) -> Iterator[tuple[Bools, Bools]]:
        """For each class, which rows have it and which are predicted to have it."""
        return zip(self.marks.T, self.predicted.T, strict=True)


class SingleLabelRows(MeasuredRows):
    """Rows of one class each.

    Args:
        targets: (rows,), positions of classes.
        probabilities: (rows, classes).
        predicted: (rows,), positions of classes; None for the most probable one.
    """

    def __init__(self, targets: Ints, probabilities: Floats, predicted: Ints | None = None) -> None:
        self._targets = targets
        self._given: Ints = probabilities.argmax(axis=1) if predicted is None else predicted
        self._classes = np.arange(probabilities.shape[1])
        super().__init__(targets[:, None] == self._classes, self._given[:, None] == self._classes, probabilities)

    @property
    def headline_classes(self) -> list[int]:
        """See `MeasuredRows`."""
        return [1] if len(self._classes) == 2 else self._classes.tolist()

    def correct_rows(self) -> Bools:
        """See `MeasuredRows`."""
        right: Bools = self._given == self._targets
        return right

    def decisions(self) -> tuple[Floats, Bools]:
        """See `MeasuredRows`."""
        return self._probability_of(self._given)[:, None], self.correct_rows()[:, None]

    def losses(self) -> Floats:
        """See `MeasuredRows`."""
        return _log_loss(self._of_truth)

    def squared_errors(self) -> Floats:
        """See `MeasuredRows`: summed over the classes, of two classes over the second alone."""
        summed: Floats = ((self.probabilities - self.marks) ** 2).sum(axis=1)
        return summed / 2 if len(self._classes) == 2 else summed

    def balanced_accuracy(self) -> Estimate:
        """See `MeasuredRows`: over the classes that occur."""
        return average((recall_of_class(*pair) for pair in self._pairs()), self.rows, "no images")

    def top_accuracy(self) -> Estimate:
        """See `MeasuredRows`; of equal probabilities, those of the first classes come first."""
        if len(self._classes) <= TOP:
            return undefined(
                self.rows, f"there are {len(self._classes)} classes, which is not more than {TOP}", Scale.SHARE
            )
        before = self.probabilities > self._of_truth[:, None]
        ties = (self.probabilities == self._of_truth[:, None]) & (self._classes < self._targets[:, None])
        return share_of((before | ties).sum(axis=1) < TOP)

    def kappa(self) -> Estimate:
        """See `MeasuredRows`."""
        return kappa(self._targets, self._given, len(self._classes))

    def confusion(self) -> Ints:
        """See `MeasuredRows`."""
        count = len(self._classes)
        return np.bincount(self._targets * count + self._given, minlength=count**2).reshape(count, count)

    @property
    def _of_truth(self) -> Floats:
        return self._probability_of(self._targets)

    def _probability_of(self, classes: Ints) -> Floats:
        """(rows,): of one class for each row."""
        chosen: Floats = self.probabilities[np.arange(self.rows), classes]
        return chosen


class MultiLabelRows(MeasuredRows):
    """Rows of any number of classes.

    Args:
        targets: (rows, classes), whether the row is of the class.
        probabilities: (rows, classes).
        predicted: (rows, classes), whether the class is predicted; None for those with a probability of 0.5 or more.
    """

    def __init__(self, targets: Bools, probabilities: Floats, predicted: Bools | None = None) -> None:
        super().__init__(targets, probabilities >= 0.5 if predicted is None else predicted, probabilities)

    @property
    def headline_classes(self) -> list[int]:
        """See `MeasuredRows`: all."""
        return list(range(self.marks.shape[1]))

    def correct_rows(self) -> Bools:
        """See `MeasuredRows`."""
        whole: Bools = (self.predicted == self.marks).all(axis=1)
        return whole

    def decisions(self) -> tuple[Floats, Bools]:
        """See `MeasuredRows`: one for each label."""
        confidence = np.where(self.predicted, self.probabilities, 1 - self.probabilities)
        return confidence, self.predicted == self.marks

    def losses(self) -> Floats:
        """See `MeasuredRows`: the mean over the labels."""
        mean: Floats = _log_loss(np.where(self.marks, self.probabilities, 1 - self.probabilities)).mean(axis=1)
        return mean

    def squared_errors(self) -> Floats:
        """See `MeasuredRows`: the mean over the labels."""
        mean: Floats = ((self.probabilities - self.marks) ** 2).mean(axis=1)
        return mean

    def balanced_accuracy(self) -> Estimate:
        """See `MeasuredRows`: the mean of each label's recall and specificity, over the labels that occur."""
        labels = []
        for target, predicted in self._pairs():
            sides = [recall_of_class(target, predicted), specificity_of_class(target, predicted)]
            if sides[0].defined:
                labels.append(average(sides, self.rows, ""))
        return average(labels, self.rows, "no image has a label")

    def top_accuracy(self) -> Estimate:
        """See `MeasuredRows`."""
        return undefined(self.rows, "images may have several labels", Scale.SHARE)

    def kappa(self) -> Estimate:
        """See `MeasuredRows`."""
        return average(
            (_agreement(*pair) for pair in self._pairs()),
            self.rows,
            "every label is on all images or on none, and predicted so",
        )

    def confusion(self) -> Ints:
        """See `MeasuredRows`."""
        both = (self.marks & self.predicted).sum(axis=0)
        true, given = self.class_counts, self.predicted.sum(axis=0)
        return np.stack([self.rows - true - given + both, given - both, true - both, both], axis=-1)


def _agreement(target: Bools, predicted: Bools) -> Estimate:
    """The kappa of one class against the rest."""
    return kappa(target.astype(np.int64), predicted.astype(np.int64), 2)


def _log_loss(probabilities: Floats) -> Floats:
    """The log loss of each row, from the probability of its true class."""
    return -np.log(np.clip(probabilities, SMALLEST_PROBABILITY, 1.0))
