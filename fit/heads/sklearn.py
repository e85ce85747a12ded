"""Our own estimators, in the manner of scikit-learn: `fit` validates, attributes that are learnt end in an underscore.

Targets are whole numbers from 0. Estimators that choose something by inner folds take, beside X and y, `groups`: rows
of one group are never on both sides. Heads that are saved name these classes by this module, so they stay here.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fit.arrays import Floats, Matrix
from fit.data import InMemory, Source
from fit.heads.calibration import apply_sigmoids, apply_temperature, fit_sigmoids, fit_temperature
from fit.heads.inner import ClassWeight, inner_splits, row_weights
from fit.heads.softmax import FoldLosses, Softmax, fit_softmax, penalty_share, rotate, unrotate
from fit.heads.strength import choose_strength, describe_choice, unchosen
from fit.heads.threads import few_threads

MAX_ITERATIONS = 2000
_LEAST_DEVIATION = 0.5


class Scaling(BaseEstimator):
    """An estimator that scales features.

    Attributes:
        blocks: how many columns each block of features has; empty for one block. It is a property of the data and no
            parameter, and is set before `fit`.
    """

    blocks: Sequence[int] = ()

    def __sklearn_clone__(self) -> Self:
        clone = super().__sklearn_clone__()
        if self.blocks:
            clone.blocks = self.blocks
        return clone


class ScaledClassifier(ClassifierMixin, Scaling):
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


class Logistic(ScaledClassifier):
    """Multinomial logistic regression on scaled features; C is that of the smallest log loss in inner folds.

    Attributes:
        C_: the inverse strength of the regularization that was chosen.
        chosen_: how, as plain values: C, by, folds, tried (the log loss of each C), at_edge.
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
        X, y = checked(self, X, y)
        self.classes_, targets = np.unique(y, return_inverse=True)
        self.scaler_ = floored(StandardScaler().fit(X), self.blocks)
        weights = row_weights(y, self.class_weight)
        share = penalty_share(len(self.classes_))
        with few_threads(X.size):
            rows = rotate(self.scaler_.transform(X))
            splits = inner_splits(y, groups, self.inner_folds, self.random_state)
            losses = FoldLosses(rows, targets, weights, splits)
            self.C_, self.chosen_ = self._choose(lambda c: losses(c * share), len(splits))
            found = unrotate(rows, fit_softmax(rows, targets, weights, self.C_ * share))
        self.model_ = logistic_regression(found, self.classes_, self.C_, self.class_weight)
        return self

    def _choose(self, loss: Callable[[float], float], folds: int) -> tuple[float, dict[str, object]]:
        candidates = np.geomspace(self.smallest, self.largest, self.steps)
        if not folds or self.steps == 1:
            value, reason = unchosen(candidates)
            return value, {"C": value, "by": reason}
        choice = choose_strength(candidates, loss)
        return choice.value, {"C": choice.value, "by": "log loss", **describe_choice(choice, folds)}


def logistic_regression(found: Softmax, classes: Matrix, c: float, class_weight: ClassWeight) -> LogisticRegression:
    """A LogisticRegression with these weights."""
    model = LogisticRegression(C=c, class_weight=class_weight)
    coefficients, intercepts = found.weights.T, found.bias
    if len(classes) == 2:
        coefficients, intercepts = coefficients[1:] - coefficients[:1], intercepts[1:] - intercepts[:1]
    model.classes_, model.coef_, model.intercept_ = classes, coefficients, intercepts
    model.n_features_in_ = coefficients.shape[1]
    return model


