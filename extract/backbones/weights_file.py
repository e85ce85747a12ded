"""Reading Keras' weights files: `.weights.h5`, the legacy `.h5` that Keras publishes, and `.keras`.

Nothing in a file is trusted: no object is rebuilt from it, only arrays are read, into layers of the same shapes. A file
may also hold the network's classifier, which is left out.
"""

import io
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np
import numpy.typing as npt
from keras.src.utils.naming import to_snake_case

from extract.backbones.build import leaf_layers
from extract.backbones.weights_links import refuse_links
from store.errors import EnvironmentFailure, UsageError

_MAX_TOP_LAYERS = 3
"""VGG's classifier has three layers with weights, the largest in the table."""

_UNREADABLE = (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, RuntimeError, AttributeError)
"""What h5py and zipfile raise for a file that is damaged or is not a weights file."""


@dataclass(frozen=True)
class _LayerVariables:
    """A layer of the network that has weights."""

    name: str
    variables: Sequence[keras.Variable]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [tuple(variable.shape) for variable in self.variables]


@dataclass(frozen=True)
class _LayerArrays:
    """The weights of a layer in a file."""

    name: str
    arrays: Sequence[npt.NDArray[np.generic]]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [array.shape for array in self.arrays]


def fill_from_file(network: keras.Model, backbone: str, path: Path) -> None:
    """Assign a file's arrays to the network's layers.

    Args:
        network: whose layers are filled.
        backbone: the network's name, for messages.
        path: a file as `save_weights` or `save` writes it, or as Keras publishes it.

    Raises:
        UsageError: it is not a weights file, holds links, or does not fit; the first layers that differ are named.
        EnvironmentFailure: it cannot be read now.
    """
    try:
        with _opened(path) as file:
            refuse_links(file, path)
            layers, stored = _matched(network, file.get("model_weights", file), path)
        _require_fit(layers, stored, backbone, path)
        _assign(layers, stored)
    except (UsageError, EnvironmentFailure):
        raise
    except _UNREADABLE as error:
        raise _unreadable(error, backbone, path) from error
    _refresh_normalization(network)


def require_plain_weights(path: Path) -> None:
    """Raise UsageError unless the HDF5 file inside a .keras archive can be read and refers to nothing outside of it."""
    try:
        with _opened(path) as file:
            refuse_links(file, path)
    except (UsageError, EnvironmentFailure):
        raise
    except _UNREADABLE as error:
        raise _unreadable(error, "the model in it", path) from error


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """The HDF5 file at `path`, or the one inside a .keras archive."""
    with h5py.File(
        io.BytesIO(_archived_weights(path)) if path.suffix == ".keras" else path, "r", locking=False
    ) as file:
        yield file


