"""The chunks of an HDF5 dataset, made and read without HDF5, by several threads.

HDF5 filters one chunk at a time, under one lock. So HDF5 only says where a tensor's chunks are in the file; they are
read, checked and decompressed here. And a shard is complete soon after its last row, for the rows before it have been
compressed and compared as they came; HDF5 takes them as they are.
"""

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.errors import DamagedStore
from store.formats.base import LZ4, ZSTD, Source, not_read_back
from store.recipe import Output
from store.tensors import Tensor

if TYPE_CHECKING:
    import h5py

_ZSTD, _LZ4, _FLETCHER32 = 32015, 32004, 3
FILTERS = {_ZSTD: ZSTD, _LZ4: LZ4}
"""Compressions by the number that the HDF Group has registered for them."""

_CODECS = {ZSTD: "zstd", LZ4: "lz4_raw"}
_LEVEL = 1  # of zstd
_LZ4_HEAD = struct.Struct(">QII")
"""What precedes LZ4's only block: bytes in all, bytes of a block, bytes that the block has in the file."""
_CHECKSUM_BYTES = 4
_MOST_BYTES = 2**24  # of a chunk: the checksum's sums stay below 2**64
_THREADS = min(8, os.cpu_count() or 1)
_ROWS_AT_ONCE = 32  # decompressed by one thread; fewer rows than that are not worth starting any


@dataclass(frozen=True)
class Chunk:
    """Where one image's tensor and its checksum are in the file, and how the tensor is compressed."""

    offset: int
    size: int
    compression: str = ZSTD


def can_compress(tensor: Tensor, compression: str) -> bool:
    """Whether `compress` takes a tensor."""
    return compression in _CODECS and 0 < tensor.nbytes // max(1, len(tensor)) <= _MOST_BYTES // 2


def compress(tensor: Tensor, compression: str) -> list[bytes]:
    """Each row of a tensor as HDF5 stores it in a chunk, decompressed again and compared.

    Raises:
        DamagedStore: a row is not what it was.
    """
    codec = pa.Codec("zstd", _LEVEL) if compression == ZSTD else pa.Codec(_CODECS[compression])
    chunks = []
    for row in np.ascontiguousarray(tensor):
        values = row.view(np.uint8).reshape(-1)
        content = codec.compress(values, asbytes=True)
        if compression == LZ4:
            content = _lz4_block(content, values)
        if not np.array_equal(_decompressed(content, values.nbytes, compression), values):
            raise not_read_back("hdf5")
        chunks.append(content + fletcher32(content).to_bytes(_CHECKSUM_BYTES, "little"))
    return chunks


def _lz4_block(compressed: bytes, values: npt.NDArray[np.uint8]) -> bytes:
    """A row as HDF5's filter 32004 stores it: a block that is as long as its values is not compressed."""
    block = compressed if len(compressed) < values.nbytes else values.tobytes()
    return _LZ4_HEAD.pack(values.nbytes, values.nbytes, len(block)) + block


def _decompressed(content: bytes | memoryview, size: int, compression: str) -> npt.NDArray[np.uint8]:
    """The `size` bytes that a chunk's content stands for."""
    if compression == LZ4:
        head, content = content[: _LZ4_HEAD.size], content[_LZ4_HEAD.size :]
        if head != _LZ4_HEAD.pack(size, size, len(content)):
            raise DamagedStore("a chunk of an HDF5 shard is not one block of LZ4: run `store repair`")
        if len(content) == size:  # see _lz4_block
            return np.frombuffer(content, np.uint8)
    return np.frombuffer(pa.Codec(_CODECS[compression]).decompress(content, size), np.uint8)


def has_content(data: bytes, chunk: Chunk, content: bytes) -> bool:
    """Whether a chunk of the file `data` has this content, checksum included."""
    return data[chunk.offset : chunk.offset + chunk.size] == content


