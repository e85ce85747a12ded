"""Heads that predict numbers, made of scikit-learn's parts: what the table of heads names for a regression."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from fit.arrays import Floats, Matrix
from fit.heads.estimators import boosted
from fit.heads.inner import inner_splits
from fit.heads.neighbors import SimilarNumbers
from fit.heads.ridge import RidgePath
from fit.heads.sklearn import Scaling, floored
from fit.heads.strength import choose_strength, describe_choice, unchosen
from fit.numeric_labels import quantile_strata


class RidgeRegression(RegressorMixin, Scaling):
    """Ridge regression on scaled features; alpha is that of the smallest squared error in inner folds.

    Attributes:
        scaler_, model_: the fitted StandardScaler and Ridge.
        chosen_: alpha and how it was chosen, as plain values.
    """

    def __init__(
        self,
        smallest: float = 1.0,
        largest: float = 100000.0,
        steps: int = 11,
        inner_folds: int = 5,
        random_state: int = 0,
    ) -> None:
        self.smallest = smallest
        self.largest = largest
        self.steps = steps
        self.inner_folds = inner_folds
        self.random_state = random_state

    def fit(self, X: Matrix, y: Matrix, groups: Matrix | None = None) -> Self:
        """Choose alpha, then fit on all rows. X: (rows, features); y: (rows,); groups: (rows,), whole in inner folds."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        numbers = y.astype(np.float64)
        self.scaler_ = floored(StandardScaler().fit(X), self.blocks)
        scaled = self.scaler_.transform(X)
        different = None if groups is None else len(np.unique(groups))
        splits = inner_splits(quantile_strata(numbers, different), groups, self.inner_folds, self.random_state)
        alpha, self.chosen_ = self._choose(scaled, numbers, splits)
        self.model_ = Ridge(alpha).fit(scaled, numbers)
        return self

    def _choose(
        self, scaled: Floats, y: Floats, splits: Sequence[tuple[Matrix, Matrix]]
    ) -> tuple[float, dict[str, object]]:
        candidates = np.geomspace(self.smallest, self.largest, self.steps)
        if not splits or self.steps == 1:
            alpha, reason = unchosen(candidates)
            return alpha, {"alpha": alpha, "by": reason}
        paths = [RidgePath(scaled[learn], y[learn, None], np.ones(len(learn)), scaled[test]) for learn, test in splits]
        total = sum(len(test) for _, test in splits)

        def loss(alpha: float) -> float:
            pairs = zip(paths, splits, strict=True)
            return sum(float(((path.predict(alpha)[:, 0] - y[test]) ** 2).sum()) for path, (_, test) in pairs) / total

        choice = choose_strength(candidates, loss)
        return choice.value, {"alpha": choice.value, "by": "squared error", **describe_choice(choice, len(splits))}

    def predict(self, X: Matrix) -> Floats:
        """(rows,)."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        predicted: Floats = self.model_.predict(self.scaler_.transform(X))
        return predicted


def ridge(smallest: float, largest: float, steps: int, random_state: int) -> RidgeRegression:
    """See the table."""
    return RidgeRegression(smallest, largest, steps, random_state=random_state)


def nearest_neighbors(neighbors: int, temperature: float, random_state: int) -> SimilarNumbers:  # noqa: ARG001
    """See the table; nothing is drawn."""
    return SimilarNumbers(neighbors, temperature)


def boosting(rounds: int, learning_rate: float, leaves: int, features: float, random_state: int) -> Pipeline:
    """See the table."""
    return boosted(HistGradientBoostingRegressor(random_state=random_state), rounds, learning_rate, leaves, features)
