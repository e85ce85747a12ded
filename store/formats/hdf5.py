"""HDF5 shards: one dataset a column, one image a chunk, zstd with a Fletcher-32 checksum.

Measured on InceptionV3 tensors, zstd in HDF5 writes and reads four times faster than Parquet, so this
is the format of spatial outputs. Text columns are variable-length UTF-8; an absent text is empty.

HDF5 decodes one chunk at a time, under one lock. So of tensors it is only asked where their chunks lie; they are
read, checked and decompressed here, by several threads. What is not written just as `encode` does, HDF5 reads.
"""

import io
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.errors import DamagedStore
from store.formats.base import ROW_SCHEMA, Shard, checked_tensor, placed
from store.recipe import Output

_ZSTD, _FLETCHER32 = 32015, 3  # as registered with the HDF Group
_CHECKSUM_BYTES = 4
_MOST_BYTES = 2**24  # of a chunk: the checksum's sums stay below 2**64
_THREADS = min(8, os.cpu_count() or 1)
_ROWS_AT_ONCE = 32  # decompressed by one thread; fewer rows than that are not worth starting any


class Hdf5:
    """The `hdf5` entry of the table of formats."""

    name = "hdf5"
    suffix = "h5"

    def encode(self, shard: Shard, outputs: Sequence[Output], fingerprint: str) -> bytes:
        """See Format."""
        import h5py
        import hdf5plugin

        sink = io.BytesIO()
        with h5py.File(sink, "w") as file:
            file.attrs["stillframe"] = json.dumps(
                {"fingerprint": fingerprint, "outputs": [output.to_dict() for output in outputs]}
            )
            for name in ROW_SCHEMA.names:
                column = shard.rows[name]
                if pa.types.is_string(column.type):
                    file.create_dataset(name, data=column.fill_null("").to_pylist(), dtype=h5py.string_dtype())
                else:
                    file.create_dataset(name, data=column.to_numpy())
            for output in outputs:
                file.create_dataset(
                    output.name,
                    data=shard.tensors[output.name],
                    chunks=(1, *output.shape),
                    fletcher32=True,
                    **hdf5plugin.Zstd(clevel=1),
                )
        return sink.getvalue()

    def rows(self, source: bytes | PathLike[str]) -> pa.Table:
        """See Format."""
        with _opened(source) as file:
            columns = []
            for field in ROW_SCHEMA:
                dataset = _plain_dataset(file, field.name)
                if pa.types.is_string(field.type):
                    texts = pa.array(dataset.asstr()[:], pa.string())
                    nullable = field.name in ("label", "split", "group")
                    columns.append(_null_where_empty(texts) if nullable else texts)
                else:
                    columns.append(pa.array(dataset[:], field.type))
            return pa.table(columns, schema=ROW_SCHEMA)

    def tensor(
        self,
        source: bytes | PathLike[str],
        output: Output,
        positions: npt.NDArray[np.int64] | None = None,
        into: npt.NDArray[Any] | None = None,
    ) -> npt.NDArray[Any]:
        """See Format."""
        with _opened(source) as file:
            dataset = _plain_dataset(file, output.name)
            chunks = _chunks(dataset, output)
            if chunks is None:
                tensor = dataset[:] if positions is None else _rows_at(dataset, positions)
                return placed(checked_tensor(tensor, _count(positions, tensor), output), into)
            chosen = chunks if positions is None else [chunks[position] for position in positions]
            tensor = np.empty((len(chosen), *output.shape), output.dtype) if into is None else into
            _decompress(source, chosen, checked_tensor(tensor, len(chosen), output))
            return tensor

    def parts(self, source: bytes | PathLike[str], output: Output, rows: int) -> Iterator[npt.NDArray[Any]]:
        """See Format."""
        with _opened(source) as file:
            dataset = _plain_dataset(file, output.name)
            for start in range(0, len(dataset), rows):
                part = dataset[start : start + rows]
                yield checked_tensor(part, len(part), output)


def _count(positions: npt.NDArray[np.int64] | None, tensor: npt.NDArray[Any]) -> int:
    return len(tensor) if positions is None else len(positions)


@dataclass(frozen=True)
class _Chunk:
    """Where one image's compressed tensor and its checksum lie in the file."""

    offset: int
    size: int


