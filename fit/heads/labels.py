"""Several labels per row: an estimator for each."""

from typing import Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from fit.arrays import Floats, Matrix
from fit.task import DECISION


class OnePerLabel(ClassifierMixin, BaseEstimator):
    """A copy of an estimator per label, each fitted by itself, with the groups of the rows.

    Attributes:
        labels_: the labels that have an estimator: some rows have them and some have not.
        estimators_: theirs.
        frequencies_: (labels,), how often each occurs; for labels of all rows or of none it is what is predicted.
        chosen_: what each estimator chose, by the label's number; empty if they choose nothing.
    """

    def __init__(self, estimator: ClassifierMixin) -> None:
        self.estimator = estimator

    def fit(self, X: Matrix, y: Matrix, groups: Matrix) -> Self:
        """X: (rows, features); y: (rows, labels), 0 or 1; groups: (rows,), for inner folds."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], multi_output=True)
        self.classes_ = np.arange(y.shape[1])
        self.frequencies_ = y.mean(axis=0, dtype=np.float64)
        self.labels_ = np.flatnonzero((self.frequencies_ > 0) & (self.frequencies_ < 1))
        self.estimators_ = [
            clone(self.estimator).fit(X, y[:, label].astype(np.int64), groups) for label in self.labels_
        ]
        pairs = zip(self.labels_.tolist(), self.estimators_, strict=True)
        self.chosen_ = {str(label): estimator.chosen_ for label, estimator in pairs if estimator.chosen_}
        return self

    def predict_proba(self, X: Matrix) -> Floats:
        """(rows, labels)."""
        check_is_fitted(self)
        probabilities = np.tile(self.frequencies_, (len(X), 1))
        for label, estimator in zip(self.labels_, self.estimators_, strict=True):
            probabilities[:, label] = estimator.predict_proba(X)[:, 1]
        return probabilities

    def predict(self, X: Matrix) -> Matrix:
        """Bool (rows, labels)."""
        decided: Matrix = self.predict_proba(X) >= DECISION
        return decided
