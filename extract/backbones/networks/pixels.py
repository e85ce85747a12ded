"""The image itself as its feature: the baseline for all other backbones. It has no weights and no classes."""

import keras
from keras import layers


def pixels(include_top: bool, input_shape: tuple[int, int, int]) -> keras.Model:  # noqa: ARG001  there is no top
    """The network with pixels 0..255 in, and the same scaled to 0..1 out."""
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, layers.Rescaling(1 / 255, name="rescaling")(inputs), name="pixels")
