"""What a commit record says of each image: a row or a failure, one by one and as the columns of a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import pyarrow as pa

from store.json_values import JsonObject, as_list, as_object, utf8
from store.schema import InvalidField, Range, read_fields, shown

_MOST_REASON = 300  # characters of pyarrow's own
_Number = Annotated[int, Range(-(2**63), 2**63 - 1)]


@dataclass(frozen=True, slots=True)
class Row:
    """One stored image, as its commit record has it.

    `sha256` is of the source bytes; `size` (bytes) and `time` (modification, ns) are hints for when to look again.
    """

    path: str
    sha256: str
    size: _Number
    time: _Number


@dataclass(frozen=True, slots=True)
class Failure:
    """One image that gave no row, why, and what its file was then.

    Attributes:
        path: the image's row name.
        code: of the failure, such as truncated.
        message: the reason, for people.
        sha256: of the source bytes; empty if they were not read.
        size: of the file in bytes; -1 if it was missing.
        time: when the file was last modified, in ns since 1970; -1 if it was missing or that is unknown. The default, 0,
            is a record's that does not say it: the file counts as changed since then, unless its bytes are the same.
    """

    path: str
    code: str
    message: str
    sha256: str = ""
    size: _Number = -1
    time: _Number = 0


ROWS = pa.schema({"path": pa.string(), "sha256": pa.string(), "size": pa.int64(), "time": pa.int64()})
"""The fields of `Row` as columns."""

FAILURES = pa.schema([ROWS.field("path"), ("code", pa.string()), ("message", pa.string()), *list(ROWS)[1:]])
"""The fields of `Failure` as columns."""


def row_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as columns (ROWS)."""
    return pa.table({name: [getattr(row, name) for row in rows] for name in ROWS.names}, schema=ROWS)


def failure_table(failures: Sequence[Failure]) -> pa.Table:
    """Failures as columns (FAILURES)."""
    columns = {name: [getattr(failure, name) for failure in failures] for name in FAILURES.names}
    # Some are a decoder's own words: a lone surrogate in them would fit into no column.
    columns["message"] = [utf8(message).decode() for message in columns["message"]]
    return pa.table(columns, schema=FAILURES)


def rows_of(values: JsonObject) -> pa.Table:
    """The columns ROWS of a record's rows, lists of the fields that `row_fields` names, among which may be unknown ones."""
    names = as_list(values.get("row_fields"), "row_fields")
    rows = as_list(values.get("rows"), "rows")
    missing = [name for name in ROWS.names if names.count(name) != 1]
    if missing:
        raise InvalidField(f"row_fields is {shown(names)}: expected {missing[0]} once in it")
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            raise InvalidField(f"rows[{number}] is {shown(row)}: expected a list of {len(names)}")
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return _table("rows", ROWS, [columns[names.index(name)] for name in ROWS.names])


def failures_of(values: JsonObject) -> pa.Table:
    """The columns FAILURES of a record's failures."""
    failures = [
        read_fields(Failure, as_object(one, f"failures[{number}]"), within=f"failures[{number}].")
        for number, one in enumerate(as_list(values.get("failures"), "failures"))
    ]
    try:
        return failure_table(failures)
    except (pa.ArrowException, ValueError) as error:  # a lone surrogate
        reason = str(error)[:_MOST_REASON]
        raise InvalidField(f"failures cannot be columns ({reason}): expected texts that are UTF-8") from error


def _table(what: str, schema: pa.Schema, columns: Sequence[Sequence[object]]) -> pa.Table:
    """Columns of JSON values as a table."""
    arrays = []
    for expected, values in zip(schema, columns, strict=True):
        try:
            array = pa.array(values, expected.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            reason = str(error)[:_MOST_REASON]  # it repeats the value, which may be of any length
            raise InvalidField(f"{what}: expected {expected.type} for every {expected.name} ({reason})") from error
        if array.null_count:
            raise InvalidField(f"{what}: expected {expected.type} for every {expected.name}, there is None")
        arrays.append(array)
    return pa.table(arrays, schema=schema)
