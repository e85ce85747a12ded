"""Heads that Keras fits: a functional model from a feature tensor to probabilities, in scikit-learn's manners.

A head is rebuilt from its own parameters and given its weights: no serialised code is ever loaded.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt
from keras import layers
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fit.data import InMemory, Source
from fit.heads.sklearn import Linear
from store.errors import UsageError

Matrix = npt.NDArray[Any]

_PREDICTED_ROWS = 256


class Network(ClassifierMixin, BaseEstimator):
    """A small network on features; a subclass says which layers. `fit` takes arrays, `fit_batches` a source.

    Attributes:
        model_: the Keras model, (rows, *shape) -> (rows, outputs): softmax over the classes; one sigmoid, that of the
            second of two classes; or a sigmoid a label where rows have several.
        history_: for each epoch, loss and accuracy, of validation too, and the learning rate.
    """

    is_network = True

    def __init__(
        self,
        units: int = 256,
        dropout: float = 0.5,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 0.001,
        optimizer: str = "adam",
        patience: int = 10,
        class_weight: Any = None,
        random_state: int = 0,
        tensorboard: str | None = None,
    ) -> None:
        self.units = units
        self.dropout = dropout
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.optimizer = optimizer
        self.patience = patience
        self.class_weight = class_weight
        self.random_state = random_state
        self.tensorboard = tensorboard

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
        exclusive = self.model_.output_shape[-1] > 1 and not several
        loss = "sparse_categorical_crossentropy" if exclusive else "binary_crossentropy"
        self.model_.compile(optimizer=self._optimizer(), loss=loss, weighted_metrics=["accuracy"])
        self._train(source, validation)
        return self

    def start(self, shape: Sequence[int], count: int, several: bool) -> None:
        """Build the model for that many classes, with its first weights; a single sigmoid tells two classes apart."""
        self.classes_ = np.arange(count)
        self.several_ = several
        outputs = 1 if count == 2 and not several else count
        self.model_ = self.build(shape, outputs, "softmax" if outputs > 1 and not several else "sigmoid")

    def _optimizer(self) -> keras.optimizers.Optimizer:
        try:
            return keras.optimizers.get({"class_name": self.optimizer, "config": {"learning_rate": self.learning_rate}})
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"unknown optimizer {self.optimizer!r}: expected one of Keras', such as adam, sgd, rmsprop, adamw"
            ) from error

    def _callbacks(self, validated: bool) -> list[keras.callbacks.Callback]:
        callbacks: list[keras.callbacks.Callback] = []
        if validated:
            callbacks = [
                keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=max(1, self.patience // 2)),
                keras.callbacks.EarlyStopping("val_loss", patience=self.patience, restore_best_weights=True),
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
        self.model_.stop_training = False
        callbacks.on_train_begin()
        for epoch in range(self.epochs):
            callbacks.on_epoch_begin(epoch)
            self.model_.reset_metrics()
            logs: dict[str, float] = {}
            for batch in self._batches(source, weights, self.random_state + epoch):
                logs = self.model_.train_on_batch(*batch, return_dict=True)
            if validation is not None:
                self.model_.reset_metrics()
                checked: dict[str, float] = {}
                for batch in self._batches(validation, None, None):
                    checked = self.model_.test_on_batch(*batch, return_dict=True)
                logs |= {f"val_{name}": value for name, value in checked.items()}
            callbacks.on_epoch_end(epoch, {name: float(value) for name, value in logs.items()})
            if self.model_.stop_training:
                break
        callbacks.on_train_end()
        self.history_ = {name: [float(value) for value in values] for name, values in history.history.items()}

    def _batches(
        self, source: Source, weights: npt.NDArray[np.float32] | None, seed: int | None
    ) -> Iterator[tuple[Matrix, Matrix, Matrix]]:
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
        parts = [self._predict(X[start : start + _PREDICTED_ROWS]) for start in range(0, len(X), _PREDICTED_ROWS)]
        values = np.concatenate(parts).astype(np.float64)
        if values.shape[1] == 1:
            return np.concatenate([1 - values, values], axis=1)
        return values

    def _predict(self, X: Matrix) -> Matrix:
        """Every call has the same shape, so that a row's value does not depend on how many come with it."""
        padded = np.zeros((_PREDICTED_ROWS, *X.shape[1:]), np.float32)
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


