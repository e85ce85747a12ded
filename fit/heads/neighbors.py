"""Classification by the most similar images, and by the most similar class mean."""

from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d, validate_data

from fit.arrays import Floats, Matrix
from fit.neighbors import nearest, unit_rows
from fit.task import decide

_QUERIES = 64  # whose neighbors are in memory together: 64 x 20 x 1,280 features are 7 MB


class _Similar(BaseEstimator):
    """Means over the rows with the largest cosines, weighted by exp(cosine / temperature).

    Attributes:
        rows_: (rows, features), of length 1.
        votes_: (rows, columns), of which the means are.
    """

    rows_: npt.NDArray[np.float32]
    votes_: npt.NDArray[np.floating]

    def __init__(self, neighbors: int = 20, temperature: float = 0.07) -> None:
        self.neighbors = neighbors
        self.temperature = temperature

    def _remember(self, X: Matrix) -> None:
        self.rows_ = unit_rows(X)

    def _require_temperature(self) -> None:
        if self.temperature <= 0:
            raise ValueError(f"temperature is {self.temperature}: expected a number above 0")

    def _means(self, X: Matrix) -> Floats:
        """(queries, columns), with one vote more, of the weight of the farthest neighbor, for the mean of all rows."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float32)
        count = min(self.neighbors, len(self.rows_))
        rows = nearest(X, [(self.rows_, np.arange(len(self.rows_)))], count).rows
        cosines = self._cosines(unit_rows(X), rows)
        weights = np.exp((cosines - cosines.max(axis=1, keepdims=True)) / self.temperature)
        votes = np.einsum("qk,qkc->qc", weights, self.votes_[rows])
        every = self.votes_.mean(axis=0, dtype=np.float64)
        farthest = weights.min(axis=1, keepdims=True)
        means: Floats = (votes + farthest * every) / (weights.sum(axis=1, keepdims=True) + farthest)
        return means

    def _cosines(self, directions: Matrix, rows: Matrix) -> Floats:
        """(queries, k) in float64: the temperature would show the noise of float32, which depends on the batch."""
        parts = [
            np.einsum(
                "qf,qkf->qk", directions[at : at + _QUERIES].astype(np.float64), self.rows_[rows[at : at + _QUERIES]]
            )
            for at in range(0, len(rows), _QUERIES)
        ]
        cosines: Floats = np.concatenate(parts)
        return cosines


class SimilarNumbers(RegressorMixin, _Similar):
    """The mean number of the most similar rows, as `SimilarNeighbors` weighs their votes."""

    def fit(self, X: Matrix, y: Matrix) -> Self:
        """Remember all rows. X: (rows, features); y: (rows,), numbers."""
        X, y = validate_data(self, X, y, dtype=np.float32, y_numeric=True)
        self._require_temperature()
        self.votes_ = y.astype(np.float64)[:, None]
        self._remember(X)
        return self

    def predict(self, X: Matrix) -> Floats:
        """(rows,)."""
        return self._means(X)[:, 0]


class SimilarNeighbors(ClassifierMixin, _Similar):
    """Votes of the rows with the largest cosines, weighted by exp(cosine / temperature).

    As DINO evaluates features (Caron et al. 2021, arXiv:2104.14294, with k = 20 and temperature 0.07). One vote more, of
    the weight of the farthest neighbor, goes to every class by its frequency, so that no probability is 0.

    Attributes:
        rows_: (rows, features), of length 1.
        votes_: (rows, classes), 1 for what a row is.
        classes_: those of `votes_`.
    """

    def fit(self, X: Matrix, y: Matrix) -> Self:
        """Remember all rows. X: (rows, features); y: (rows,), or (rows, labels) of 0 and 1 where rows have several."""
        X, y = validate_data(self, X, y, dtype=np.float32, multi_output=True)
        self._require_temperature()
        y = column_or_1d(y, warn=True) if y.ndim == 1 or y.shape[1] == 1 else y
        check_classification_targets(y)
        self.multi_label_ = y.ndim == 2
        self.classes_ = np.arange(y.shape[1]) if self.multi_label_ else np.unique(y)
        self.votes_ = (y if self.multi_label_ else y[:, None] == self.classes_).astype(np.float32)
        self._remember(X)
        return self

    def predict_proba(self, X: Matrix) -> Floats:
        """(rows, classes), or (rows, labels)."""
        return self._means(X)

    def predict(self, X: Matrix) -> Matrix:
        """(rows,): the most probable class; or bool (rows, labels)."""
        decided = decide(self.predict_proba(X), self.multi_label_)
        return decided if self.multi_label_ else self.classes_[decided]


class NearestMean(ClassifierMixin, BaseEstimator):
    """The class whose mean is nearest; a score is half the negative squared distance, up to what all classes share.

    scikit-learn's NearestCentroid divides distances by each feature's deviation within the classes: a feature that hardly
    any image has then decides alone, and one such image the temperature of all probabilities.

    Attributes:
        means_: (classes, features).
    """

    def fit(self, X: Matrix, y: Matrix) -> Self:
        """X: (rows, features); y: (rows,)."""
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_ = np.unique(y)
        self.means_ = np.stack([X[y == one].mean(axis=0, dtype=np.float64) for one in self.classes_])
        return self

    def decision_function(self, X: Matrix) -> Floats:
        """(rows, classes), or (rows,) of the second of two classes."""
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X: Matrix) -> Matrix:
        """(rows,): the nearest class."""
        numbers = self._scores(X).argmax(axis=1)
        return self.classes_[numbers]

    def _scores(self, X: Matrix) -> Floats:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        scores: Floats = X @ self.means_.T - np.square(self.means_).sum(axis=1) / 2
        return scores
