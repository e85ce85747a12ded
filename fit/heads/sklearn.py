"""Our own estimators, in the manner of scikit-learn: `fit` validates, attributes that are learnt end in an underscore.

Targets are whole numbers from 0. Estimators that choose something by inner folds take, beside X and y, `groups`: rows
of one group are never on both sides. Heads that are saved name these four classes by this module, so they stay here.
"""

from collections.abc import Mapping
from typing import Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, SGDClassifier
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fit.data import InMemory, Source

Matrix = npt.NDArray[np.generic]
ClassWeight = str | Mapping[int, float] | None
"""balanced, a weight for each class, or none."""

MAX_ITERATIONS = 2000
_COARSE = 1e-2  # tolerance while choosing, a hundred times the solver's own: much quicker, and as good a choice


class _ScaledClassifier(ClassifierMixin, BaseEstimator):
    """A linear model on scaled features: `fit` sets `scaler_` and `model_`, which predict."""

    def decision_function(self, X: Matrix) -> Matrix:
        """Scores: (rows, classes), or (rows,) of the second of two classes."""
        scaled = self._scaled(X)
        return self.model_.decision_function(scaled)

    def predict_proba(self, X: Matrix) -> Matrix:
        """(rows, classes)."""
        scaled = self._scaled(X)
        return self.model_.predict_proba(scaled)

    def predict(self, X: Matrix) -> Matrix:
        """(rows,): the class of the highest score."""
        scaled = self._scaled(X)
        return self.model_.predict(scaled)

    def _scaled(self, X: Matrix) -> Matrix:
        check_is_fitted(self)
        return self.scaler_.transform(_validated(self, X))


