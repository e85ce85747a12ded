"""SqueezeNet 1.0, which Keras lacks.

Source: Iandola et al. 2016 (arXiv:1602.07360), table 1. Poolings round up and conv10 is padded, as in the authors'
Caffe model. Dropout is for training only and left out. 1,248,424 parameters with top.
"""

import keras
from keras import layers

from extract.backbones.networks.caffe import max_pool

# squeeze filters, filters of each expansion: table 1 of the paper
_FIRES = {
    "fire2": (16, 64),
    "fire3": (16, 64),
    "fire4": (32, 128),
    "fire5": (32, 128),
    "fire6": (48, 192),
    "fire7": (48, 192),
    "fire8": (64, 256),
    "fire9": (64, 256),
}
_POOLED = {"fire4": "pool4", "fire8": "pool8"}


def squeezenet(include_top: bool, input_shape: tuple[int, int, int]) -> keras.Model:
    """The network with BGR pixels less their mean in, and class probabilities or fire9's output out."""
    inputs = keras.Input(input_shape)
    x = layers.Conv2D(96, 7, 2, activation="relu", name="conv1")(inputs)
    x = max_pool(x, "pool1")
    for name, (squeezed, expanded) in _FIRES.items():
        x = layers.Conv2D(squeezed, 1, activation="relu", name=f"{name}_squeeze1x1")(x)
        narrow = layers.Conv2D(expanded, 1, activation="relu", name=f"{name}_expand1x1")(x)
        wide = layers.Conv2D(expanded, 3, padding="same", activation="relu", name=f"{name}_expand3x3")(x)
        x = layers.Concatenate(name=f"{name}_concat")([narrow, wide])
        if name in _POOLED:
            x = max_pool(x, _POOLED[name])
    if include_top:
        x = layers.ZeroPadding2D(1, name="conv10_pad")(x)
        x = layers.Conv2D(1000, 1, activation="relu", name="conv10")(x)
        x = layers.GlobalAveragePooling2D(name="pool10")(x)
        x = layers.Softmax(name="predictions")(x)
    return keras.Model(inputs, x, name="squeezenet")