class Calibrated(ClassifierMixin, Scaling):
    """A classifier on scaled features whose scores become probabilities, calibrated on out-of-fold scores.

    Args:
        estimator: a classifier with a decision_function.
        method: sigmoid (Platt 1999), or temperature (Guo et al. 2017, arXiv:1706.04599).
        inner_folds: how many.
        random_state: of the folds.
        calibration_weight: class weight of the rows in a calibration by sigmoid; the estimator has one of its own.

    Attributes:
        scaler_, estimator_: the fitted StandardScaler and classifier.
        slopes_, offsets_: of the sigmoids, one per column of scores; of a temperature, the slope alone.
        chosen_: what the estimator's setting was chosen by, as plain values; empty if there is nothing to choose.
    """

    def __init__(
        self,
        estimator: ClassifierMixin,
        method: str = "sigmoid",
        inner_folds: int = 5,
        random_state: int = 0,
        calibration_weight: ClassWeight = None,
    ) -> None:
        self.estimator = estimator
        self.method = method
        self.inner_folds = inner_folds
        self.random_state = random_state
        self.calibration_weight = calibration_weight

    def fit(self, X: Matrix, y: Matrix, groups: Matrix | None = None) -> Self:
        """Fit on all rows, calibrate on inner folds. X: (rows, features); y: (rows,)."""
        X, y = checked(self, X, y)
        self.classes_ = np.unique(y)
        splits = inner_splits(y, groups, self.inner_folds, self.random_state)
        if not splits:
            raise ValueError("calibration needs two rows of a class, in different groups")
        self.scaler_ = floored(StandardScaler().fit(X), self.blocks)
        scaled = self.scaler_.transform(X)
        estimator, self.chosen_ = self._chosen(scaled, y, splits)
        folds = [_scores(clone(estimator).fit(scaled[train], y[train]), scaled[test]) for train, test in splits]
        self._calibrate(np.concatenate(folds), y, np.concatenate([test for _, test in splits]))
        self.estimator_ = clone(estimator).fit(scaled, y)
        return self

    def _chosen(
        self,
        scaled: Matrix,  # noqa: ARG002
        y: Matrix,  # noqa: ARG002
        splits: Sequence[tuple[Matrix, Matrix]],  # noqa: ARG002
    ) -> tuple[ClassifierMixin, dict[str, object]]:
        """The estimator to be fitted, and what its setting was chosen by."""
        return self.estimator, {}

    def _calibrate(self, scores: Floats, y: Matrix, rows: Matrix) -> None:
        """From the out-of-fold scores of those rows of y."""
        classes = np.searchsorted(self.classes_, y[rows])
        if self.method == "temperature":
            self.slopes_, self.offsets_ = np.array([fit_temperature(scores, classes)]), np.zeros(1)
        else:
            weights = row_weights(y, self.calibration_weight)[rows]
            self.slopes_, self.offsets_ = fit_sigmoids(scores, classes, weights)

    def predict_proba(self, X: Matrix) -> Matrix:
        """(rows, classes)."""
        check_is_fitted(self)
        scores = _scores(self.estimator_, self.scaler_.transform(_validated(self, X)))
        if self.method == "temperature":
            return apply_temperature(scores, float(self.slopes_[0]))
        return apply_sigmoids(scores, self.slopes_, self.offsets_)

    def predict(self, X: Matrix) -> Matrix:
        """(rows,): the most probable class."""
        positions = self.predict_proba(X).argmax(axis=1)
        return self.classes_[positions]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """0.5.0 kept a fitted CalibratedClassifierCV as `model_`, with one calibrator per column of scores."""
        if "model_" in state:
            inner = state.pop("model_").calibrated_classifiers_[0]
            state["estimator_"] = inner.estimator
            if state["method"] == "temperature":
                state["slopes_"], state["offsets_"] = np.array([float(inner.calibrators[0].beta_)]), np.zeros(1)
            else:  # Platt's sigmoid is 1 / (1 + exp(a * score + b))
                state["slopes_"] = np.array([-calibrator.a_ for calibrator in inner.calibrators])
                state["offsets_"] = np.array([-calibrator.b_ for calibrator in inner.calibrators])
            state.setdefault("calibration_weight", None)
            state.setdefault("chosen_", {})
        super().__setstate__(state)


class StochasticGradient(ScaledClassifier):
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
        X, y = checked(self, X, y)
        return self.fit_batches(Source(InMemory(X), np.arange(len(X)), y))

    def fit_batches(self, source: Source) -> Self:
        """One pass for the features' scale, then `epochs` passes of descent."""
        self.scaler_ = StandardScaler()
        seen: dict[int, int] = {}
        for features, targets in source.batches(self.batch_size, None):
            self.scaler_.partial_fit(features)
            for target, count in zip(*np.unique(targets, return_counts=True), strict=True):
                seen[target] = seen.get(target, 0) + int(count)
        floored(self.scaler_, self.blocks)
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


def checked(estimator: BaseEstimator, X: Matrix, y: Matrix) -> tuple[Matrix, Matrix]:
    """Features and targets that an estimator is fitted on, checked."""
    X, y = validate_data(estimator, X, y, dtype=[np.float64, np.float32])
    check_classification_targets(y)
    if len(np.unique(y)) < 2:
        raise ValueError("expected two classes or more, found one class")
    return X, y


def floored(scaler: StandardScaler, blocks: Sequence[int] = ()) -> StandardScaler:
    """Let a fitted scaler divide no feature by less than half the features' median deviation; returns it.

    Some channels of a network answer to nearly no image. Divided by their own deviation, one faint answer becomes a
    value in the hundreds that no other image had, and decides alone.

    Of several blocks of features, each has its own median and is divided by the square root of its width too, relative to
    the mean width: all blocks have about the same total variance, however wide they are.
    """
    deviation = np.sqrt(scaler.var_)
    ends = np.cumsum(blocks or [len(deviation)])
    for end, width in zip(ends, blocks or ends, strict=True):
        block = slice(end - width, end)
        alive = deviation[block][deviation[block] > 0]
        if len(alive):
            scaler.scale_[block] = np.maximum(scaler.scale_[block], _LEAST_DEVIATION * np.median(alive))
        if len(ends) > 1:
            scaler.scale_[block] *= np.sqrt(width / (ends[-1] / len(ends)))
    return scaler


def _scores(estimator: ClassifierMixin, scaled: Matrix) -> Floats:
    """A classifier's scores as `fit.heads.calibration` takes them."""
    scores: Floats = np.asarray(estimator.decision_function(scaled), np.float64)
    return scores.reshape(len(scaled), -1)
