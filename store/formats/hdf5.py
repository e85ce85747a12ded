"""HDF5 shards: one dataset per column; a tensor has one image per chunk, compressed, with a Fletcher-32 checksum.

A tensor that is not compressed is one piece without checksums, which is read at the speed of memory.

Measured on InceptionV3 tensors, zstd in HDF5 writes and reads four times faster than Parquet, so this
is the format of spatial outputs. Text columns are variable-length UTF-8; an absent text is empty.

A tensor's chunks are made and read by `store.formats.hdf5_chunks`, by several threads at once. A dataset that is not
written just as `encode` does is read by HDF5 itself.
"""

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.errors import DamagedStore
from store.formats.base import (
    NEVER_NULL,
    ROW_SCHEMA,
    UNCOMPRESSED,
    ZSTD,
    Packed,
    Shard,
    Source,
    absent_column,
    checked_tensor,
    placed,
    reading,
    require_count,
)
from store.formats.hdf5_chunks import FILTERS, can_compress, compress, decompress, find_chunks, has_content
from store.formats.hdf5_texts import read_texts
from store.recipe import Output
from store.tensors import Tensor

_FILTERS = frozenset({1, 2, 3, *FILTERS})
"""Deflate, shuffle and Fletcher-32, as HDF5 numbers them, zstd and LZ4: others are code of many libraries."""


class Hdf5:
    """The `hdf5` entry of the table of formats."""

    name = "hdf5"
    suffix = "h5"

    def encode(self, shard: Shard, outputs: Sequence[Output], fingerprint: str, compression: str = ZSTD) -> bytes:
        """See Format."""
        import h5py

        sink = io.BytesIO()  # HDF5's own memory would be copied once more
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
                packed = shard.packed.get(output.name)
                _write_tensor(file, output.name, shard.tensors[output.name], packed, compression)
        return sink.getvalue()

    def pack(self, tensor: Tensor, compression: str) -> Packed | None:
        """See Format."""
        return compress(tensor, compression) if can_compress(tensor, compression) else None

    def holds(self, data: bytes, output: Output, packed: Packed) -> bool:
        """See Format."""
        with _opened(data) as file:
            chunks = find_chunks(_feature_dataset(file, output), output)
        return (
            chunks is not None and len(chunks) == len(packed) and all(map(partial(has_content, data), chunks, packed))
        )

    def rows(self, source: Source, count: int | None = None) -> pa.Table:
        """See Format."""
        with _opened(source) as file:
            rows = len(_plain_dataset(file, "path"))
            require_count(rows, count)
            columns = [
                _column(source, file, field, rows) if field.name in file else absent_column(field, rows)
                for field in ROW_SCHEMA
            ]
            return pa.table(columns, schema=ROW_SCHEMA)

    def tensor(
        self,
        source: Source,
        output: Output,
        positions: npt.NDArray[np.int64] | None = None,
        into: Tensor | None = None,
        count: int | None = None,
    ) -> Tensor:
        """See Format."""
        with _opened(source) as file:
            dataset = _feature_dataset(file, output)
            require_count(len(dataset), count)
            chunks = find_chunks(dataset, output)
            if chunks is None:
                if positions is None or np.array_equal(positions, np.arange(len(dataset))):
                    return _whole(dataset, into)
                return placed(checked_tensor(_rows_at(dataset, positions), len(positions), output), into)
            chosen = chunks if positions is None else [chunks[position] for position in positions]
            tensor = np.empty((len(chosen), *output.shape), output.dtype) if into is None else into
            decompress(source, chosen, checked_tensor(tensor, len(chosen), output))
            return tensor

    def parts(self, source: Source, output: Output, rows: int) -> Iterator[Tensor]:
        """See Format."""
        with _opened(source) as file:
            dataset = _feature_dataset(file, output)
            for start in range(0, len(dataset), rows):
                part = dataset[start : start + rows]
                yield checked_tensor(part, len(part), output)