def find_chunks(dataset: "h5py.Dataset", output: Output) -> list[Chunk] | None:
    """The chunks of an h5py dataset, one per image; None unless all of it is just as `Hdf5.encode` writes it."""
    plain = dataset.shape[1:] == output.shape and dataset.dtype == np.dtype(output.dtype)
    chunk_iter = getattr(dataset.id, "chunk_iter", None)  # h5py has none if it was built with an older HDF5
    if not plain or dataset.chunks != (1, *output.shape) or chunk_iter is None:
        return None
    filters = dataset.id.get_create_plist()
    used = [filters.get_filter(number)[0] for number in range(filters.get_nfilters())]
    if used[1:] != [_FLETCHER32] or used[0] not in FILTERS:
        return None
    found: dict[int, Chunk] = {}

    def note(chunk: Any) -> None:
        if chunk.filter_mask == 0 and _CHECKSUM_BYTES < chunk.size <= _MOST_BYTES:
            found[chunk.chunk_offset[0]] = Chunk(chunk.byte_offset, chunk.size, FILTERS[used[0]])

    chunk_iter(note)
    return [found[row] for row in range(len(dataset))] if len(found) == len(dataset) else None


def decompress(source: Source, chunks: Sequence[Chunk], tensor: Tensor) -> None:
    """Fill the tensor's rows from the chunks, in that order."""
    with opened_bytes(source) as file:
        # Here and not in the threads, which would only take turns at such small steps: measured.
        contents = [_checked(file.read(chunk.offset, chunk.size), chunk.size) for chunk in chunks]

    def fill(start: int) -> None:
        for row, content in enumerate(contents[start : start + _ROWS_AT_ONCE], start):
            values = _decompressed(content, tensor[row].nbytes, chunks[row].compression)
            tensor[row] = values.view(tensor.dtype).reshape(tensor.shape[1:])

    groups = range(0, len(chunks), _ROWS_AT_ONCE)
    if len(groups) <= 1:
        fill(0)
        return
    with ThreadPoolExecutor(min(_THREADS, len(groups)), "decompress") as pool:
        list(pool.map(fill, groups))


@dataclass(frozen=True)
class FileBytes:
    """A file's bytes by position: `read` takes offset and size, and gives fewer where the file ends before."""

    size: int
    read: Callable[[int, int], bytes | memoryview]


@contextmanager
def opened_bytes(source: Source) -> Iterator[FileBytes]:
    """The bytes of a shard file, for several threads at once."""
    if isinstance(source, bytes):
        view = memoryview(source)
        yield FileBytes(len(view), lambda offset, size: view[offset : offset + size])
        return
    with open(source, "rb") as file:
        descriptor = file.fileno()
        yield FileBytes(os.fstat(descriptor).st_size, lambda offset, size: os.pread(descriptor, size, offset))


def _checked(data: bytes | memoryview, size: int) -> memoryview:
    """The compressed content of a chunk of `size` bytes, if it is complete and its checksum is right."""
    content, checksum = memoryview(data)[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    if len(data) != size or fletcher32(content) != int.from_bytes(checksum, "little"):
        raise DamagedStore("a chunk of an HDF5 shard has a wrong checksum: run `store repair`")
    return content


def fletcher32(data: bytes | memoryview) -> int:
    """The checksum of HDF5's filter of that name (H5checksum.c): two sums of big-endian 16-bit words.

    HDF5 adds word by word and folds carries back in, which is arithmetic modulo 65535 in which a multiple of it is
    65535. The second sum adds up the first after each word, so the first of n words counts n times.
    """
    words = np.frombuffer(data, ">u2", len(data) // 2).astype(np.uint64)
    if len(data) % 2:
        words = np.append(words, np.uint64(data[-1] << 8))
    weights = np.arange(len(words), 0, -1, dtype=np.uint64)
    low, high = (_folded(int(total)) for total in (words.sum(), words @ weights))
    return high << 16 | low


def _folded(total: int) -> int:
    return (total - 1) % 65535 + 1 if total else 0
