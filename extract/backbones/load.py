"""Loading a network: its weights, wherever they come from, and the digest that identifies them in a recipe.

Each source of weights has a module: weights_random, weights_package, weights_keras and weights_file; whole models come from
keras_file.
"""

import hashlib
from pathlib import Path

import keras
import numpy as np

from extract.backbones.build import build, keras_defaults, leaf_layers
from extract.backbones.file_backbone import KERAS_HUB, FileBackbone, model_digest
from extract.backbones.keras_file import load_keras_file
from extract.backbones.keras_hub_load import load_keras_hub
from extract.backbones.table import Backbone
from extract.backbones.weights import Weights, remember_digest, require_weights
from extract.backbones.weights_file import fill_from_file
from extract.backbones.weights_keras import imagenet_network
from extract.backbones.weights_package import fill_from_package
from extract.backbones.weights_random import fill_random
from store.errors import UsageError
from store.files.names import printable

_IMAGENET_STDDEV = (0.229, 0.224, 0.225)


def load_network(
    backbone: Backbone,
    weights: Weights,
    image_size: tuple[int, int],
    include_top: bool = False,
    precision: str = "float32",
) -> tuple[keras.Model, str]:
    """The network with these weights, computing in `precision`, and the weights' digest.

    Args:
        backbone: which network.
        weights: which weights.
        image_size: (height, width) in pixels.
        include_top: with the ImageNet classifier.
        precision: what layers compute in; the weights are float32 in any case.

    Raises:
        UsageError: there are no such weights, the file does not fit or holds NaN, or the network cannot take that size.
        EnvironmentFailure: ImageNet weights cannot be downloaded, or the file cannot be read now.
    """
    require_weights(backbone, weights)
    if weights.kind == "imagenet" and backbone.weights_from == "keras":
        network = imagenet_network(backbone, image_size, include_top, precision)
        value = digest(network)
    else:
        network = build(backbone, image_size, include_top, precision=precision)
        _fill(network, backbone, weights, include_top)
        value = digest(network)
        _undo_double_scaling(network)
    _require_finite(network, weights)
    remember_digest(backbone, weights, value, include_top)
    return network, value


def load_keras_model(
    backbone: FileBackbone, weights: Weights, image_size: tuple[int, int], precision: str = "float32"
) -> tuple[keras.Model, str]:
    """The network of a .keras file, or one that keras-hub builds, and the digest of its file or weights.

    Args:
        backbone: what it takes.
        weights: where the file is.
        image_size: (height, width) in pixels.
        precision: what it computes in; of a .keras file, what that says.

    Raises:
        UsageError: the file cannot be loaded, takes images of another size, or computes in another precision.
        UnsafeFile: it could run code.
        EnvironmentFailure: it cannot be read now.
    """
    value = model_digest(backbone, weights.path)
    if backbone.name == KERAS_HUB:
        network = load_keras_hub(Path(weights.path), image_size, precision)
        _require_finite(network, weights)
        return network, value
    with keras_defaults():
        network = load_keras_file(Path(weights.path))
    shown, axes = printable(weights.path), network.inputs[0].shape[1:3]
    if any(axis not in (None, edge) for axis, edge in zip(axes, image_size, strict=True)):
        raise UsageError(
            f"{shown} takes images of {'x'.join(map(str, axes))} pixels, and its preprocessing makes "
            f"{image_size[0]}x{image_size[1]}: correct image_size in the file that --preprocessing names"
        )
    if precision != "float32":
        raise UsageError(
            f"--precision {precision}: {shown} computes as it was saved; use --runtime openvino, or float32"
        )
    if None in axes:
        pixels = keras.Input((*image_size, 3))
        inputs = keras.tree.map_structure(lambda _: pixels, network.input)  # a tensor, or a list or dict of one
        sized = keras.models.clone_model(network, input_tensors=inputs)
        sized.set_weights(network.get_weights())
        network = sized
    _require_finite(network, weights)
    return network, value


def digest(network: keras.Model) -> str:
    """SHA-256 of the shapes and values of all weight arrays, in the network's order."""
    total = hashlib.sha256()
    for layer in leaf_layers(network):
        for array in layer.get_weights():
            total.update(f"{array.dtype.str}{list(array.shape)}".encode())
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _fill(network: keras.Model, backbone: Backbone, weights: Weights, include_top: bool) -> None:
    """Give a network its weights; one that has none is left as it is."""
    if weights.kind == "random":
        fill_random(network, backbone.random_gains, weights.seed)
    elif weights.kind == "file":
        _fill_from_users_file(network, backbone, Path(weights.path), include_top)
    elif backbone.weights_from == "package":
        fill_from_package(network, backbone)


def _fill_from_users_file(network: keras.Model, backbone: Backbone, path: Path, include_top: bool) -> None:
    try:
        fill_from_file(network, backbone.name, path)
    except UsageError as error:
        if not include_top:
            raise
        raise UsageError(
            f"{error}; to classify, the file must hold the weights with the top, the classifier"
        ) from error


def _require_finite(network: keras.Model, weights: Weights) -> None:
    """Raise UsageError if a weight is NaN or infinite, because then features are too."""
    for layer in leaf_layers(network):
        arrays = layer.get_weights()
        finite = sum(int(np.isfinite(array).sum()) for array in arrays)
        count = sum(array.size for array in arrays)
        if finite < count:
            raise UsageError(
                f"--weights {weights.spelled()}: layer {layer.name} has NaN or infinity in {count - finite:,} of its "
                f"{count:,} values, expected finite numbers: the file is damaged, or its training diverged; use another one"
            )


def _undo_double_scaling(network: keras.Model) -> None:
    """Make EfficientNet weights from a file compute what they compute in Keras.

    The published weights divide by the deviation twice: once through a Normalization layer whose variance
    *is* the deviation, so that its square root is applied, and once more in a Rescaling layer that Keras adds
    for `weights="imagenet"` alone (keras/src/applications/efficientnet.py). A network built for a file lacks
    that layer, so the variance replaces it: x / sqrt(s) / sqrt(s) = x / sqrt(s * s).
    """
    for layer in leaf_layers(network):
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            mean, variance, *rest = layer.get_weights()
            if np.allclose(variance.reshape(-1), _IMAGENET_STDDEV, rtol=1e-4):
                layer.set_weights([mean, variance * variance, *rest])
                layer.finalize_state()
