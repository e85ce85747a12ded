"""What all heads share that Keras fits: training epoch by epoch, early stopping, prediction, in scikit-learn's manners.

A head is rebuilt from its own parameters and given its weights: no serialised code is ever loaded.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import keras
import numpy as np
import numpy.typing as npt
from keras import layers
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fit.data import InMemory, Source
from store.errors import UsageError

Matrix = npt.NDArray[Any]
_Batch = tuple[Matrix, Matrix, Matrix]


# A dataclass writes the __init__ that scikit-learn wants: it stores its arguments and does nothing else.
@dataclass(eq=False, repr=False, kw_only=True)
class Network(ClassifierMixin, BaseEstimator):
    """A small network on features; a subclass says which layers. `fit` takes arrays, `fit_batches` a source.

    Attributes:
        model_: the Keras model, (rows, *shape) -> (rows, outputs): softmax over the classes; one sigmoid, that of the
            second of two classes; or a sigmoid a label where rows have several.
        history_: for each epoch, loss and accuracy, of validation too, and the learning rate.
    """

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 0.001
    optimizer: str = "adam"
    patience: int = 10
    class_weight: Any = None
    random_state: int = 0
    tensorboard: str | None = None

    is_network: ClassVar[bool] = True

    monitor: ClassVar[str] = "val_loss"
    """What says which epoch is the best, val_loss or val_accuracy."""

    always_softmax: ClassVar[bool] = False
    """Whether two classes, too, have a unit each."""

    predicted_rows: ClassVar[int] = 256
    """Rows of a call when predicting: fewer for heads whose layers take much memory a row."""

    def hidden(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """All layers before the last."""
        raise NotImplementedError

    def build(self, shape: Sequence[int], outputs: int, activation: str) -> keras.Model:
        """The model, freshly initialised from `random_state`."""
        inputs = keras.Input(tuple(shape), name="features")
        last = layers.Dense(outputs, activation, kernel_initializer=self._initializer(9), name="probabilities")
        return keras.Model(inputs, last(self.hidden(inputs)), name=type(self).__name__.lower())

    def _initializer(self, number: int) -> keras.initializers.Initializer:
        """Each layer's own stream of numbers: nothing global is seeded."""
        return keras.initializers.GlorotUniform(seed=self.random_state * 100 + number)

    def fit(self, X: Matrix, y: Matrix) -> Self:
        """Fit without validation, for all epochs. X: (rows, *shape); y: (rows,), or bool (rows, labels)."""
        several = np.asarray(y).ndim == 2 and np.asarray(y).shape[1] > 1
        X, y = validate_data(self, X, y, dtype=np.float32, allow_nd=True, multi_output=several)
        check_classification_targets(y)
        classes = np.arange(y.shape[1]) if y.ndim == 2 else np.unique(y)
        if len(classes) < 2:
            raise ValueError("expected two classes or more, found one class")
        targets = y.astype(bool) if y.ndim == 2 else np.searchsorted(classes, y)
        self.fit_batches(Source(InMemory(X), np.arange(len(X)), targets))
        self.classes_ = classes
        return self

    def fit_batches(self, source: Source, validation: Source | None = None) -> Self:
        """Fit on batches; with a validation the best epoch's weights are kept and training ends early.

        Targets are whole numbers from 0, or bool (rows, labels).
        """
        several = source.targets.ndim == 2
        count = source.targets.shape[1] if several else int(source.targets[source.rows].max()) + 1
        if several and self.class_weight is not None:
            raise UsageError("--class-weight balanced is not for images with several labels: leave it out")
        self.start(source.features.shape, count, several)
        self.begin()
        exclusive = self.model_.output_shape[-1] > 1 and not several
        loss = "sparse_categorical_crossentropy" if exclusive else "binary_crossentropy"
        self.model_.compile(optimizer=self._optimizer(), loss=loss, weighted_metrics=["accuracy"])
        self._train(source, validation)
        return self

    def start(self, shape: Sequence[int], count: int, several: bool) -> None:
        """Build the model for that many classes, with its first weights; a single sigmoid tells two classes apart."""
        self.classes_ = np.arange(count)
        self.several_ = several
        outputs = 1 if count == 2 and not several and not self.always_softmax else count
        self.model_ = self.build(shape, outputs, "softmax" if outputs > 1 and not several else "sigmoid")

    def begin(self) -> None:
        """Give the model, before it is trained, other first weights than those it was built with; most heads do not."""

    def augmentation(self) -> Callable[[Matrix], Matrix]:
        """What becomes of each batch's features before training sees them; most heads change nothing.

        It is no part of the model, so that saved and exported heads hold nothing random.
        """
        return lambda features: features

    def optimizer_settings(self) -> dict[str, float]:
        """What the optimizer is given."""
        return {"learning_rate": self.learning_rate}

    def _optimizer(self) -> keras.optimizers.Optimizer:
        try:
            return keras.optimizers.get({"class_name": self.optimizer, "config": self.optimizer_settings()})
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"unknown optimizer {self.optimizer!r}: expected one of Keras', such as adam, sgd, rmsprop, adamw"
            ) from error

    def _callbacks(self, validated: bool) -> list[keras.callbacks.Callback]:
        callbacks: list[keras.callbacks.Callback] = []
        if validated:
            mode = "min" if self.monitor.endswith("loss") else "max"
            callbacks = [
                keras.callbacks.ReduceLROnPlateau(self.monitor, 0.5, max(1, self.patience // 2), mode=mode),
                keras.callbacks.EarlyStopping(
                    self.monitor, patience=self.patience, mode=mode, restore_best_weights=True
                ),
            ]
        if self.tensorboard is not None:
            callbacks.append(keras.callbacks.TensorBoard(self.tensorboard))
        return callbacks

    def _weights(self, source: Source) -> npt.NDArray[np.float32] | None:
        """The weight of each class, or None: balanced is rows / (classes * rows of the class), as scikit-learn's."""
        if self.class_weight is None:
            return None
        if isinstance(self.class_weight, dict):
            return np.array([self.class_weight.get(target, 1.0) for target in self.classes_], np.float32)
        counts = np.bincount(source.targets[source.rows], minlength=len(self.classes_))
        return (len(source) / (len(counts) * counts)).astype(np.float32)

    def _train(self, source: Source, validation: Source | None) -> None:
        """Epoch after epoch, as Keras' own fit; that one reads ahead as far as the machine's memory goes."""
        history = keras.callbacks.History()
        callbacks = keras.callbacks.CallbackList([*self._callbacks(validation is not None), history], model=self.model_)
        weights = self._weights(source)
        augmented = self.augmentation()
        self.model_.stop_training = False
        callbacks.on_train_begin()
        for epoch in range(self.epochs):
            callbacks.on_epoch_begin(epoch)
            batches = (
                (augmented(features), targets, drawn)
                for features, targets, drawn in self._batches(source, weights, self.random_state + epoch)
            )
            logs = self._mean(self.model_.train_on_batch, batches)
            if validation is not None:
                checked = self._mean(self.model_.test_on_batch, self._batches(validation, None, None))
                logs |= {f"val_{name}": value for name, value in checked.items()}
            callbacks.on_epoch_end(epoch, logs)
            if self.model_.stop_training:
                break
        callbacks.on_train_end()
        self.model_.optimizer = None  # its state would be saved too, up to twice the weights
        self.history_ = {name: [float(value) for value in values] for name, values in history.history.items()}

    def _mean(self, step: Callable[..., dict[str, float]], batches: Iterator[_Batch]) -> dict[str, float]:
        """Loss and metrics over all batches, each counting by its rows; Keras' own steps tell each batch's alone."""
        totals: dict[str, float] = {}
        rows = 0
        for batch in batches:
            self.model_.reset_metrics()
            for name, value in step(*batch, return_dict=True).items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(batch[0])
            rows += len(batch[0])
        return {name: total / rows for name, total in totals.items()}

    def _batches(self, source: Source, weights: npt.NDArray[np.float32] | None, seed: int | None) -> Iterator[_Batch]:
        """Features, targets as the loss wants them, and each row's weight."""
        kind = np.int32 if self.model_.output_shape[-1] > 1 and not self.several_ else np.float32
        for features, targets in source.batches(self.batch_size, seed):
            drawn = np.ones(len(targets), np.float32) if weights is None else weights[targets]
            yield features, targets.astype(kind).reshape(len(targets), -1), drawn

    def predict_proba(self, X: Matrix) -> Matrix:
        """(rows, classes), or (rows, labels), float64."""
        check_is_fitted(self)
        if hasattr(self, "n_features_in_"):
            X = validate_data(self, X, reset=False, dtype=np.float32, allow_nd=True)
        size = self.predicted_rows
        parts = [self._predict(X[start : start + size]) for start in range(0, len(X), size)]
        values = np.concatenate(parts).astype(np.float64)
        if values.shape[1] == 1:
            return np.concatenate([1 - values, values], axis=1)
        return values

    def _predict(self, X: Matrix) -> Matrix:
        """Every call has the same shape, so that a row's value does not depend on how many come with it."""
        padded = np.zeros((self.predicted_rows, *X.shape[1:]), np.float32)
        padded[: len(X)] = X
        return np.asarray(self.model_.predict_on_batch(padded))[: len(X)]

    def predict(self, X: Matrix) -> Matrix:
        """(rows,): the most probable class; or bool (rows, labels)."""
        values = self.predict_proba(X)
        return values >= 0.5 if self.several_ else self.classes_[values.argmax(axis=1)]

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "model_" in state:
            model = state.pop("model_")
            state["_built"] = (model.input_shape[1:], model.output_shape[-1], model.layers[-1].activation.__name__)
            state["_values"] = model.get_weights()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        built, values = state.pop("_built", None), state.pop("_values", None)
        super().__setstate__(state)
        if built is not None:
            self.model_ = self.build(*built)
            self.model_.set_weights(values)
