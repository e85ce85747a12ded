"""Heads that scikit-learn fits: a function for each makes the estimator from the head's parameters.

Estimators see targets as whole numbers from 0. Those that choose something by inner folds take, beside X and y,
`groups`: rows of one group never stand on both sides.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeClassifierCV, SGDClassifier
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fit.data import InMemory, Source

Matrix = npt.NDArray[Any]

_MAX_ITERATIONS = 2000
_COARSE = 1e-2  # tolerance while choosing, a hundred times the solver's own: much quicker, and as good a choice


class Logistic(ClassifierMixin, BaseEstimator):
    """Multinomial logistic regression on scaled features; C is that of the best accuracy in inner folds.

    Attributes:
        C_: the inverse strength of the regularisation that was chosen.
        scaler_, model_: the fitted StandardScaler and LogisticRegression.
    """

    def __init__(
        self,
        smallest: float = 0.001,
        largest: float = 10.0,
        steps: int = 5,
        inner_folds: int = 5,
        class_weight: Any = None,
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
        self.model_ = LogisticRegression(C=self.C_, class_weight=self.class_weight, max_iter=_MAX_ITERATIONS)
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
            max_iter=_MAX_ITERATIONS,
            l1_ratios=(0.0,),
            use_legacy_attributes=False,
        )
        return float(search.fit(scaled, y).C_)

    def decision_function(self, X: Matrix) -> Matrix:
        """Logits: (rows, classes), or (rows,) of the second of two classes."""
        scaled = self._scaled(X)
        return self.model_.decision_function(scaled)

    def predict_proba(self, X: Matrix) -> Matrix:
        """(rows, classes)."""
        scaled = self._scaled(X)
        return self.model_.predict_proba(scaled)

    def predict(self, X: Matrix) -> Matrix:
        """(rows,): the most probable class."""
        scaled = self._scaled(X)
        return self.model_.predict(scaled)

    def _scaled(self, X: Matrix) -> Matrix:
        check_is_fitted(self)
        return self.scaler_.transform(validate_data(self, X, reset=False, dtype=[np.float64, np.float32]))


class Calibrated(ClassifierMixin, BaseEstimator):
    """A classifier on scaled features whose scores become probabilities, calibrated on out-of-fold scores.

    Args:
        estimator: a classifier with a decision_function.
        method: sigmoid (Platt 1999), or temperature (Guo et al. 2017, arXiv:1706.04599).
    """

    def __init__(self, estimator: Any, method: str = "sigmoid", inner_folds: int = 5, random_state: int = 0) -> None:
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
        X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        return self.model_.predict_proba(self.scaler_.transform(X))

    def predict(self, X: Matrix) -> Matrix:
        """(rows,): the most probable class."""
        positions = self.predict_proba(X).argmax(axis=1)
        return self.classes_[positions]


class StochasticGradient(ClassifierMixin, BaseEstimator):
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
        class_weight: Any = None,
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
        seen: dict[Any, int] = {}
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

    def _weights(self, seen: dict[Any, int]) -> Any:
        if self.class_weight != "balanced":
            return self.class_weight
        total = sum(seen.values())
        return {target: total / (len(seen) * count) for target, count in seen.items()}

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
        return self.scaler_.transform(validate_data(self, X, reset=False, dtype=[np.float64, np.float32]))


class Rounded(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Features as whole multiples of a power of two near `fraction` of their deviation.

    Trees cut between neighbouring values of the training images. Without rounding two images may lie closer to each
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
        return np.round(validate_data(self, X, reset=False, dtype=[np.float64, np.float32]) / self.step_)


def _checked(estimator: Any, X: Matrix, y: Matrix) -> tuple[Matrix, Matrix]:
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


def fit_arrays(estimator: Any, features: Matrix, targets: Matrix, groups: Matrix) -> None:
    """Fit any estimator of these: those that choose by inner folds keep the groups whole.

    Raises:
        ValueError: scikit-learn refuses the parameters or the data.
    """
    if isinstance(estimator, Logistic | Calibrated):
        estimator.fit(features, targets, groups)
    else:
        estimator.fit(features, targets.astype(np.int64) if targets.ndim == 2 else targets)
    estimator.predict(features[:1])  # scikit-learn refuses more neighbours than rows only here


# Builders


def ridge(smallest: float, largest: float, steps: int, class_weight: str | None, random_state: int) -> Calibrated:
    """See the table."""
    alphas = np.geomspace(smallest, largest, steps)
    return Calibrated(RidgeClassifierCV(alphas, class_weight=class_weight), random_state=random_state)


def linear_svm(c: float, class_weight: str | None, random_state: int) -> Calibrated:
    """See the table."""
    machine = LinearSVC(C=c, class_weight=class_weight, random_state=random_state, max_iter=_MAX_ITERATIONS)
    return Calibrated(machine, random_state=random_state)


def nearest_centroid(random_state: int) -> Calibrated:
    """See the table."""
    centroid = make_pipeline(Normalizer(), NearestCentroid())
    return Calibrated(centroid, method="temperature", random_state=random_state)


def nearest_neighbors(neighbors: int, random_state: int) -> Pipeline:  # noqa: ARG001  nothing is drawn
    """See the table. Of vectors of length one, the Euclidean order is that of the cosine."""
    return make_pipeline(Normalizer(), KNeighborsClassifier(neighbors, algorithm="brute"))


def forest(trees: int, min_leaf: int, class_weight: str | None, random_state: int) -> Pipeline:
    """See the table. One thread: several would add the trees' votes in an order that changes their last bits."""
    trees_ = RandomForestClassifier(
        trees, min_samples_leaf=min_leaf, class_weight=class_weight, random_state=random_state, n_jobs=1
    )
    return make_pipeline(Rounded(), trees_)


