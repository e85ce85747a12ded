"""Layers of Caffe's networks that Keras lacks: pooling that rounds up, and local response normalization."""

import keras
from keras import layers, ops

_NEIGHBORS = 5
_ALPHA = 1e-4
_BETA = 0.75


def max_pool(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Overlapping pooling, 3 x 3 at stride 2, that keeps the last rows and columns, which stride 2 alone might drop.

    The edge is padded with zeros, so `x` must not be negative: pool after ReLU.
    """
    missing = tuple((0, (size - 3) % 2) for size in x.shape[1:3])
    if any(after for _, after in missing):
        x = layers.ZeroPadding2D(missing, name=f"{name}_pad")(x)
    return layers.MaxPooling2D(3, 2, name=name)(x)


def local_response_normalization(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Divide by (1 + alpha / n * sum of squares over n neighboring channels) ** beta.

    Source: Krizhevsky et al. 2012, section 3.3, with the constants of Caffe's LRN layer, which the published weights
    were trained with. Squares need float32's range, whatever the network computes in.
    """
    values = ops.cast(x, "float32")
    beside = _NEIGHBORS // 2
    squares = ops.pad(ops.square(values), [(0, 0), (0, 0), (0, 0), (beside, beside)])
    channels = x.shape[-1]
    total = squares[..., :channels]
    for shift in range(1, _NEIGHBORS):
        total = total + squares[..., shift : shift + channels]
    normalized = values * ops.power(1.0 + _ALPHA / _NEIGHBORS * total, -_BETA)
    return layers.Identity(name=name)(ops.cast(normalized, x.dtype))
