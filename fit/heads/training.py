"""The training loop of the heads that Keras fits: epoch after epoch, from batches that need not fit into memory together.

Keras' own `fit` reads ahead until the machine's memory is full, so it is not used.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt

from fit.arrays import Floats32
from fit.data import Source

_Batch = tuple[Floats32, npt.NDArray[np.generic], Floats32]


@dataclass(frozen=True)
class TrainingLoop:
    """How a compiled model is trained.

    Attributes:
        model: what is trained, in place.
        epochs: passes over the rows at most; a callback may end the training sooner.
        batch_size: rows per step.
        seed: of the order of the rows, one more in each epoch.
        target_type: the dtype that the loss takes.
        class_weights: (classes,), or None for rows that all count the same.
        augment: what becomes of each training batch's features.
        callbacks: Keras' own, that cut the learning rate, stop early or log.
    """

    model: keras.Model
    epochs: int
    batch_size: int
    seed: int
    target_type: type[np.generic]
    class_weights: Floats32 | None
    augment: Callable[[Floats32], Floats32]
    callbacks: Sequence[keras.callbacks.Callback]

    def run(self, source: Source, validation: Source | None) -> dict[str, list[float]]:
        """Train, and measure the validation after each epoch.

        Returns:
            For each epoch: loss and accuracy, those of the validation as val_loss and val_accuracy, and what callbacks
            add, such as the learning rate.
        """
        history = keras.callbacks.History()
        callbacks = keras.callbacks.CallbackList([*self.callbacks, history], model=self.model)
        self.model.stop_training = False
        callbacks.on_train_begin()
        for epoch in range(self.epochs):
            callbacks.on_epoch_begin(epoch)
            logs = self._mean(self.model.train_on_batch, self._training_batches(source, epoch))
            if validation is not None:
                checked = self._mean(self.model.test_on_batch, self._batches(validation, None, None))
                logs |= {f"val_{name}": value for name, value in checked.items()}
            callbacks.on_epoch_end(epoch, logs)
            if self.model.stop_training:
                break
        callbacks.on_train_end()
        return {name: [float(value) for value in values] for name, values in history.history.items()}

    def _training_batches(self, source: Source, epoch: int) -> Iterator[_Batch]:
        for features, targets, weights in self._batches(source, self.class_weights, self.seed + epoch):
            yield self.augment(features), targets, weights

    def _batches(self, source: Source, class_weights: Floats32 | None, seed: int | None) -> Iterator[_Batch]:
        """Features, targets as the loss takes them, and each row's weight."""
        for features, targets in source.batches(self.batch_size, seed):
            weights = np.ones(len(targets), np.float32) if class_weights is None else class_weights[targets]
            yield features, targets.astype(self.target_type).reshape(len(targets), -1), weights

    def _mean(self, step: Callable[..., dict[str, float]], batches: Iterator[_Batch]) -> dict[str, float]:
        """Loss and metrics over all batches, each counting by its rows; one of Keras' steps gives those of its batch."""
        totals: dict[str, float] = {}
        rows = 0
        for batch in batches:
            self.model.reset_metrics()
            for name, value in step(*batch, return_dict=True).items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(batch[0])
            rows += len(batch[0])
        return {name: total / rows for name, total in totals.items()}
