"""The kinds of heads behind `fit.heads.base.Classifier`: Keras networks, and estimators that learn from batches or arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

import numpy as np

from fit.arrays import AnyFloats, Floats32, Ints, Matrix
from fit.data import Source
from fit.heads.base import Classifier, Predictor
from fit.task import Probabilities, is_multi_label

if TYPE_CHECKING:
    import keras
    from sklearn.base import ClassifierMixin, RegressorMixin

    from fit.heads.network import Network


@dataclass(frozen=True)
class NetworkClassifier(Classifier):
    """A head that Keras fits."""

    network: "Network"

    is_network: ClassVar[bool] = True
    stops_early: ClassVar[bool] = True
    streams: ClassVar[bool] = True

    @property
    def model(self) -> "keras.Model":
        """The Keras model; it is there once the head is fitted or rebuilt."""
        return self.network.model_

    @property
    def history(self) -> Mapping[str, Sequence[float]]:
        """See `Classifier`."""
        return self.network.history_

    def fit(self, source: Source, validation: Source | None, split_groups: Ints) -> None:  # noqa: ARG002
        """See `Classifier`."""
        self.network.fit_batches(source, validation)

    def predict_proba(self, features: Floats32) -> Probabilities:
        """See `Classifier`."""
        return self.network.predict_proba(features)


class Estimator(Protocol):
    """What predicts in the manner of scikit-learn."""

    def predict_proba(self, X: Floats32, /) -> Probabilities:
        """(rows, classes)."""
        ...


class BatchEstimator(Estimator, Protocol):
    """An estimator that learns batch by batch."""

    def fit_batches(self, source: Source, /) -> object:
        """Fit on the source's rows."""
        ...


class GroupedBatchEstimator(Estimator, Protocol):
    """An estimator that learns batch by batch and chooses something, with groups of rows kept together."""

    chosen_: Mapping[str, object]
    """The settings that were chosen, as in `GroupedEstimator`."""

    def fit_batches(self, source: Source, groups: Ints, /) -> object:
        """Fit on the source's rows; rows with the same group stay on one side of the inner folds."""
        ...


@runtime_checkable
class ArrayEstimator(Estimator, Protocol):
    """An estimator that learns from arrays."""

    def fit(self, X: Floats32, y: Matrix, /) -> object:
        """Fit on all rows."""
        ...

    def predict(self, X: Floats32, /) -> Matrix:
        """The class of each row."""
        ...


class GroupedEstimator(Estimator, Protocol):
    """An estimator that chooses something by inner folds, which keep groups of rows together."""

    chosen_: Mapping[str, object]
    """What it chose, and by what; empty if nothing. It is there once the estimator is fitted."""

    def fit(self, X: Floats32, y: Matrix, groups: Ints, /) -> object:
        """Fit on all rows; rows with the same group stay on one side of the inner folds."""
        ...


@dataclass(frozen=True)
class LoadedEstimator(Predictor):
    """A scikit-learn estimator that is fitted already."""

    estimator: Estimator

    @property
    def model(self) -> "ClassifierMixin":
        """See `Predictor`."""
        return self.estimator

    def predict_proba(self, features: Floats32) -> Probabilities:
        """See `Predictor`."""
        return self.estimator.predict_proba(features)


@dataclass(frozen=True)
class BatchClassifier(LoadedEstimator, Classifier):
    """A scikit-learn estimator that learns batch by batch."""

    estimator: BatchEstimator

    streams: ClassVar[bool] = True

    def fit(self, source: Source, validation: Source | None, split_groups: Ints) -> None:  # noqa: ARG002
        """See `Classifier`."""
        self.estimator.fit_batches(source)


@dataclass(frozen=True)
class GroupedBatchClassifier(LoadedEstimator, Classifier):
    """A scikit-learn estimator that learns batch by batch and keeps split groups together in its inner folds."""

    estimator: GroupedBatchEstimator

    streams: ClassVar[bool] = True

    def fit(self, source: Source, validation: Source | None, split_groups: Ints) -> None:  # noqa: ARG002
        """See `Classifier`."""
        self.estimator.fit_batches(source, split_groups)

    @property
    def chosen(self) -> Mapping[str, object]:
        """See `Classifier`."""
        return self.estimator.chosen_


@dataclass(frozen=True)
class ArrayClassifier(LoadedEstimator, Classifier):
    """A scikit-learn estimator that learns from arrays."""

    estimator: ArrayEstimator

    def fit(self, source: Source, validation: Source | None, split_groups: Ints) -> None:  # noqa: ARG002
        """See `Classifier`."""
        self.estimator.fit(*_arrays(source))


@dataclass(frozen=True)
class GroupedClassifier(LoadedEstimator, Classifier):
    """A scikit-learn estimator that learns from arrays and keeps split groups together in its inner folds."""

    estimator: GroupedEstimator

    def fit(self, source: Source, validation: Source | None, split_groups: Ints) -> None:  # noqa: ARG002
        """See `Classifier`."""
        self.estimator.fit(*_arrays(source), split_groups)

    @property
    def chosen(self) -> Mapping[str, object]:
        """See `Classifier`."""
        return self.estimator.chosen_


class Regressor(Protocol):
    """What predicts numbers in the manner of scikit-learn."""

    def predict(self, X: Floats32, /) -> AnyFloats:
        """(rows,)."""
        ...


class ArrayRegressorEstimator(Regressor, Protocol):
    """A regressor that learns from arrays."""

    def fit(self, X: Floats32, y: Matrix, /) -> object:
        """Fit on all rows."""
        ...


class GroupedRegressorEstimator(Regressor, Protocol):
    """A regressor that chooses something by inner folds, which keep groups of rows together; see `GroupedEstimator`."""

    chosen_: Mapping[str, object]

    def fit(self, X: Floats32, y: Matrix, groups: Ints, /) -> object:
        """Fit on all rows."""
        ...


@dataclass(frozen=True)
class LoadedRegressor(Predictor):
    """A scikit-learn regressor that is fitted already."""

    estimator: Regressor

    @property
    def model(self) -> "RegressorMixin":
        """See `Predictor`."""
        return self.estimator

    def predict_proba(self, features: Floats32) -> Probabilities:
        """See `Predictor`."""
        return self.estimator.predict(features)[:, None]


@dataclass(frozen=True)
class ArrayRegressor(LoadedRegressor, Classifier):
    """A scikit-learn regressor that learns from arrays."""

    estimator: ArrayRegressorEstimator

    def fit(self, source: Source, validation: Source | None, split_groups: Ints) -> None:  # noqa: ARG002
        """See `Classifier`."""
        self.estimator.fit(*_arrays(source))


@dataclass(frozen=True)
class GroupedRegressor(LoadedRegressor, Classifier):
    """A scikit-learn regressor that learns from arrays and keeps split groups together in its inner folds."""

    estimator: GroupedRegressorEstimator

    def fit(self, source: Source, validation: Source | None, split_groups: Ints) -> None:  # noqa: ARG002
        """See `Classifier`."""
        self.estimator.fit(*_arrays(source), split_groups)

    @property
    def chosen(self) -> Mapping[str, object]:
        """See `Classifier`."""
        return self.estimator.chosen_


def _arrays(source: Source) -> tuple[Floats32, Matrix]:
    """Features and targets; whether a row has a label as 0 and 1, as scikit-learn takes them."""
    targets = source.targets[source.rows]
    return source.features.take(source.rows), targets.astype(np.int64) if is_multi_label(targets) else targets
