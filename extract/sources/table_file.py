"""A CSV or Parquet file that names images -> its columns as text, however header, values and types are spelled.

Other tables in CSV files are read by the same rules: UTF-8 or UTF-16, separated by commas, semicolons or tabs.
"""

import codecs
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO, StringIO
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from store.errors import EnvironmentFailure, UsageError, shortage
from store.files.names import is_url, printable
from store.files.opening import open_files

COLUMNS = ("path", "label", "split", "group")
"""The columns that mean something here; their names are read in any case, and with spaces around them."""

_DELIMITERS = (",", ";", "\t")
_HEADER_BYTES = 65536


@dataclass(frozen=True)
class TextTable:
    """Those of COLUMNS that a file has, as texts or None; and what else was found, a sentence each."""

    columns: Mapping[str, list[str | None]]
    notes: tuple[str, ...]


def read_text_table(path: str) -> TextTable:
    """The columns of a table that mean something here.

    Raises:
        UsageError: it is not a table, it has no column path or a column twice, or a column that is not text.
        EnvironmentFailure: it cannot be read.
    """
    try:
        # As a file that is open: Arrow takes no path that is not UTF-8.
        with BytesIO(open_files(path).read("")) if is_url(path) else open(path, "rb") as source:
            table = pq.read_table(source) if path.lower().endswith(".parquet") else _read_csv(source)
        found = {position: _column(name) for position, name in enumerate(table.column_names)}
        chosen = {position: name for position, name in found.items() if name in COLUMNS}
        _require_columns(path, table.column_names, list(chosen.values()))
        notes = _notes(
            path, [name for position, name in enumerate(table.column_names) if position not in chosen], chosen
        )
        table = table.select(list(chosen)).rename_columns(list(chosen.values()))
        table.validate(full=True)
        return TextTable({name: _texts(table[name], name, path) for name in table.column_names}, notes)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise shortage(error) or UsageError(
            f"cannot read the table {path}: {printable(str(error))}; expected a header line and UTF-8 text"
        ) from error
    except OSError as error:
        raise EnvironmentFailure(f"cannot read the table {path}: {error.strerror or error}") from error


def read_csv_rows(path: str, is_header: Callable[[Sequence[str]], bool]) -> list[list[str]]:
    """The rows of a CSV file that are not empty, without spaces around cells.

    Args:
        path: the file, or its URL.
        is_header: whether a first row, with spaces around its cells, is what is expected; the separator is the first one
            under which it is.

    Raises:
        UsageError: there is no such file, or it is not a CSV file.
        EnvironmentFailure: it cannot be read.
    """
    try:
        content = open_files(path).read("") if is_url(path) else Path(path).read_bytes()
        text = content.decode(_text_encoding(content))
        reader = csv.reader(StringIO(text, newline=None), delimiter=_delimiter(text, is_header))
        return [[cell.strip() for cell in row] for row in reader if any(map(str.strip, row))]
    except (FileNotFoundError, IsADirectoryError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"cannot read the table {path}: {printable(str(error))}; expected a CSV file") from error
    except OSError as error:
        raise EnvironmentFailure(f"cannot read the table {path}: {error.strerror or error}") from error


def _column(name: str) -> str:
    return name.strip().casefold()


def _require_columns(path: str, names: list[str], chosen: list[str]) -> None:
    shown = printable(", ".join(names))
    if "path" not in chosen:
        raise UsageError(f"{path} has the columns {shown}: expected one named path")
    if len(set(chosen)) < len(chosen):
        raise UsageError(f"{path} has the columns {shown}: expected each name once")


def _notes(path: str, unused: list[str], chosen: Mapping[int, str]) -> tuple[str, ...]:
    """A table without labels whose other columns may be meant as such should not go by in silence."""
    if "label" in chosen.values() or not unused:
        return ()
    return (f"{path} has no column label; columns that are not used: {printable(', '.join(unused))}",)


def _read_csv(source: BinaryIO) -> pa.Table:
    encoding, delimiter, names = _header(source)
    options = pa.csv.ConvertOptions(
        column_types={name: pa.string() for name in names if _column(name) in COLUMNS},
        strings_can_be_null=True,
        null_values=[""],
    )
    parsing = pa.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    reading = pa.csv.ReadOptions(encoding=encoding)
    return pa.csv.read_csv(source, read_options=reading, convert_options=options, parse_options=parsing)


def _header(source: BinaryIO) -> tuple[str, str, list[str]]:
    """Encoding, delimiter (one under which the header has a column path; a comma if none does), names of the header."""
    start = source.read(_HEADER_BYTES)
    source.seek(0)
    encoding = _text_encoding(start)
    text = start.decode(encoding, errors="replace")
    delimiter = _delimiter(text, lambda names: "path" in map(_column, names))
    return encoding.removesuffix("-sig"), delimiter, _first_row(text, delimiter)


def _text_encoding(start: bytes) -> str:
    """Of a text that begins with those bytes: what Windows PowerShell and Excel write beside UTF-8 begins with a mark."""
    return "utf-16" if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"


def _delimiter(text: str, is_header: Callable[[Sequence[str]], bool]) -> str:
    """The one under which a table's first row is its header; a comma if there is none."""
    start = text[:_HEADER_BYTES]
    return next((delimiter for delimiter in _DELIMITERS if is_header(_first_row(start, delimiter))), _DELIMITERS[0])


def _first_row(text: str, delimiter: str) -> list[str]:
    return next(filter(None, csv.reader(StringIO(text, newline=None), delimiter=delimiter)), [])


def _texts(column: pa.ChunkedArray, name: str, path: str) -> list[str | None]:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind, types = column.type, pa.types
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    number = types.is_floating(kind) or types.is_decimal(kind) or types.is_boolean(kind)
    if not (text or types.is_integer(kind) or types.is_null(kind) or (number and name in ("label", "group"))):
        raise UsageError(f"column {name} of {path} is {kind}, expected text")
    if number:
        column = _spelled(column)
    texts = [None if value in (None, "") else str(value) for value in column.to_pylist()]
    if any(text is not None and "\0" in text for text in texts):  # no file name and no HDF5 text can hold it
        raise UsageError(f"column {name} of {path} has a NUL character in it, expected text")
    return texts


def _spelled(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Numbers and booleans as text: whole numbers without a point, for pandas makes 1.0 of 1 where a value is missing."""
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), None, column)
    return pc.replace_substring_regex(column.cast(pa.string()), r"^(-?\d+)\.0+$", r"\1")
