"""Reading a PyTorch state dict of the legacy format, without PyTorch and without running code from it.

Layout (torch/serialization.py, `_legacy_save`): four pickles (magic number, protocol version, system
information, and an ordered dict of tensors whose storages are persistent ids), a pickled list of storage
keys, then each storage in that order as an 8-byte little-endian count and the raw elements. Unpickling
allows nothing but the ordered dict, the tensor rebuild and two names of storage types.
"""

import io
import math
import pickle
import pickletools
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGE_TYPES: dict[str, np.dtype[np.generic]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
_NUMBERING = ("PUT", "BINPUT", "LONG_BINPUT")
_MOST_OBJECTS = 2**20


@dataclass(frozen=True)
class _Tensor:
    storage: str
    dtype: np.dtype[np.generic]
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in _STORAGE_TYPES:
            return name
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")

    def persistent_load(self, pid: tuple[object, str, object]) -> tuple[str, np.dtype[np.generic]]:
        _, storage_type, key, *_ = pid
        return str(key), _STORAGE_TYPES[storage_type]


def _tensor(
    storage: tuple[str, np.dtype[np.generic]], offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    return _Tensor(*storage, offset, shape, strides)


def read_state_dict(data: bytes) -> dict[str, npt.NDArray[np.generic]]:
    """The tensors of a legacy-format state dict by name, in order.

    Raises:
        ValueError: it is another kind of file, or damaged.
    """
    file = io.BytesIO(data)
    try:
        if _unpickled(file) != _MAGIC:
            raise ValueError("not a PyTorch file of the legacy format")
        _unpickled(file)
        _unpickled(file)
        tensors: dict[str, _Tensor] = _unpickled(file)
        keys: list[str] = _unpickled(file)
        dtypes = {tensor.storage: tensor.dtype for tensor in tensors.values()}
        storages = {key: _storage(file, dtypes[key]) for key in keys}
        return {name: _strided(storages[tensor.storage], tensor) for name, tensor in tensors.items()}
    except Exception as error:  # a pickle of anything else raises nearly everything
        raise ValueError(f"not a PyTorch state dict of the legacy format: {error}") from error


def _unpickled(file: io.BytesIO) -> Any:
    """The next pickle. One that numbers its objects far beyond what a file has would make Python fill the memory."""
    start = file.seek(0, io.SEEK_CUR)
    for operation, number, _ in pickletools.genops(file):
        if operation.name in _NUMBERING and isinstance(number, int) and number > _MOST_OBJECTS:
            raise ValueError(f"a pickle of object {number}: expected {_MOST_OBJECTS:,} at most")
    file.seek(start)
    return _Unpickler(file).load()


def _storage(file: io.BytesIO, dtype: np.dtype[np.generic]) -> npt.NDArray[np.generic]:
    count = int.from_bytes(file.read(8), "little")
    return np.frombuffer(file.read(count * dtype.itemsize), dtype)


def _strided(storage: npt.NDArray[np.generic], tensor: _Tensor) -> npt.NDArray[np.generic]:
    """The tensor's elements out of its storage; offset and strides count elements."""
    last = tensor.offset + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    if (
        math.prod(tensor.shape) > len(storage)
        or min(tensor.shape, default=1) < 1
        or min(tensor.offset, *tensor.strides, 0) < 0
        or last >= len(storage)
    ):
        raise ValueError("not a PyTorch state dict: a tensor lies outside its storage")
    strides = [stride * storage.itemsize for stride in tensor.strides]
    return np.array(np.lib.stride_tricks.as_strided(storage[tensor.offset :], tensor.shape, strides))