class Logistic(_ScaledClassifier):
    """Multinomial logistic regression on scaled features; C is that of the best accuracy in inner folds.

    Attributes:
        C_: the inverse strength of the regularization that was chosen.
        scaler_, model_: the fitted StandardScaler and LogisticRegression.
    """

    def __init__(
        self,
        smallest: float = 0.001,
        largest: float = 10.0,
        steps: int = 5,
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

    def fit(self, X: Matrix, y: Matrix, groups: Matrix | None = None) -> Self:
        """Choose C, then fit on all rows. X: (rows, features); y: (rows,)."""
        X, y = _checked(self, X, y)
        self.classes_ = np.unique(y)
        self.scaler_ = StandardScaler().fit(X)
        scaled = self.scaler_.transform(X)
        self.C_ = self._choose(scaled, y, inner_splits(y, groups, self.inner_folds, self.random_state))
        self.model_ = LogisticRegression(C=self.C_, class_weight=self.class_weight, max_iter=MAX_ITERATIONS)
        self.model_.fit(scaled, y)
        return self

    def _choose(self, scaled: Matrix, y: Matrix, splits: list[tuple[Matrix, Matrix]]) -> float:
        candidates = np.geomspace(self.smallest, self.largest, self.steps)
        if not splits:
            return float(candidates[len(candidates) // 2])
        search = LogisticRegressionCV(
            Cs=candidates,
            cv=splits,
            scoring="accuracy",
            tol=_COARSE,
            class_weight=self.class_weight,
            max_iter=MAX_ITERATIONS,
            l1_ratios=(0.0,),
            use_legacy_attributes=False,
        )
        return float(search.fit(scaled, y).C_)


class Calibrated(ClassifierMixin, BaseEstimator):
    """A classifier on scaled features whose scores become probabilities, calibrated on out-of-fold scores.

    Args:
        estimator: a classifier with a decision_function.
        method: sigmoid (Platt 1999), or temperature (Guo et al. 2017, arXiv:1706.04599).
    """

    def __init__(
        self, estimator: ClassifierMixin, method: str = "sigmoid", inner_folds: int = 5, random_state: int = 0
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.inner_folds = inner_folds
        self.random_state = random_state

    def fit(self, X: Matrix, y: Matrix, groups: Matrix | None = None) -> Self:
        """Fit on all rows, calibrate on inner folds. X: (rows, features); y: (rows,)."""
        X, y = _checked(self, X, y)
        self.classes_ = np.unique(y)
        splits = inner_splits(y, groups, self.inner_folds, self.random_state)
        if not splits:
            raise ValueError("calibration needs two rows of each class, in different groups")
        self.scaler_ = StandardScaler().fit(X)
        self.model_ = CalibratedClassifierCV(clone(self.estimator), method=self.method, cv=splits, ensemble=False)
        self.model_.fit(self.scaler_.transform(X), y)
        return self

    def predict_proba(self, X: Matrix) -> Matrix:
        """(rows, classes)."""
        check_is_fitted(self)
        return self.model_.predict_proba(self.scaler_.transform(_validated(self, X)))

    def predict(self, X: Matrix) -> Matrix:
        """(rows,): the most probable class."""
        positions = self.predict_proba(X).argmax(axis=1)
        return self.classes_[positions]


class StochasticGradient(_ScaledClassifier):
    """Logistic regression, one class against the rest, by stochastic gradient descent over batches.

    Attributes:
        scaler_, model_: the fitted StandardScaler and SGDClassifier.
    """

    def __init__(
        self,
        epochs: int = 20,
        batch_size: int = 256,
        learning_rate: float = 0.01,
        alpha: float = 0.03,
        class_weight: ClassWeight = None,
        random_state: int = 0,
    ) -> None:
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.alpha = alpha
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Matrix, y: Matrix) -> Self:
        """X: (rows, features); y: (rows,)."""
        X, y = _checked(self, X, y)
        return self.fit_batches(Source(InMemory(X), np.arange(len(X)), y))

    def fit_batches(self, source: Source) -> Self:
        """One pass for the features' scale, then `epochs` passes of descent."""
        self.scaler_ = StandardScaler()
        seen: dict[int, int] = {}
        for features, targets in source.batches(self.batch_size, None):
            self.scaler_.partial_fit(features)
            for target, count in zip(*np.unique(targets, return_counts=True), strict=True):
                seen[target] = seen.get(target, 0) + int(count)
        self.classes_ = np.array(sorted(seen))
        self.n_features_in_ = self.scaler_.n_features_in_
        self.model_ = SGDClassifier(
            loss="log_loss",
            alpha=self.alpha,
            learning_rate="constant",
            eta0=self.learning_rate,
            class_weight=self._weights(seen),
            random_state=self.random_state,
        )
        for epoch in range(self.epochs):
            for features, targets in source.batches(self.batch_size, self.random_state + epoch):
                self.model_.partial_fit(self.scaler_.transform(features), targets, self.classes_)
        return self

    def _weights(self, seen: Mapping[int, int]) -> ClassWeight:
        if self.class_weight != "balanced":
            return self.class_weight
        total = sum(seen.values())
        return {target: total / (len(seen) * count) for target, count in seen.items()}


class Rounded(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Features as whole multiples of a power of two near `fraction` of their deviation.

    Trees cut between neighboring values of the training images. Without rounding two images may lie closer to each
    other than a feature's own floating-point noise, and the same image falls on either side of the cut.
    """

    def __init__(self, fraction: float = 1 / 64) -> None:
        self.fraction = fraction

    def fit(self, X: Matrix, y: Matrix | None = None) -> Self:  # noqa: ARG002
        """X: (rows, features)."""
        X = validate_data(self, X, dtype=[np.float64, np.float32])
        deviation = X.std(axis=0, dtype=np.float64)
        deviation[deviation == 0] = 1.0
        self.step_ = np.exp2(np.round(np.log2(deviation * self.fraction))).astype(X.dtype)
        return self

    def transform(self, X: Matrix) -> Matrix:
        """Whole numbers, as floats, of the same shape."""
        check_is_fitted(self)
        return np.round(_validated(self, X) / self.step_)


def _validated(estimator: BaseEstimator, X: Matrix) -> Matrix:
    """Features that a fitted estimator is given, checked."""
    return validate_data(estimator, X, reset=False, dtype=[np.float64, np.float32])


def _checked(estimator: BaseEstimator, X: Matrix, y: Matrix) -> tuple[Matrix, Matrix]:
    """Features and targets that an estimator is fitted on, checked."""
    X, y = validate_data(estimator, X, y, dtype=[np.float64, np.float32])
    check_classification_targets(y)
    if len(np.unique(y)) < 2:
        raise ValueError("expected two classes or more, found one class")
    return X, y


def inner_splits(y: Matrix, groups: Matrix | None, count: int, seed: int) -> list[tuple[Matrix, Matrix]]:
    """(train, test) positions of at most `count` folds, groups whole, every class in each training side; perhaps none."""
    groups = np.arange(len(y)) if groups is None else groups
    smallest = min(len(np.unique(groups[y == target])) for target in np.unique(y))
    count = min(count, smallest)
    if count < 2:
        return []
    splits = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(np.zeros(len(y)), y, groups)
    classes = len(np.unique(y))
    return [(train, test) for train, test in splits if len(test) and len(np.unique(y[train])) == classes]
