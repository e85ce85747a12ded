"""Parquet shards: one fixed-size list per row and output, zstd, page checksums.

Fixed-size lists are what DuckDB, polars, pandas and Hugging Face datasets all read; a tensor's shape
is in the schema metadata under `stillframe`, as JSON.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from store.errors import DamagedStore
from store.formats.base import (
    NEVER_NULL,
    ROW_SCHEMA,
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
from store.recipe import Output
from store.tensors import Tensor


class Parquet:
    """The `parquet` entry of the table of formats."""

    name = "parquet"
    suffix = "parquet"

    def encode(self, shard: Shard, outputs: Sequence[Output], fingerprint: str, compression: str = ZSTD) -> bytes:
        """See Format."""
        sink = io.BytesIO()
        pq.write_table(
            with_features(shard.rows, shard.tensors, outputs).cast(parquet_schema(outputs, fingerprint)),
            sink,
            compression=compression,
            use_dictionary=[name for name in ROW_SCHEMA.names if name not in NEVER_NULL],
            write_page_checksum=True,
        )
        return sink.getvalue()

    def pack(self, _tensor: Tensor, _compression: str) -> Packed | None:
        """See Format: a column is written as a whole."""
        return None

    def holds(self, _data: bytes, _output: Output, _packed: Packed) -> bool:
        """See Format."""
        return False

    def rows(self, source: Source, count: int | None = None) -> pa.Table:
        """See Format."""
        read = _read(source, ROW_SCHEMA.names, count)
        columns = [
            read[field.name] if field.name in read.column_names else absent_column(field, len(read))
            for field in ROW_SCHEMA
        ]
        table = pa.table(columns, ROW_SCHEMA.names)
        if table.schema != ROW_SCHEMA:
            raise DamagedStore(f"a Parquet shard has columns {table.schema}, expected {ROW_SCHEMA}: run `store repair`")
        return table

    def tensor(
        self,
        source: Source,
        output: Output,
        positions: npt.NDArray[np.int64] | None = None,
        into: Tensor | None = None,
        count: int | None = None,
    ) -> Tensor:
        """See Format."""
        table = _read(source, [output.name], count)
        if output.name not in table.column_names:
            raise DamagedStore(f"a Parquet shard lacks the column {output.name}: run `store repair`")
        lists = table[output.name].combine_chunks()
        if not pa.types.is_fixed_size_list(lists.type):
            raise DamagedStore(f"column {output.name} is {lists.type}, expected a fixed-size list: run `store repair`")
        values = lists.flatten()
        if lists.null_count or values.null_count:
            raise DamagedStore(f"column {output.name} of a Parquet shard has nulls, expected none: run `store repair`")
        width = lists.type.list_size
        shape = output.shape if int(np.prod(output.shape)) == width else (width,)
        array = values.to_numpy(zero_copy_only=False).reshape(len(lists), *shape)
        tensor = checked_tensor(array, len(lists), output)
        if positions is not None:
            tensor = checked_tensor(tensor[positions[positions < len(tensor)]], len(positions), output)
        return placed(tensor, into)

    def parts(self, source: Source, output: Output, rows: int) -> Iterator[Tensor]:
        """See Format."""
        tensor = self.tensor(source, output)  # vectors: all of them together are small
        for start in range(0, len(tensor), rows):
            yield tensor[start : start + rows]


def parquet_schema(outputs: Sequence[Output], fingerprint: str) -> pa.Schema:
    """Row columns and one fixed-size list per output; shapes and fingerprint in the metadata."""
    schema = ROW_SCHEMA
    for output in outputs:
        values = pa.from_numpy_dtype(np.dtype(output.dtype))
        schema = schema.append(pa.field(output.name, pa.list_(values, int(np.prod(output.shape)))))
    metadata = {"fingerprint": fingerprint, "outputs": [output.to_dict() for output in outputs]}
    return schema.with_metadata({"stillframe": json.dumps(metadata)})


def with_features(rows: pa.Table, tensors: Mapping[str, Tensor], outputs: Sequence[Output]) -> pa.Table:
    """`rows` with one more column for each output."""
    for output in outputs:
        rows = rows.append_column(output.name, _as_lists(tensors[output.name], output))
    return rows


def _as_lists(tensor: Tensor, output: Output) -> pa.FixedSizeListArray:
    values = pa.array(np.ascontiguousarray(tensor).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(values, int(np.prod(output.shape)))


def _read(source: Source, columns: list[str], count: int | None) -> pa.Table:
    with (
        reading("Parquet"),
        # A path as text would have to be UTF-8, which names of folders need not be.
        pa.BufferReader(source) if isinstance(source, bytes) else pa.OSFile(os.fsencode(source)) as opened,
        pq.ParquetFile(opened, page_checksum_verification=True) as file,
    ):
        rows = file.metadata.num_rows
        require_count(rows, count)
        table = file.read(columns=columns)
        if len(table) != rows:  # a page whose type is damaged is skipped, not refused
            raise DamagedStore(f"a Parquet shard has {len(table)} rows, expected {rows}: run `store repair`")
        return table