def _write_tensor(file: Any, name: str, tensor: Tensor, packed: Packed | None, compression: str) -> None:
    """Write a tensor as a dataset, with the chunks that were packed before, if any were."""
    if compression == UNCOMPRESSED:
        file.create_dataset(name, data=tensor)
        return
    layout = {"chunks": (1, *tensor.shape[1:]), "fletcher32": True, **_filter(compression)}
    if not can_compress(tensor, compression):
        file.create_dataset(name, data=tensor, **layout)
        return
    dataset = file.create_dataset(name, tensor.shape, tensor.dtype, **layout)
    for row, chunk in enumerate(compress(tensor, compression) if packed is None else packed):
        dataset.id.write_direct_chunk((row, *[0] * (tensor.ndim - 1)), chunk)


def _filter(compression: str) -> dict[str, Any]:
    """The name that h5py has for a compression."""
    import hdf5plugin

    return {**(hdf5plugin.Zstd(clevel=1) if compression == ZSTD else hdf5plugin.LZ4())}


def _whole(dataset: Any, into: Tensor | None) -> Tensor:
    tensor = np.empty(dataset.shape, dataset.dtype) if into is None else into
    if len(tensor):
        dataset.read_direct(tensor)
    return tensor


def _rows_at(dataset: Any, positions: npt.NDArray[np.int64]) -> Tensor:
    """The rows at ascending positions. HDF5's own point selection is slow: read runs, or one span if it is dense."""
    if len(positions) == 0:
        return np.empty((0, *dataset.shape[1:]), dataset.dtype)
    low, high = int(positions[0]), int(positions[-1]) + 1
    if len(positions) * 2 >= high - low:
        span: Tensor = dataset[low:high]
        return span if len(positions) == high - low else span[positions - low]
    tensor = np.empty((len(positions), *dataset.shape[1:]), dataset.dtype)
    for index, position in enumerate(positions):
        tensor[index] = dataset[int(position)]
    return tensor


@contextmanager
def _opened(source: Source) -> Iterator[Any]:
    import h5py
    import hdf5plugin  # noqa: F401  (registers zstd)

    content = io.BytesIO(source) if isinstance(source, bytes) else source
    # Without locks: what is published never changes, and some network file systems have none.
    with reading("HDF5"), h5py.File(content, "r", locking=False) as file:
        yield file


def _column(source: Source, file: Any, field: pa.Field, rows: int) -> pa.Array:
    import h5py

    dataset = _plain_dataset(file, field.name)
    texts = pa.types.is_string(field.type)
    # Before anything is read: the values of a type of another width could fill the memory.
    string = h5py.check_string_dtype(dataset.dtype)
    plain = string is not None and string.length is None if texts else dataset.dtype.kind in "iufb"
    if dataset.shape != (rows,) or not plain:
        raise DamagedStore(
            f"column {field.name} of an HDF5 shard is {dataset.dtype}{list(dataset.shape or ())}, "
            f"expected {field.type}[{rows}]: run `store repair`"
        )
    if not texts:
        return pa.array(dataset[:], field.type)
    values = pa.array(read_texts(source, dataset), pa.string())
    return values if field.name in NEVER_NULL else _null_where_empty(values)


def _feature_dataset(file: Any, output: Output) -> Any:
    """The dataset of an output, of its shape and type."""
    dataset = _plain_dataset(file, output.name)
    if not dataset.shape or dataset.shape[1:] != output.shape or dataset.dtype != np.dtype(output.dtype):
        raise DamagedStore(
            f"column {output.name} is {dataset.dtype}{list(dataset.shape or ())}, "
            f"expected {output.dtype}{[len(dataset) if dataset.shape else 0, *output.shape]}: run `store repair`"
        )
    return dataset


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
            f"column {name} of an HDF5 shard is not a plain dataset, and only those are read: run `store repair`"
        )
    filters = dataset.id.get_create_plist()
    used = {filters.get_filter(number)[0] for number in range(filters.get_nfilters())}
    if not used <= _FILTERS:
        raise DamagedStore(
            f"column {name} of an HDF5 shard has the filters {sorted(used)}, and only {sorted(_FILTERS)} are read, "
            "those of HDF5 itself, zstd and LZ4: run `store repair`"
        )
    return dataset


def _null_where_empty(texts: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.if_else(pc.equal(texts, ""), pa.scalar(None, pa.string()), texts)
