"""Inception v4, which Keras lacks.

Source: Szegedy et al. 2016 (arXiv:1602.07261), figures 3 to 9. Batch normalization has a scale, as in timm: with top,
42,679,816 trainable parameters. In TF-slim it has none; weights from there fit with a scale of one. Dropout is for training
only and left out.
"""

from dataclasses import dataclass

import keras
from keras import layers

_EPSILON = 1e-3


@dataclass(frozen=True)
class _Conv:
    """A convolution, batch normalization and ReLU; `kernel` is (height, width)."""

    filters: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: str = "same"


def _one(filters: int) -> _Conv:
    return _Conv(filters, (1, 1))


def _wide(filters: int, width: int) -> _Conv:
    return _Conv(filters, (1, width))


def _tall(filters: int, height: int) -> _Conv:
    return _Conv(filters, (height, 1))


def _square(filters: int) -> _Conv:
    return _Conv(filters, (3, 3))


def _shrinking(filters: int, stride: int = 2) -> _Conv:
    """3 x 3 without padding, marked V in the paper's figures."""
    return _Conv(filters, (3, 3), stride, "valid")


_Branch = tuple[_Conv, ...]

# Each branch from its input on; pooling branches stand last and begin with their pooling.
_STEM: _Branch = (_shrinking(32), _shrinking(32, 1), _square(64))
_MIXED_4A: tuple[_Branch, ...] = (
    (_one(64), _shrinking(96, 1)),
    (_one(64), _wide(64, 7), _tall(64, 7), _shrinking(96, 1)),
)
_INCEPTION_A: tuple[_Branch, ...] = (
    (_one(96),),
    (_one(64), _square(96)),
    (_one(64), _square(96), _square(96)),
)
_REDUCTION_A: tuple[_Branch, ...] = (
    (_shrinking(384),),
    (_one(192), _square(224), _shrinking(256)),
)
_INCEPTION_B: tuple[_Branch, ...] = (
    (_one(384),),
    (_one(192), _wide(224, 7), _tall(256, 7)),
    (_one(192), _tall(192, 7), _wide(224, 7), _tall(224, 7), _wide(256, 7)),
)
_REDUCTION_B: tuple[_Branch, ...] = (
    (_one(192), _shrinking(192)),
    (_one(256), _wide(256, 7), _tall(320, 7), _shrinking(320)),
)


def inception_v4(include_top: bool, input_shape: tuple[int, int, int]) -> keras.Model:
    """The network with pixels -1..1 in, and class probabilities or the last feature map out."""
    inputs = keras.Input(input_shape)
    x = _branch(inputs, _STEM, "stem")
    x = _reduction(x, ((_shrinking(96),),), "mixed_3a")
    x = _joined([_branch(x, branch, f"mixed_4a_branch{n}") for n, branch in enumerate(_MIXED_4A, 1)], "mixed_4a")
    x = _reduction(x, ((_shrinking(192),),), "mixed_5a")
    for number in range(1, 5):
        x = _inception(x, _INCEPTION_A, 96, f"inception_a{number}")
    x = _reduction(x, _REDUCTION_A, "reduction_a")
    for number in range(1, 8):
        x = _inception(x, _INCEPTION_B, 128, f"inception_b{number}")
    x = _reduction(x, _REDUCTION_B, "reduction_b")
    for number in range(1, 4):
        x = _inception_c(x, f"inception_c{number}")
    if include_top:
        x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
        x = layers.Dense(1000, activation="softmax", name="predictions")(x)
    return keras.Model(inputs, x, name="inception_v4")


def _convolution(x: keras.KerasTensor, conv: _Conv, name: str) -> keras.KerasTensor:
    x = layers.Conv2D(conv.filters, conv.kernel, conv.stride, conv.padding, use_bias=False, name=f"{name}_conv")(x)
    x = layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_bn")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


def _branch(x: keras.KerasTensor, convs: _Branch, name: str) -> keras.KerasTensor:
    for number, conv in enumerate(convs, start=1):
        x = _convolution(x, conv, f"{name}_{number}")
    return x


def _joined(branches: list[keras.KerasTensor], name: str) -> keras.KerasTensor:
    return layers.Concatenate(name=name)(branches)


def _inception(x: keras.KerasTensor, branches: tuple[_Branch, ...], pooled: int, name: str) -> keras.KerasTensor:
    """Figures 4 and 5: branches, and an average pooling with a projection to `pooled` filters."""
    outputs = [_branch(x, branch, f"{name}_branch{number}") for number, branch in enumerate(branches, start=1)]
    return _joined([*outputs, _pooled(x, pooled, name)], name)


def _pooled(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    x = layers.AveragePooling2D(3, 1, "same", name=f"{name}_pool")(x)
    return _convolution(x, _one(filters), f"{name}_projection")


def _reduction(x: keras.KerasTensor, branches: tuple[_Branch, ...], name: str) -> keras.KerasTensor:
    """Figures 7 and 8, and two steps of the stem: branches that halve the grid, and a maximum pooling."""
    outputs = [_branch(x, branch, f"{name}_branch{number}") for number, branch in enumerate(branches, start=1)]
    return _joined([*outputs, layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x)], name)


def _inception_c(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Figure 6, whose longer branches end in a wide and a tall convolution side by side."""
    middle = _branch(x, (_one(384),), f"{name}_branch2")
    long = _branch(x, (_one(384), _tall(448, 3), _wide(512, 3)), f"{name}_branch3")
    outputs = [_branch(x, (_one(256),), f"{name}_branch1")]
    for number, tensor in ((2, middle), (3, long)):
        outputs.append(_convolution(tensor, _wide(256, 3), f"{name}_branch{number}_wide"))
        outputs.append(_convolution(tensor, _tall(256, 3), f"{name}_branch{number}_tall"))
    return _joined([*outputs, _pooled(x, 256, name)], name)
