"""Reading the texts of an HDF5 dataset. HDF5 says where the dataset is; it is read here, for HDF5 loops for ever on some heaps.

Each text is sixteen bytes in the dataset: its length, the address of a global heap collection, and the number of an
object there. A collection is a header and objects, each a header and its bytes, up to a multiple of eight (HDF5 File
Format Specification 3.0, III.E and IV.B). No object or text is read twice: what comes out is never more than the file.
"""

import struct
from typing import TYPE_CHECKING

import numpy as np

from store.errors import DamagedStore
from store.formats.base import Source
from store.formats.hdf5_chunks import FileBytes, opened_bytes

if TYPE_CHECKING:
    import h5py

_TEXT = np.dtype([("length", "<u4"), ("heap", "<u8"), ("object", "<u4")])
_COLLECTION = struct.Struct("<4sB3xQ")  # signature, version, size with this header
_OBJECT = struct.Struct("<HHIQ")  # number, references, nothing, size without this header

_Heap = dict[int, bytes]
"""The objects of one collection by number."""


def read_texts(source: Source, dataset: "h5py.Dataset") -> list[str]:
    """The texts of a one-dimensional dataset of UTF-8 texts of any length, which are stored as `Hdf5.encode` does."""
    offset, rows = dataset.id.get_offset(), len(dataset)
    if rows == 0:
        return []
    if offset is None or dataset.id.get_storage_size() != rows * _TEXT.itemsize or dataset.file.userblock_size:
        raise _damaged("texts that are not in one piece")
    with opened_bytes(source) as file:
        texts = np.frombuffer(_whole(file, offset, rows * _TEXT.itemsize), _TEXT)
        if int(texts["length"].sum(dtype=np.uint64)) > file.size:
            raise _damaged("texts longer than the file")
        heaps = _read_heaps(file, np.unique(texts["heap"][texts["length"] > 0]).tolist())
    columns = (texts[name].tolist() for name in ("length", "heap", "object"))
    return [_text(heaps[heap], length, number) if length else "" for length, heap, number in zip(*columns, strict=True)]


def _text(heap: _Heap, length: int, number: int) -> str:
    content = heap.get(number, b"")
    if len(content) < length:
        raise _damaged("a text that is not in its heap")
    return content[:length].decode()


def _read_heaps(file: FileBytes, addresses: list[int]) -> dict[int, _Heap]:
    heaps, left = {}, file.size
    for address in addresses:
        signature, version, size = _COLLECTION.unpack(_whole(file, address, _COLLECTION.size))
        left -= size
        if (signature, version) != (b"GCOL", 1) or size < _COLLECTION.size or left < 0:
            raise _damaged("a heap that is not one")
        heaps[address] = _objects(bytes(_whole(file, address, size)))
    return heaps


def _objects(collection: bytes) -> _Heap:
    objects: _Heap = {}
    start, end = _COLLECTION.size, len(collection) - _OBJECT.size
    while start <= end:
        number, _, _, size = _OBJECT.unpack_from(collection, start)
        if number == 0:  # the rest is free
            break
        start += _OBJECT.size
        if start + size > len(collection) or number in objects:
            raise _damaged("a heap with an object that is not one")
        objects[number] = collection[start : start + size]
        start += (size + 7) & ~7
    return objects


def _whole(file: FileBytes, offset: int, size: int) -> bytes | memoryview:
    """Bytes of the file, all of them there."""
    found = file.read(offset, size) if 0 <= offset <= file.size - size else b""
    if len(found) != size:
        raise _damaged("texts beyond its end")
    return found


def _damaged(what: str) -> DamagedStore:
    return DamagedStore(f"an HDF5 shard has {what}: run `store repair`")
