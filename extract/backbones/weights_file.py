"""Reading Keras' weights files: `.weights.h5`, the legacy `.h5` that Keras publishes, and `.keras`.

Nothing in a file is trusted: no object is rebuilt from it, only arrays are read, into layers of the same
shapes. A file may also hold the network's classifier, which is left out.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy.typing as npt
from keras.src.utils.naming import to_snake_case

from extract.backbones.build import leaf_layers
from store.errors import UsageError

_MAX_TOP_LAYERS = 3
"""VGG's classifier has three layers with weights, the largest in the table."""


@dataclass(frozen=True)
class _Slot:
    """A layer that takes weights, and the shapes it takes them in."""

    name: str
    shapes: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        return f"{self.name} {', '.join(str(list(shape)) for shape in self.shapes) or 'nothing'}"


def fill_from_file(network: keras.Model, backbone: str, path: Path) -> None:
    """Assign a file's arrays to the network's layers.

    Raises:
        UsageError: it is no weights file, holds links, or does not fit; the first layers that differ are named.
    """
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                data = archive.read("model.weights.h5")
            with h5py.File(io.BytesIO(data), "r") as file:
                _fill_from_hdf5(network, backbone, path, file)
        else:
            with h5py.File(path, "r") as file:
                _fill_from_hdf5(network, backbone, path, file)
    except UsageError:
        raise
    except (OSError, zipfile.BadZipFile, KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        raise UsageError(f"--weights {path} cannot be read ({error}): expected Keras weights for {backbone}") from error


def _fill_from_hdf5(network: keras.Model, backbone: str, path: Path, file: h5py.File) -> None:
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
    for layer in leaf_layers(network):
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()


def _require_fit(expected: list[_Slot], stored: list[_Slot], backbone: str, path: Path) -> None:
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
        raise UsageError(f"--weights {path} does not fit {backbone}: {'; '.join(wrong[:3])}{more}")


def _shapes(arrays: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(array.shape) for array in arrays)


def _legacy_layers(network: keras.Model) -> list[tuple[_Slot, list[Any]]]:
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


def _current_layers(network: keras.Model, prefix: str = "layers") -> list[tuple[_Slot, list[Any]]]:
    """Layers with weights by the paths of a .weights.h5 file: class names in snake case, counted within a model.

    Layout: keras/src/saving/saving_lib.py, `_save_container_state`.
    """
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


def _refuse_links(file: h5py.File, path: Path) -> None:
    """External links and virtual datasets can read any file of the machine (CVE-2026-1669)."""

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