def boosting(
    rounds: int, learning_rate: float, leaves: int, features: float, class_weight: str | None, random_state: int
) -> Pipeline:
    """See the table."""
    booster = HistGradientBoostingClassifier(
        max_iter=rounds,
        learning_rate=learning_rate,
        max_leaf_nodes=leaves,
        max_features=features,
        min_samples_leaf=10,
        early_stopping=False,
        class_weight=class_weight,
        random_state=random_state,
    )
    return make_pipeline(Rounded(), booster)


def perceptron(units: int, alpha: float, epochs: int, random_state: int) -> Pipeline:
    """See the table."""
    network = MLPClassifier((units,), alpha=alpha, max_iter=epochs, random_state=random_state)
    return make_pipeline(StandardScaler(), network)


def one_per_label(estimator: Any) -> OneVsRestClassifier:
    """For rows with several labels: one estimator a label, its answer independent of the others'."""
    return OneVsRestClassifier(estimator)


# Linear heads as layers


@dataclass(frozen=True)
class Linear:
    """A head as `link(X @ kernel + bias)`.

    `kernel` is (features, outputs). `link`: softmax; sigmoid, of one output, the second of two classes; normalized,
    sigmoids divided by their sum; independent, sigmoids as they are, for rows with several labels.
    """

    kernel: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]
    link: str


def linear_form(estimator: Any) -> Linear:
    """The layers that a fitted Logistic, ridge, linear SVM or StochasticGradient is, scaling folded in."""
    if isinstance(estimator, OneVsRestClassifier):
        forms = [linear_form(inner) for inner in estimator.estimators_]
        kernel = np.concatenate([form.kernel for form in forms], axis=1)
        return Linear(kernel, np.concatenate([form.bias for form in forms]), "independent")
    slopes, offsets = np.ones(1), np.zeros(1)
    model = estimator.model_
    link = "softmax" if isinstance(model, LogisticRegression) else "normalized"
    if isinstance(model, CalibratedClassifierCV):
        inner = model.calibrated_classifiers_[0]
        # Platt's sigmoid is 1 / (1 + exp(a * score + b)).
        slopes = np.array([-calibrator.a_ for calibrator in inner.calibrators])
        offsets = np.array([-calibrator.b_ for calibrator in inner.calibrators])
        model = inner.estimator
    scaler = estimator.scaler_
    coefficients = np.atleast_2d(model.coef_).astype(np.float64)  # ridge has one axis where there are two classes
    kernel = (coefficients / scaler.scale_).T * slopes
    bias = (model.intercept_ - coefficients @ (scaler.mean_ / scaler.scale_)) * slopes + offsets
    return Linear(kernel, bias, "sigmoid" if kernel.shape[1] == 1 else link)
