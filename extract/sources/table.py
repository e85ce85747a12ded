"""A CSV or Parquet table that names images -> its listing, or labels for images that are stored already."""

import os
from collections import Counter
from io import BytesIO

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from extract.sources.base import Listing
from extract.sources.folder import SPLITS, FileColumns
from extract.sources.places import is_table, parent, place_kind
from extract.sources.reading import concurrent_map, listed_status
from store.errors import EnvironmentFailure, UsageError
from store.files.names import is_url, printable, row_name
from store.files.opening import open_files
from store.plan import LISTING_SCHEMA

_COLUMNS = ("path", "label", "split", "group")


def read_labels(path: str) -> pa.Table:
    """The columns path, label, split and group of a CSV or Parquet table, those that it has; paths as row names.

    Raises:
        UsageError: there is no such table, it has no column path, repeats a path, or a column is not text.
        EnvironmentFailure: it cannot be read.
    """
    if not is_table(path) or place_kind(path) != "file":
        raise UsageError(f"{path} is not a table: expected a .csv or .parquet file with a column path")
    given = _read_table(path)
    texts = {name: _texts(given, name, path) for name in given.column_names}
    names = [_table_name(name, number, path) for number, name in enumerate(texts["path"], start=1)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise UsageError(
            f"{path} names {printable(repeated[0])} more than once ({len(repeated)} paths repeat): "
            "a path is a row's identity, keep one row for each"
        )
    columns: dict[str, list[str] | list[str | None]] = {**texts, "path": names}
    if "split" in columns:
        columns["split"] = [_split(split, number, path) for number, split in enumerate(texts["split"], start=1)]
    return pa.table({name: pa.array(columns[name], pa.string()) for name in _COLUMNS if name in columns})


def list_table(path: str) -> Listing:
    """The images that a table names, relative to its own folder.

    Raises:
        UsageError: see `read_labels`.
        EnvironmentFailure: the table cannot be read, or an object store cannot be reached.
    """
    table = read_labels(path)
    for name in _COLUMNS:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), pa.string()))
    files, names = open_files(parent(path)), table["path"].to_pylist()
    listed = FileColumns()
    found = concurrent_map(files, lambda name: listed_status(files, name), names)
    for name, (size, time) in zip(names, found, strict=True):
        listed.add(name, size, time)
    columns = listed.columns()
    for name in ("size", "time"):
        table = table.append_column(name, columns[name])
    return Listing(parent(path), table.select(LISTING_SCHEMA.names).sort_by("path"))


def _read_table(path: str) -> pa.Table:
    """The columns that mean something here, each at most once and valid UTF-8."""
    try:
        source = BytesIO(open_files(path).read("")) if is_url(path) else path
        table = pq.read_table(source) if path.lower().endswith(".parquet") else _read_csv(source)
        found = table.column_names
        if "path" not in found:
            raise UsageError(f"{path} has the columns {', '.join(found)}: expected one named path")
        chosen = [name for name in found if name in _COLUMNS]
        if len(set(chosen)) < len(chosen):
            raise UsageError(f"{path} has the columns {', '.join(found)}: expected each name once")
        table = table.select(chosen)
        table.validate(full=True)
        return table
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the table {path}: {printable(str(error))}; expected a header line and UTF-8 text"
        ) from error
    except OSError as error:
        raise EnvironmentFailure(f"cannot read the table {path}: {error.strerror or error}") from error


def _read_csv(source: str | BytesIO) -> pa.Table:
    options = pa.csv.ConvertOptions(
        column_types=dict.fromkeys(_COLUMNS, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    return pa.csv.read_csv(source, convert_options=options, parse_options=pa.csv.ParseOptions(newlines_in_values=True))


def _texts(table: pa.Table, name: str, path: str) -> list[str | None]:
    column = table[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if not (
        pa.types.is_string(column.type)
        or pa.types.is_large_string(column.type)
        or pa.types.is_integer(column.type)
        or pa.types.is_null(column.type)
    ):
        raise UsageError(f"column {name} of {path} is {column.type}, expected text")
    texts = [None if value in (None, "") else str(value) for value in column.to_pylist()]
    if any(text is not None and "\0" in text for text in texts):  # no file name and no HDF5 text can hold it
        raise UsageError(f"column {name} of {path} has a NUL character in it, expected text")
    return texts


def _table_name(name: str | None, number: int, path: str) -> str:
    if name is None:
        raise UsageError(f"row {number} of {path} has no path: fill it in or drop the row")
    return row_name(_normal(name, parent(path)))


def _normal(name: str, root: str) -> str:
    """`name` without `.`, `//`, and folders that `..` leaves again; `..` after a link is left for the system to resolve."""
    start = "/" if name.startswith("/") else ""
    parts: list[str] = []
    for part in name.split("/"):
        if (
            part == ".."
            and parts
            and parts[-1] != ".."
            and not os.path.islink(os.path.join(root, start + "/".join(parts)))
        ):
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return start + "/".join(parts) or "."


def _split(split: str | None, number: int, path: str) -> str | None:
    if split is not None and split not in SPLITS:
        raise UsageError(f"row {number} of {path} has split {split!r}: expected train, validation, test, or nothing")
    return split and SPLITS[split]
