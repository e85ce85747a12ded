"""What all heads that Keras fits have in common: how they are built, trained and asked, in the manner of scikit-learn.

A head is rebuilt from its own parameters and given its weights: no serialised code is ever loaded.
"""

import gc
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import keras
import numpy as np
import numpy.typing as npt
from keras import layers
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from extract.api import logger_levels
from fit.arrays import Floats32, Matrix
from fit.data import InMemory, Source
from fit.heads.inner import ClassWeight
from fit.heads.training import TrainingLoop
from fit.task import decide, is_multi_label
from store.errors import UsageError

_LARGE = 10**6  # weights


def _without_advice() -> AbstractContextManager[None]:
    """TensorFlow advises against compiling again, which several heads in one process must: one for each fit."""
    return logger_levels(logging.ERROR, "tensorflow")


@dataclass(frozen=True)
class Training:
    """What a model is trained for.

    Attributes:
        loss: as Keras names it.
        target_type: the dtype that the loss takes.
        metrics: measured beside the loss, as Keras names them.
    """

    loss: str
    target_type: type[np.generic]
    metrics: tuple[str, ...]


# A dataclass writes the __init__ that scikit-learn wants: it stores its arguments and does nothing else.
@dataclass(eq=False, repr=False, kw_only=True)
class Network(ClassifierMixin, BaseEstimator):
    """A small network on features; a subclass says which layers. `fit` takes arrays, `fit_batches` a source.

    Attributes:
        model_: the Keras model, (rows, *shape) -> (rows, outputs): softmax over the classes; one sigmoid, that of the
            second of two classes; or one sigmoid per label where rows have several.
        history_: for each epoch, loss and accuracy, of validation too, and the learning rate.
    """

    epochs: int = 100
    batch_size: int = 32
    learning_rate: float = 0.001
    optimizer: str = "adam"
    patience: int = 10
    class_weight: ClassWeight = None
    random_state: int = 0
    tensorboard: str | None = None

    monitor: ClassVar[str] = "val_loss"
    """What decides which epoch is the best, val_loss or val_accuracy."""

    always_softmax: ClassVar[bool] = False
    """Whether two classes have one unit each, too, instead of one unit for both."""

    predicted_rows: ClassVar[int] = 256
    """Rows per call when predicting: fewer for heads whose layers take much memory."""

    def hidden(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """All layers before the last."""
        raise NotImplementedError

    def build(self, shape: Sequence[int], outputs: int, activation: str) -> keras.Model:
        """The model, freshly initialized from `random_state`."""
        inputs = keras.Input(tuple(shape), name="features")
        last = layers.Dense(outputs, activation, kernel_initializer=self._initializer(9), name="probabilities")
        return keras.Model(inputs, last(self.hidden(inputs)), name=type(self).__name__.lower())

    def _initializer(self, number: int) -> keras.initializers.Initializer:
        """Each layer's own stream of numbers: nothing global is seeded."""
        return keras.initializers.GlorotUniform(seed=self.random_state * 100 + number)

    def fit(self, X: Matrix, y: Matrix) -> Self:
        """Fit without validation, for all epochs. X: (rows, *shape); y: (rows,), or bool (rows, labels)."""
        multi_label = is_multi_label(np.asarray(y)) and np.asarray(y).shape[1] > 1
        X, y = validate_data(self, X, y, dtype=np.float32, allow_nd=True, multi_output=multi_label)
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
        multi_label = is_multi_label(source.targets)
        # Of all rows, not only of those that are learned from: a class that is missing among these has an output too.
        count = source.targets.shape[1] if multi_label else int(source.targets.max()) + 1
        if multi_label and self.class_weight is not None:
            raise UsageError("--class-weight balanced is not for images with several labels: leave it out")
        self.start(source.features.shape, count, multi_label)
        self.begin()
        self._train(source, validation)
        return self

    def start(self, shape: Sequence[int], count: int, multi_label: bool) -> None:
        """Build the model for a number of classes, with its first weights; two classes share a single sigmoid."""
        self.classes_ = np.arange(count)
        self.multi_label_ = multi_label
        outputs = 1 if count == 2 and not multi_label and not self.always_softmax else count
        self.model_ = self.build(shape, outputs, "softmax" if outputs > 1 and not multi_label else "sigmoid")

    def begin(self) -> None:
        """Replace the weights that the model was built with before it is trained; most heads do not."""

    def augmentation(self) -> Callable[[Floats32], Floats32]:
        """What becomes of the features of each training batch; most heads change nothing.

        It is not a part of the model, so that saved and exported heads hold nothing random.
        """
        return lambda features: features

    def optimizer_settings(self) -> dict[str, float]:
        """The optimizer's parameters."""
        return {"learning_rate": self.learning_rate}

    def _optimizer(self) -> keras.optimizers.Optimizer:
        try:
            optimizer = keras.optimizers.get({"class_name": self.optimizer, "config": self.optimizer_settings()})
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"unknown optimizer {self.optimizer!r}: expected one of Keras', such as adam, sgd, rmsprop, adamw"
            ) from error
        if keras.backend.backend() == "tensorflow":
            # Keras sums the gradients of all replicas, here of one. TensorFlow registers that sum for the life of the
            # process, and with it the graph, the weights and the optimizer's state of every model that was trained.
            optimizer._all_reduce_sum_gradients = lambda gradients: gradients
        return optimizer

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

    def _class_weights(self, source: Source) -> npt.NDArray[np.float32] | None:
        """(classes,), or None: balanced is rows / (classes * rows of the class), as scikit-learn has it."""
        if self.class_weight is None:
            return None
        if isinstance(self.class_weight, Mapping):
            return np.array([self.class_weight.get(int(target), 1.0) for target in self.classes_], np.float32)
        counts = np.bincount(source.targets[source.rows], minlength=len(self.classes_))
        return (len(source) / (len(counts) * np.maximum(counts, 1))).astype(np.float32)

    def training(self) -> Training:
        """The loss, the type of the targets and the metrics of the training."""
        exclusive = self.model_.output_shape[-1] > 1 and not self.multi_label_
        if exclusive:
            return Training("sparse_categorical_crossentropy", np.int32, ("accuracy",))
        return Training("binary_crossentropy", np.float32, ("accuracy",))

    def _train(self, source: Source, validation: Source | None) -> None:
        if self.model_.count_params() > _LARGE:
            gc.collect()  # a network that was dropped refers to itself, so it stays until Python looks for such objects
        training = self.training()
        self.model_.compile(optimizer=self._optimizer(), loss=training.loss, weighted_metrics=list(training.metrics))
        loop = TrainingLoop(
            model=self.model_,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.random_state,
            target_type=training.target_type,
            class_weights=self._class_weights(source),
            augment=self.augmentation(),
            callbacks=self._callbacks(validation is not None),
        )
        with _without_advice():
            self.history_ = loop.run(source, validation)
        self.model_.optimizer = None  # its state would be saved too, up to twice the weights

    def predict_proba(self, X: Matrix) -> npt.NDArray[np.float64]:
        """(rows, classes), or (rows, labels), float64."""
        values = self.outputs(X)
        if values.shape[1] == 1:
            return np.concatenate([1 - values, values], axis=1)
        return values

    def outputs(self, X: Matrix) -> npt.NDArray[np.float64]:
        """The outputs of the model: (rows, outputs), float64."""
        check_is_fitted(self)
        if "n_features_in_" in vars(self):  # it was fitted on arrays, by `fit`
            X = validate_data(self, X, reset=False, dtype=np.float32, allow_nd=True)
        size = self.predicted_rows
        parts = [self._predict(X[start : start + size]) for start in range(0, len(X), size)]
        return np.concatenate(parts).astype(np.float64)

    def _predict(self, X: Matrix) -> Matrix:
        """Every call has the same shape, so that a row's value does not depend on the other rows of its batch."""
        padded = np.zeros((self.predicted_rows, *X.shape[1:]), np.float32)
        padded[: len(X)] = X
        with _without_advice():
            return np.asarray(self.model_.predict_on_batch(padded))[: len(X)]

    def predict(self, X: Matrix) -> Matrix:
        """(rows,): the most probable class; or bool (rows, labels)."""
        values = self.predict_proba(X)
        decided = decide(values, self.multi_label_)
        return decided if self.multi_label_ else self.classes_[decided]

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
