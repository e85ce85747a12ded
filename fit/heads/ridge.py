"""Ridge classification whose regularization is chosen on inner folds that keep groups whole."""

from collections.abc import Sequence

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.linear_model import RidgeClassifier

from fit.arrays import Floats, Matrix
from fit.heads.inner import ClassWeight, row_weights
from fit.heads.sklearn import Calibrated
from fit.heads.strength import choose_strength, describe_choice


class CalibratedRidge(Calibrated):
    """A ridge classifier on scaled features, calibrated by sigmoids.

    alpha is that of the smallest squared error in inner folds: of targets 1 for the row's class and -1 for the others,
    rows weighted by class. One eigendecomposition per fold serves every alpha (Hastie, Tibshirani & Friedman 2009, The
    Elements of Statistical Learning, 3.4.1).
    """

    method = "sigmoid"

    def __init__(
        self,
        smallest: float = 1.0,
        largest: float = 100000.0,
        steps: int = 11,
        inner_folds: int = 5,
        class_weight: ClassWeight = None,
        random_state: int = 0,
    ) -> None:
        self.smallest = smallest
        self.largest = largest
        self.steps = steps
        self.inner_folds = inner_folds
        self.class_weight = class_weight
        self.random_state = random_state

    @property
    def calibration_weight(self) -> ClassWeight:  # type: ignore[override]
        """The class weight of the calibration, which is that of the regression."""
        return self.class_weight

    def _chosen(
        self, scaled: Matrix, y: Matrix, splits: Sequence[tuple[Matrix, Matrix]]
    ) -> tuple[ClassifierMixin, dict[str, object]]:
        candidates = np.geomspace(self.smallest, self.largest, self.steps)
        if self.steps == 1:
            return self._with(float(candidates[0])), {"alpha": float(candidates[0]), "by": "given"}
        weights = row_weights(y, self.class_weight)
        targets = np.where(y[:, None] == self.classes_, 1.0, -1.0)
        values = scaled.astype(np.float64)
        paths = [RidgePath(values[train], targets[train], weights[train], values[test]) for train, test in splits]
        total = float(sum(weights[test].sum() for _, test in splits))

        def loss(alpha: float) -> float:
            errors = [
                float(weights[test] @ ((path.predict(alpha) - targets[test]) ** 2).sum(axis=1))
                for path, (_, test) in zip(paths, splits, strict=True)
            ]
            return sum(errors) / total

        choice = choose_strength(candidates, loss)
        return self._with(choice.value), {
            "alpha": choice.value,
            "by": "squared error",
            **describe_choice(choice, len(splits)),
        }

    def _with(self, alpha: float) -> RidgeClassifier:
        return RidgeClassifier(alpha, class_weight=self.class_weight)


class RidgePath:
    """Ridge regressions on the same rows for every alpha, as predictions for other rows.

    Args:
        X: (rows, features).
        targets: (rows, classes).
        weights: (rows,).
        others: (other rows, features).
    """

    def __init__(self, X: Floats, targets: Floats, weights: Floats, others: Floats) -> None:
        mean, self._mean = np.average(X, axis=0, weights=weights), np.average(targets, axis=0, weights=weights)
        roots = np.sqrt(weights)[:, None]
        rows, errors, asked = (X - mean) * roots, (targets - self._mean) * roots, others - mean
        # The smaller of the two matrices of products: of rows with rows, or of features with features.
        if len(rows) <= rows.shape[1]:
            self._values, vectors = np.linalg.eigh(rows @ rows.T)
            self._left, self._right = asked @ rows.T @ vectors, vectors.T @ errors
        else:
            self._values, vectors = np.linalg.eigh(rows.T @ rows)
            self._left, self._right = asked @ vectors, vectors.T @ (rows.T @ errors)

    def predict(self, alpha: float) -> Floats:
        """(other rows, classes)."""
        shrunk = self._right / (np.maximum(self._values, 0) + alpha)[:, None]
        predicted: Floats = self._left @ shrunk + self._mean
        return predicted