def _archived_weights(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        return archive.read("model.weights.h5")


def _unreadable(error: Exception, backbone: str, path: Path) -> UsageError | EnvironmentFailure:
    """The error for a file that cannot be read: h5py's errors about its content have no error number."""
    about_content = not isinstance(error, OSError) or error.errno is None
    if about_content or isinstance(error, FileNotFoundError | IsADirectoryError):
        return UsageError(f"--weights {path} cannot be read ({error}): expected Keras weights for {backbone}")
    return EnvironmentFailure(f"--weights {path} cannot be read now ({error}): run the same command again")


def _matched(network: keras.Model, root: h5py.Group, path: Path) -> tuple[list[_LayerVariables], list[_LayerArrays]]:
    """The network's layers and the file's, in the same order, as the format of the file says."""
    if "layer_names" in root.attrs:
        return _legacy_variables(network), _legacy_arrays(root)
    if "layers" in root:
        layers = _current_variables(network)
        return layers, _sorted_like(layers, _current_arrays(root))
    raise UsageError(f"--weights {path} holds no Keras weights: expected what save_weights wrote, or a published .h5")


def _require_fit(layers: Sequence[_LayerVariables], stored: Sequence[_LayerArrays], backbone: str, path: Path) -> None:
    """Raise UsageError unless the file begins with the network's layers; up to three more are its classifier."""
    wrong = [
        f"{_described(ours)} in the network, {_described(theirs)} in the file"
        for ours, theirs in zip(layers, stored, strict=False)
        if ours.shapes != theirs.shapes
    ]
    wrong += [f"{_described(layer)} is missing from the file" for layer in layers[len(stored) :]]
    extra = stored[len(layers) :]
    if len(extra) > _MAX_TOP_LAYERS:
        wrong += [f"{_described(layer)} is only in the file" for layer in extra]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise UsageError(f"--weights {path} does not fit {backbone}: {'; '.join(wrong[:3])}{more}")


def _assign(layers: Sequence[_LayerVariables], stored: Sequence[_LayerArrays]) -> None:
    for layer, found in zip(layers, stored, strict=False):
        for variable, value in zip(layer.variables, found.arrays, strict=True):
            variable.assign(value)


def _described(layer: _LayerVariables | _LayerArrays) -> str:
    return f"{layer.name} {', '.join(str(list(shape)) for shape in layer.shapes) or 'nothing'}"


def _refresh_normalization(network: keras.Model) -> None:
    """Have normalization layers compute with their new weights, of which they keep copies."""
    for layer in leaf_layers(network):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


# The legacy format: keras/src/legacy/saving/legacy_h5_format.py


def _legacy_variables(network: keras.Model) -> list[_LayerVariables]:
    """Layers with weights as the legacy format orders them: trainable ones first within a layer or nested model."""
    layers = [
        _LayerVariables(layer.name, [*layer.trainable_weights, *layer.non_trainable_weights])
        for layer in network.layers
    ]
    return [layer for layer in layers if layer.variables]


def _legacy_arrays(root: h5py.Group) -> list[_LayerArrays]:
    """Layers and weights are named in attributes, in the network's order."""
    layers = [
        _LayerArrays(name, [root[name][weight][()] for weight in _names(root[name], "weight_names")])
        for name in _names(root, "layer_names")
    ]
    return [layer for layer in layers if layer.arrays]


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """A list of names; the legacy format splits long ones into attributes numbered 0, 1, …"""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        numbered = (f"{attribute}{number}" for number in range(len(group.attrs)))
        parts = [group.attrs[name] for name in numbered if name in group.attrs]
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in part]


# The current format: keras/src/saving/saving_lib.py, `_save_container_state`


def _current_variables(network: keras.Model, prefix: str = "layers") -> list[_LayerVariables]:
    """Layers with weights by their paths in the file: class names in snake case, counted within each model."""
    layers: list[_LayerVariables] = []
    used: dict[str, int] = {}
    for layer in network.layers:
        name = to_snake_case(layer.__class__.__name__)
        used[name] = used.get(name, -1) + 1
        path = f"{prefix}/{name}_{used[name]}" if used[name] else f"{prefix}/{name}"
        if isinstance(layer, keras.Model):
            layers += _current_variables(layer, f"{path}/layers")
        elif layer.weights:
            layers.append(_LayerVariables(path, list(layer.weights)))
    return layers


def _current_arrays(root: h5py.Group) -> list[_LayerArrays]:
    """Arrays are at `<path>/vars/<number>`, in HDF5's order of names."""
    found: dict[str, dict[int, npt.NDArray[np.generic]]] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        path, _, number = name.rpartition("/vars/")
        if path and number.isdigit() and isinstance(item, h5py.Dataset):
            found.setdefault(path, {})[int(number)] = item[()]

    root.visititems(visit)
    return [_LayerArrays(path, [arrays[number] for number in sorted(arrays)]) for path, arrays in found.items()]


def _sorted_like(layers: Sequence[_LayerVariables], stored: Sequence[_LayerArrays]) -> list[_LayerArrays]:
    """What is stored in the order of the network's layers; layers that are only in the file come last."""
    rank = {layer.name: number for number, layer in enumerate(layers)}
    return sorted(stored, key=lambda layer: rank.get(layer.name, len(rank)))
