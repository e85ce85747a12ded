"""Heads that Keras fits: which layers each has between a store's features and its last layer.

See `fit.heads.network` for all that they share.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
from keras import layers

from fit.arrays import Floats32
from fit.heads.linear import Linear
from fit.heads.network import Network
from store.errors import UsageError

_WITH_MOMENTUM = ("sgd", "rmsprop")
_LEAK = 0.3  # that of Keras' own LeakyReLU


@dataclass(eq=False, repr=False, kw_only=True)
class Dense(Network):
    """Dense, Dropout, and the last layer, on vectors. `units` 0 leaves only the last layer."""

    units: int = 256
    dropout: float = 0.5

    def hidden(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """See `Network`."""
        x = inputs
        if self.units:
            x = layers.Dense(self.units, "relu", kernel_initializer=self._initializer(1))(x)
        return layers.Dropout(self.dropout, seed=self.random_state)(x)


@dataclass(eq=False, repr=False, kw_only=True)
class Conv(Network):
    """Conv2D, MaxPool, Flatten, Dense, Dropout, and the last layer, on (height, width, channels)."""

    filters: int = 128
    kernel: int = 3
    units: int = 256
    dropout: float = 0.5

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


@dataclass(eq=False, repr=False, kw_only=True)
class Cnn(Network):
    """A small convolutional network from scratch, for the backbone `pixels`: blocks of Conv2D and MaxPool, then Dense.

    Training alone sees images sheared, zoomed and flipped at random. The epoch of the best validation accuracy is kept.
    `activation` prelu has one slope per channel, shared over height and width (He et al. 2015, arXiv:1502.01852);
    leaky_relu has a slope of 0.3.
    """

    filters: str = "32,32,64"
    kernel: int = 3
    padding: str = "same"
    activation: str = "relu"
    units: int = 64
    dropout: float = 0.5
    shear: float = 0.2
    zoom: float = 0.2
    flip: str = "horizontal"

    predicted_rows: ClassVar[int] = 32

    def hidden(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """See `Network`."""
        x = inputs
        for number, filters in enumerate(whole_numbers("filters", self.filters)):
            self._require_room(x)
            x = layers.Conv2D(
                filters, self.kernel, padding=self.padding, kernel_initializer=self._initializer(10 + number)
            )(x)
            x = layers.MaxPooling2D()(self._activated(x))
        x = layers.Flatten()(x)
        x = layers.Dense(self.units, kernel_initializer=self._initializer(1))(x)
        return layers.Dropout(self.dropout, seed=self.random_state)(self._activated(x))

    def _require_room(self, x: keras.KerasTensor) -> None:
        side = min(x.shape[1:3])
        if side < (self.kernel + 1 if self.padding == "valid" else 2):
            raise UsageError(
                f"the head cnn halves images at each block, and filters={self.filters} are more blocks than these "
                "allow: set fewer, as in --set filters=32,64, or extract larger images with --image-size"
            )

    def _activated(self, x: keras.KerasTensor) -> keras.KerasTensor:
        if self.activation == "prelu":
            return layers.PReLU(shared_axes=(1, 2) if x.ndim == 4 else None)(x)
        if self.activation == "leaky_relu":
            # Not as LeakyReLU: TensorFlow's graph optimizer fails to fuse that with a convolution, and prints so (2.20).
            return layers.Maximum()([x, layers.Rescaling(_LEAK)(x)])
        return layers.ReLU()(x)

    def augmentation(self) -> Callable[[Floats32], Floats32]:
        """See `Network`: Keras' random layers, each with its own stream of numbers."""
        seed = self.random_state * 100
        steps = [
            layers.RandomShear(self.shear, fill_mode="nearest", seed=seed + 1),
            layers.RandomZoom(self.zoom, fill_mode="nearest", seed=seed + 2),
        ]
        if self.flip == "horizontal":
            steps.append(layers.RandomFlip("horizontal", seed=seed + 3))
        changed = keras.Sequential(steps)
        return lambda images: keras.ops.convert_to_numpy(changed(images, training=True))


