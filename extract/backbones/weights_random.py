"""Random weights: drawn with numpy from a seed, the same on every backend and every machine."""

import math

import keras
import numpy as np
import numpy.typing as npt

from extract.backbones.build import leaf_layers

_ZERO = ("beta", "bias", "mean", "moving_mean", "count")


def fill_random(network: keras.Model, gains: tuple[float, float], seed: int) -> None:
    """He-normal kernels (He et al. 2015, arXiv:1502.01852), normalization at identity, biases zero.

    Args:
        network: whose weights to draw.
        gains: see `Backbone.random_gains`.
        seed: of the generator.
    """
    rng = np.random.default_rng(seed)
    all_kernels, last_kernel = gains
    last: keras.Layer | None = None
    for layer in leaf_layers(network):
        layer.set_weights([_draw(rng, layer, variable, all_kernels) for variable in layer.weights])
        if any(_is_kernel(variable) for variable in layer.weights):
            last = layer
    if last is not None and last_kernel != 1.0:
        kernel, *others = last.get_weights()
        last.set_weights([(kernel * np.float32(last_kernel)).astype(np.float32), *others])


def _draw(
    rng: np.random.Generator, layer: keras.Layer, variable: keras.Variable, gain: float
) -> npt.NDArray[np.generic]:
    name, shape = _name(variable), tuple(variable.shape)
    if _is_kernel(variable):
        scale = gain * math.sqrt(2 / _fan_in(layer, name, shape))
        return (rng.standard_normal(shape, np.float32) * np.float32(scale)).astype(np.float32)
    return np.zeros(shape, variable.dtype) if name in _ZERO else np.ones(shape, variable.dtype)


def _name(variable: keras.Variable) -> str:
    return str(variable.path).rpartition("/")[2]


def _is_kernel(variable: keras.Variable) -> bool:
    return _name(variable).endswith("kernel")


def _fan_in(layer: keras.Layer, name: str, shape: tuple[int, ...]) -> int:
    """How many inputs each output of a kernel has."""
    depthwise = name == "depthwise_kernel" or isinstance(layer, keras.layers.DepthwiseConv2D)
    return math.prod(shape[:2]) if depthwise else math.prod(shape[:-1])
