"""A store's rows and features as one file for other tools. Everything but npz is written in batches.

npy       features alone, one array; the rows are beside it in <file>.rows.parquet
npz       one array per column and one for the features (in memory)
csv       rows, then one column per feature value: f0, f1, … in C order
parquet   rows, then one fixed-size list per row, as in a Parquet shard
tfrecord  one tf.train.Example per row; features as a float list in C order
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from store.errors import EnvironmentFailure, UsageError
from store.files.local import whole_file
from store.reader import FeatureStore
from store.recipe import Output
from store.tensors import Tensor

_BATCH_ROWS = 256


def export(
    features: FeatureStore,
    to: str,
    path: Path,
    output: str | None = None,
    split: str | None = None,
    force: bool = False,
) -> list[Path]:
    """Write one output of a store to `path` and return the files written.

    Raises:
        UsageError: unknown format, output or split, or a file is there and `force` is not given.
        EnvironmentFailure: the file cannot be written; nothing is left half-written.
    """
    if to not in EXPORTERS:
        raise UsageError(f"--to is {to!r}: expected one of {', '.join(EXPORTERS)}")
    chosen = features.find_output(output)
    beside = [path.with_name(f"{path.name}.rows.parquet")] if to == "npy" else []
    for target in (path, *beside):
        if target.exists() and not force:
            raise UsageError(f"{target} exists already: choose another --out, or replace it with --force")
    try:
        with whole_file(path) as part:
            EXPORTERS[to](features, chosen, split, part)
        for target in beside:
            with whole_file(target) as part, part.open("wb") as file:
                pq.write_table(features.table(split), file)
    except EnvironmentFailure:
        raise
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write {path}: {error.strerror or error}; fix that, then run the same command again"
        ) from error
    return [path, *beside]


def _batches(features: FeatureStore, output: Output, split: str | None) -> Iterator[tuple[Tensor, pa.Table]]:
    return features.batches(_BATCH_ROWS, split=split, output=output.name)


def _write_npy(features: FeatureStore, output: Output, split: str | None, path: Path) -> None:
    rows = len(features.table(split))
    with path.open("wb") as file:
        header = {"descr": np.dtype(output.dtype).str, "fortran_order": False, "shape": (rows, *output.shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for tensor, _ in _batches(features, output, split):
            file.write(np.ascontiguousarray(tensor).tobytes())


def _write_npz(features: FeatureStore, output: Output, split: str | None, path: Path) -> None:
    tensor, rows = features.arrays(output.name, split)
    columns = {}
    for name in rows.column_names:
        column = rows[name]
        texts = pa.types.is_string(column.type)
        columns[name] = np.array(column.fill_null("").to_pylist(), str) if texts else column.to_numpy()
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **columns, **{output.name: tensor})


def _write_csv(features: FeatureStore, output: Output, split: str | None, path: Path) -> None:
    width = int(np.prod(output.shape))
    names = [*features.table().column_names, *(f"f{number}" for number in range(width))]
    with path.open("wb") as file, contextlib.ExitStack() as stack:
        writer = None
        for tensor, rows in _batches(features, output, split):
            values = tensor.reshape(len(tensor), width).astype(np.float32)
            table = pa.table([*rows.columns, *(pa.array(values[:, number]) for number in range(width))], names=names)
            if writer is None:
                writer = stack.enter_context(pyarrow.csv.CSVWriter(file, table.schema))
            writer.write_table(table)
        if writer is None:
            file.write((",".join(f'"{name}"' for name in names) + "\n").encode())


def _write_parquet(features: FeatureStore, output: Output, split: str | None, path: Path) -> None:
    from store.formats.parquet import parquet_schema, with_features

    schema = parquet_schema([output], features.fingerprint)
    with (
        path.open("wb") as file,
        pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
    ):
        for tensor, rows in _batches(features, output, split):
            writer.write_table(with_features(rows, {output.name: tensor}, [output]).cast(schema))


def _write_tfrecord(features: FeatureStore, output: Output, split: str | None, path: Path) -> None:
    from store.tfrecord import ExampleWriter

    with path.open("wb") as file:
        writer = ExampleWriter(file, output)
        for tensor, rows in _batches(features, output, split):
            for values, row in zip(tensor, rows.to_pylist(), strict=True):
                writer.write(row, values)


EXPORTERS: dict[str, Callable[[FeatureStore, Output, str | None, Path], None]] = {
    "npy": _write_npy,
    "npz": _write_npz,
    "csv": _write_csv,
    "parquet": _write_parquet,
    "tfrecord": _write_tfrecord,
}