class Dense(Network):
    """Dense, Dropout, and the last layer, on vectors. `units` 0 leaves only the last layer."""

    def hidden(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """See `Network`."""
        x = inputs
        if self.units:
            x = layers.Dense(self.units, "relu", kernel_initializer=self._initializer(1))(x)
        return layers.Dropout(self.dropout, seed=self.random_state)(x)


class Conv(Network):
    """Conv2D, MaxPool, Flatten, Dense, Dropout, and the last layer, on (height, width, channels)."""

    def __init__(
        self,
        filters: int = 128,
        kernel: int = 3,
        units: int = 256,
        dropout: float = 0.5,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 0.001,
        optimizer: str = "adam",
        patience: int = 10,
        class_weight: Any = None,
        random_state: int = 0,
        tensorboard: str | None = None,
    ) -> None:
        super().__init__(
            units,
            dropout,
            epochs,
            batch_size,
            learning_rate,
            optimizer,
            patience,
            class_weight,
            random_state,
            tensorboard,
        )
        self.filters = filters
        self.kernel = kernel

    def hidden(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """See `Network`."""
        height, width = inputs.shape[1:3]
        if min(height, width) < self.kernel + 1:
            raise UsageError(
                f"the head conv needs tensors of {self.kernel + 1} x {self.kernel + 1} or more for --set "
                f"kernel={self.kernel}, these are {height} x {width}: set a smaller kernel, or use --head dense"
            )
        x = layers.Conv2D(self.filters, self.kernel, activation="relu", kernel_initializer=self._initializer(1))(inputs)
        x = layers.MaxPooling2D()(x)
        x = layers.Flatten()(x)
        x = layers.Dense(self.units, "relu", kernel_initializer=self._initializer(2))(x)
        return layers.Dropout(self.dropout, seed=self.random_state)(x)


class Own(Network):
    """A network that a user's function made, from features to probabilities; trained as the others are."""

    def __init__(
        self,
        made: keras.Model,
        epochs: int = 100,
        batch_size: int = 32,
        learning_rate: float = 0.001,
        optimizer: str = "adam",
        patience: int = 10,
        class_weight: Any = None,
        random_state: int = 0,
        tensorboard: str | None = None,
    ) -> None:
        super().__init__(
            0, 0.0, epochs, batch_size, learning_rate, optimizer, patience, class_weight, random_state, tensorboard
        )
        self.made = made

    def start(self, shape: Sequence[int], count: int, several: bool) -> None:
        """See `Network`; a last layer of one unit for two classes, or one unit a class."""
        if tuple(self.made.input_shape[1:]) != tuple(shape) or self.made.output_shape[-1] not in (
            {count, 1} if count == 2 else {count}
        ):
            raise UsageError(
                f"your head takes {self.made.input_shape[1:]} and gives {self.made.output_shape[-1]} values: "
                f"expected {tuple(shape)} and {count} probabilities"
            )
        self.classes_ = np.arange(count)
        self.several_ = several
        self.model_ = self.made


def linear_model(form: Linear) -> keras.Model:
    """A linear head as a Keras model from vectors to probabilities."""
    inputs = keras.Input((form.kernel.shape[0],), name="features")
    dense = layers.Dense(form.kernel.shape[1], "softmax" if form.link == "softmax" else "sigmoid")
    outputs = dense(inputs)
    dense.set_weights([form.kernel.astype(np.float32), form.bias.astype(np.float32)])
    if form.link == "normalized":
        outputs = outputs / keras.ops.sum(outputs, axis=-1, keepdims=True)
    return keras.Model(inputs, outputs)