@dataclass(eq=False, repr=False, kw_only=True)
class DropoutDense(Network):
    """Flatten, three Dense layers with Dropout between them, and softmax, on (height, width, channels).

    `momentum` is that of sgd and rmsprop; other optimizers have none and are not given it.
    """

    epochs: int = 10
    learning_rate: float = 0.0001
    optimizer: str = "sgd"
    units: int = 1024
    dropout: float = 0.5
    momentum: float = 0.9

    always_softmax: ClassVar[bool] = True

    def hidden(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """See `Network`."""
        x = layers.Flatten()(inputs)
        for number in (1, 2):
            x = layers.Dense(self.units, "relu", kernel_initializer=self._initializer(number))(x)
            x = layers.Dropout(self.dropout, seed=self.random_state * 100 + number)(x)
        return layers.Dense(self.units, "relu", kernel_initializer=self._initializer(3))(x)

    def optimizer_settings(self) -> dict[str, float]:
        """See `Network`."""
        settings = super().optimizer_settings()
        return {**settings, "momentum": self.momentum} if self.optimizer.lower() in _WITH_MOMENTUM else settings


@dataclass(eq=False, repr=False, kw_only=True)
class SqueezeExcite(DropoutDense):
    """`DropoutDense` on channels that a squeeze-and-excitation block has scaled (Hu et al. 2018, arXiv:1709.01507)."""

    ratio: int = 4

    def hidden(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """See `Network`."""
        channels = inputs.shape[-1]
        x = layers.GlobalAveragePooling2D()(inputs)
        x = layers.Dense(max(1, channels // self.ratio), "relu", kernel_initializer=self._initializer(4))(x)
        x = layers.Dense(channels, "sigmoid", kernel_initializer=self._initializer(5))(x)
        return super().hidden(layers.Multiply()([inputs, layers.Reshape((1, 1, channels))(x)]))


@dataclass(eq=False, repr=False, kw_only=True)
class MobilenetDense(Network):
    """Dense layers, one after another, and softmax, on vectors."""

    epochs: int = 10
    units: str = "1024,1024,512"

    always_softmax: ClassVar[bool] = True

    def hidden(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """See `Network`."""
        x = inputs
        for number, units in enumerate(whole_numbers("units", self.units), start=1):
            x = layers.Dense(units, "relu", kernel_initializer=self._initializer(10 + number))(x)
        return x


def whole_numbers(name: str, text: str) -> list[int]:
    """The numbers of a parameter such as filters=32,32,64.

    Raises:
        UsageError: it is not such a list, or a number is below 1.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"{name} is {text!r}: expected whole numbers above 0 with commas between, as in {name}=32,64")
    return [int(part) for part in parts]


@dataclass(eq=False, repr=False, kw_only=True)
class CustomNetwork(Network):
    """A network that a user's function made, from features to probabilities; trained as the others are."""

    made: keras.Model

    def start(self, shape: Sequence[int], count: int, multi_label: bool) -> None:
        """See `Network`; a last layer of one unit for two classes, or one unit a class."""
        if tuple(self.made.input_shape[1:]) != tuple(shape) or self.made.output_shape[-1] not in (
            {count, 1} if count == 2 else {count}
        ):
            raise UsageError(
                f"your head takes {self.made.input_shape[1:]} and gives {self.made.output_shape[-1]} values: "
                f"expected {tuple(shape)} and {count} probabilities"
            )
        self.classes_ = np.arange(count)
        self.multi_label_ = multi_label
        self.model_ = self.made


def linear_model(linear: Linear) -> keras.Model:
    """A linear head as a Keras model from vectors to probabilities, or to a number."""
    inputs = keras.Input((linear.kernel.shape[0],), name="features")
    activations = {"softmax": "softmax", "identity": "linear"}
    dense = layers.Dense(linear.kernel.shape[1], activations.get(linear.link, "sigmoid"))
    outputs = dense(inputs)
    dense.set_weights([linear.kernel.astype(np.float32), linear.bias.astype(np.float32)])
    if linear.link == "normalized":
        outputs = outputs / keras.ops.sum(outputs, axis=-1, keepdims=True)
    return keras.Model(inputs, outputs)