def _chunks(dataset: Any, output: Output) -> list[_Chunk] | None:
    """The dataset's chunks, an image each; None unless all of it is just as `encode` writes it."""
    plain = dataset.shape[1:] == output.shape and dataset.dtype == np.dtype(output.dtype)
    if not plain or dataset.chunks != (1, *output.shape) or not hasattr(dataset.id, "chunk_iter"):
        return None
    filters = dataset.id.get_create_plist()
    if [filters.get_filter(number)[0] for number in range(filters.get_nfilters())] != [_ZSTD, _FLETCHER32]:
        return None
    found: dict[int, _Chunk] = {}

    def note(chunk: Any) -> None:
        if chunk.filter_mask == 0 and _CHECKSUM_BYTES < chunk.size <= _MOST_BYTES:
            found[chunk.chunk_offset[0]] = _Chunk(chunk.byte_offset, chunk.size)

    dataset.id.chunk_iter(note)
    return [found[row] for row in range(len(dataset))] if len(found) == len(dataset) else None


def _decompress(source: bytes | PathLike[str], chunks: Sequence[_Chunk], tensor: npt.NDArray[Any]) -> None:
    """Fill the tensor's rows from the chunks, in that order."""
    with _reader(source) as read:
        # Here and not in the threads, which would take turns at so many small steps: measured.
        contents = [_checked(read(chunk), chunk.size) for chunk in chunks]
    codec = pa.Codec("zstd")

    def fill(start: int) -> None:
        for row, content in enumerate(contents[start : start + _ROWS_AT_ONCE], start):
            values = codec.decompress(content, tensor[row].nbytes)
            tensor[row] = np.frombuffer(values, tensor.dtype).reshape(tensor.shape[1:])

    groups = range(0, len(chunks), _ROWS_AT_ONCE)
    if len(groups) <= 1:
        fill(0)
        return
    with ThreadPoolExecutor(min(_THREADS, len(groups)), "decompress") as pool:
        list(pool.map(fill, groups))


@contextmanager
def _reader(source: bytes | PathLike[str]) -> Iterator[Any]:
    """A function from a chunk to its bytes, fewer if the file ends before; for several threads at once."""
    if isinstance(source, bytes):
        view = memoryview(source)
        yield lambda chunk: view[chunk.offset : chunk.offset + chunk.size]
        return
    with open(source, "rb") as file:
        yield lambda chunk: os.pread(file.fileno(), chunk.size, chunk.offset)


def _checked(data: bytes | memoryview, size: int) -> memoryview:
    """The compressed content of a chunk of so many bytes, if it is all there and its checksum is right."""
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


def _rows_at(dataset: Any, positions: npt.NDArray[np.int64]) -> npt.NDArray[Any]:
    """The rows at ascending positions. HDF5's own point selection is slow: read runs, or one span if it is dense."""
    if len(positions) == 0:
        return np.empty((0, *dataset.shape[1:]), dataset.dtype)
    low, high = int(positions[0]), int(positions[-1]) + 1
    if len(positions) * 2 >= high - low:
        span: npt.NDArray[Any] = dataset[low:high]
        return span if len(positions) == high - low else span[positions - low]
    tensor = np.empty((len(positions), *dataset.shape[1:]), dataset.dtype)
    for index, position in enumerate(positions):
        tensor[index] = dataset[int(position)]
    return tensor


@contextmanager
def _opened(source: bytes | PathLike[str]) -> Iterator[Any]:
    import h5py
    import hdf5plugin  # noqa: F401  (registers zstd)

    try:
        with h5py.File(io.BytesIO(source) if isinstance(source, bytes) else source, "r") as file:
            yield file
    except (OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, DamagedStore):
            raise
        raise DamagedStore(f"an HDF5 shard cannot be read ({error}): run `store repair`") from error


def _plain_dataset(file: Any, name: str) -> Any:
    """The dataset of that name, refused if its bytes lie outside the file: links can read any file of the machine."""
    import h5py

    link = file.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise DamagedStore(
            f"column {name} of an HDF5 shard is missing or a link, which is never followed: run `store repair`"
        )
    dataset = file[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise DamagedStore(
            f"column {name} of an HDF5 shard is no plain dataset, which is never read: run `store repair`"
        )
    return dataset


def _null_where_empty(texts: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
