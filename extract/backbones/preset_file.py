"""The arrays of a keras-hub preset, `model.weights.h5`, counted and hashed without Keras."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from extract.backbones.weights_links import refuse_links
from store.errors import EnvironmentFailure, UnsafeFile, UsageError
from store.files.disk import unreadable
from store.files.names import printable

PRESET_WEIGHTS = "model.weights.h5"

_NUMBERS = "biufV"  # V: bfloat16, as Keras writes it

Found = TypeVar("Found")


def count_arrays(path: Path) -> int:
    """The number of elements of all arrays.

    Raises:
        UsageError: it is not an HDF5 file, refers to other files, or holds something other than numbers.
        UnsafeFile: its arrays claim far more bytes than it has.
        EnvironmentFailure: it cannot be read now.
    """
    return _read(path, lambda file: sum(int(array.size) for array in _arrays(file).values()))


def hash_arrays(path: Path) -> str:
    """SHA-256 of names, types, shapes and bytes of all arrays, by name.

    Raises:
        UsageError, UnsafeFile, EnvironmentFailure: see `count_arrays`.
    """

    def hashed(file: h5py.File) -> str:
        total = hashlib.sha256()
        for name, array in sorted(_arrays(file).items()):
            total.update(f"{name}\0{array.dtype.str}{list(array.shape)}".encode())
            total.update(np.ascontiguousarray(array[()]).tobytes())
        return total.hexdigest()

    return _read(path, hashed)


def _read(path: Path, work: Callable[[h5py.File], Found]) -> Found:
    shown = printable(str(path))
    try:
        with h5py.File(path, "r", locking=False) as file:
            refuse_links(file, path)
            _require_numbers(file, shown)
            claimed = sum(array.nbytes for array in _arrays(file).values())
            if claimed > 2 * path.stat().st_size:  # Keras does not compress
                raise UnsafeFile(f"{shown} claims {claimed:,} bytes of arrays, and has {path.stat().st_size:,}")
            return work(file)
    except (UsageError, EnvironmentFailure):
        raise
    except OSError as error:
        if error.errno is not None:
            raise unreadable(error, path) from error
        raise UsageError(f"{shown} is not a weights file of Keras ({error})") from error
    except (KeyError, TypeError, ValueError, RuntimeError) as error:  # h5py's, for damaged files
        raise UsageError(f"{shown} is not a weights file of Keras ({error})") from error


def _require_numbers(file: h5py.File, shown: str) -> None:
    """Raise UsageError if an array holds text, lists or references, whose bytes in memory are addresses."""
    for name, array in _arrays(file).items():
        if array.dtype.kind not in _NUMBERS or array.dtype.hasobject:
            raise UsageError(
                f"{shown} is not a weights file of Keras (expected numbers in {printable(name)}, this is {array.dtype}): "
                "save the preset again with keras-hub"
            )


def _arrays(file: h5py.File) -> dict[str, h5py.Dataset]:
    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            found[name] = item

    file.visititems(visit)
    return found
