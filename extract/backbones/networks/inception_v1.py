"""Inception v1 (GoogLeNet), which Keras lacks.

Source: Szegedy et al. 2014 (arXiv:1409.4842), table 1 and figure 3. Poolings round up, as in Caffe's model. The two
auxiliary classifiers and dropout are for training only and left out. 6,998,552 parameters with top: the weights and
biases of Caffe's `bvlc_googlenet` without its auxiliary classifiers.
"""

import keras
from keras import layers

from extract.backbones.networks.caffe import local_response_normalization, max_pool

# filters of 1x1, 3x3's reduction, 3x3, 5x5's reduction, 5x5, pooling's projection: table 1 of the paper
_MODULES = {
    "inception_3a": (64, 96, 128, 16, 32, 32),
    "inception_3b": (128, 128, 192, 32, 96, 64),
    "inception_4a": (192, 96, 208, 16, 48, 64),
    "inception_4b": (160, 112, 224, 24, 64, 64),
    "inception_4c": (128, 128, 256, 24, 64, 64),
    "inception_4d": (112, 144, 288, 32, 64, 64),
    "inception_4e": (256, 160, 320, 32, 128, 128),
    "inception_5a": (256, 160, 320, 32, 128, 128),
    "inception_5b": (384, 192, 384, 48, 128, 128),
}
_POOLED = {"inception_3b": "pool3", "inception_4e": "pool4"}


def inception_v1(include_top: bool, input_shape: tuple[int, int, int]) -> keras.Model:
    """The network with BGR pixels less their mean in, and class probabilities or inception_5b's output out."""
    inputs = keras.Input(input_shape)
    x = layers.ZeroPadding2D(3, name="conv1_pad")(inputs)
    x = layers.Conv2D(64, 7, 2, activation="relu", name="conv1")(x)
    x = max_pool(x, "pool1")
    x = local_response_normalization(x, "norm1")
    x = _convolution(x, 64, 1, "conv2_reduce")
    x = _convolution(x, 192, 3, "conv2")
    x = local_response_normalization(x, "norm2")
    x = max_pool(x, "pool2")
    for name, filters in _MODULES.items():
        x = _module(x, filters, name)
        if name in _POOLED:
            x = max_pool(x, _POOLED[name])
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(1000, activation="softmax", name="predictions")(x)
    return keras.Model(inputs, x, name="inception_v1")


def _convolution(x: keras.KerasTensor, filters: int, kernel: int, name: str) -> keras.KerasTensor:
    return layers.Conv2D(filters, kernel, padding="same", activation="relu", name=name)(x)


def _module(x: keras.KerasTensor, filters: tuple[int, ...], name: str) -> keras.KerasTensor:
    """Figure 2(b) of the paper: three sizes of convolution and a pooling side by side."""
    single, reduction3, triple, reduction5, quintuple, projection = filters
    pooled = layers.MaxPooling2D(3, 1, "same", name=f"{name}_pool")(x)
    branches = [
        _convolution(x, single, 1, f"{name}_1x1"),
        _convolution(_convolution(x, reduction3, 1, f"{name}_3x3_reduce"), triple, 3, f"{name}_3x3"),
        _convolution(_convolution(x, reduction5, 1, f"{name}_5x5_reduce"), quintuple, 5, f"{name}_5x5"),
        _convolution(pooled, projection, 1, f"{name}_pool_proj"),
    ]
    return layers.Concatenate(name=name)(branches)
