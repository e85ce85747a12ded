"""The arrays of a folder's safetensors files, checked and hashed without a library.

A file is the length of its header as eight bytes, the header (a JSON object: for each tensor its type, its shape and where
its bytes lie), and the bytes (https://huggingface.co/docs/safetensors, "Format").
"""

import hashlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from store.errors import EnvironmentFailure, UnsafeFile, UsageError
from store.files.disk import unreadable
from store.files.names import printable
from store.json_values import JsonObject, parse
from store.schema import InvalidField, read_value

SAFETENSORS, INDEX = "model.safetensors", "model.safetensors.index.json"

_PART = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors")
_MOST_HEADER = 100 * 2**20  # as the format says
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2"}
_CHUNK = 2**24


@dataclass(frozen=True)
class StoredTensor:
    """A tensor, and where its bytes are: from `start` to `end` of a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int


def find_safetensors(folder: Path) -> Path | None:
    """The file that a folder's tensors are found by: all of them, or the index of several files; None without one."""
    return next((folder / name for name in (SAFETENSORS, INDEX) if (folder / name).is_file()), None)


def read_safetensors(folder: Path) -> tuple[StoredTensor, ...]:
    """The tensors of a folder, by name.

    Raises:
        UsageError: its files are not safetensors, or cut short.
        UnsafeFile: its index names other files than its parts, or a tensor claims bytes that its file does not hold.
        EnvironmentFailure: they cannot be read now.
    """
    found: dict[str, StoredTensor] = {}
    for path in _files(folder):
        for tensor in _tensors(path):
            found[tensor.name] = tensor
    return tuple(found[name] for name in sorted(found))


def hash_tensors(tensors: tuple[StoredTensor, ...]) -> str:
    """SHA-256 of names, types, shapes and bytes; how tensors are spread over files does not count.

    Raises:
        EnvironmentFailure: a file cannot be read now.
    """
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(f"{tensor.name}\0{tensor.dtype}{list(tensor.shape)}".encode())
        for data in _bytes(tensor):
            total.update(data)
    return total.hexdigest()


def load_tensor(tensor: StoredTensor) -> npt.NDArray[np.float32]:
    """A tensor's values as float32.

    Raises:
        UsageError: they are not floating-point numbers.
        EnvironmentFailure: the file cannot be read now.
    """
    data = b"".join(_bytes(tensor))
    if tensor.dtype == "BF16":  # the upper half of a float32
        return (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32).reshape(tensor.shape)
    if tensor.dtype not in _FLOATS:
        raise UsageError(f"{printable(tensor.name)} is of the type {tensor.dtype}: expected floating-point numbers")
    return np.frombuffer(data, _FLOATS[tensor.dtype]).astype(np.float32).reshape(tensor.shape)


def _files(folder: Path) -> list[Path]:
    path = find_safetensors(folder)
    if path is None:
        raise UsageError(f"{printable(str(folder))} has no {SAFETENSORS}")
    if path.name == SAFETENSORS:
        return [path]
    shown = printable(str(path))
    try:
        places = parse(path.read_bytes(), _MOST_HEADER).get("weight_map")
    except OSError as error:
        raise unreadable(error, path) from error
    except ValueError as error:
        raise UsageError(f"{shown} {error}") from error
    names = sorted({str(place) for place in places.values()}) if isinstance(places, dict) else []
    if not names:
        raise UsageError(f"{shown} names no files")
    for name in names:
        if _PART.fullmatch(name) is None:
            raise UnsafeFile(f"{shown} names {printable(name)!r}, which is not a part of a model: it is never read")
        if not (folder / name).is_file():
            raise UsageError(f"{shown} names {name}, which is not in its folder")
    return [folder / name for name in names]


def _tensors(path: Path) -> Iterator[StoredTensor]:
    shown = printable(str(path))
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MOST_HEADER, size - 8):
                raise UsageError(f"{shown} is not a safetensors file, or is cut short")
            header = parse(file.read(length), _MOST_HEADER)
    except OSError as error:
        raise unreadable(error, path) from error
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{shown}: its header {error}") from error
    for name, entry in header.items():
        if name != "__metadata__":
            yield _tensor(name, entry, path, (8 + length, size))


def _tensor(name: str, entry: object, path: Path, data: tuple[int, int]) -> StoredTensor:
    """A tensor of the header; `data` is where bytes of tensors begin and end in the file."""
    shown = f"{printable(str(path))}: {printable(name[:200])}"
    try:
        values: JsonObject = entry if isinstance(entry, dict) else {}
        dtype = str(values.get("dtype"))
        shape = read_value(tuple[int, ...], values.get("shape"), "shape")
        places = read_value(tuple[int, int], values.get("data_offsets"), "data_offsets")
    except InvalidField as error:
        raise UsageError(f"{shown}: {error}") from error
    if dtype not in _WIDTHS:
        raise UsageError(f"{shown} has the type {printable(dtype)!r}: expected one of {', '.join(_WIDTHS)}")
    if not isinstance(shape, tuple) or not isinstance(places, tuple):
        raise UsageError(f"{shown} has no shape")
    start, end = (data[0] + place for place in places)
    if min(shape, default=0) < 0 or end - start != math.prod(shape) * _WIDTHS[dtype] or not data[0] <= start <= end:
        raise UnsafeFile(f"{shown} claims {list(shape)} in {end - start:,} bytes: it is damaged or made to do harm")
    if end > data[1]:
        raise UsageError(f"{shown} ends after its file, which is cut short")
    return StoredTensor(name, dtype, shape, path, start, end)


def _bytes(tensor: StoredTensor) -> Iterator[bytes]:
    try:
        with tensor.file.open("rb") as file:
            file.seek(tensor.start)
            left = tensor.end - tensor.start
            while left:
                data = file.read(min(left, _CHUNK))
                if not data:
                    raise EnvironmentFailure(f"{printable(str(tensor.file))} became shorter while it was read")
                left -= len(data)
                yield data
    except OSError as error:
        raise unreadable(error, tensor.file) from error
