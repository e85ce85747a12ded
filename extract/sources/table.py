"""A CSV or Parquet table that names images -> its listing, or labels for images that are stored already."""

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa

from extract.sources.base import Listing, is_table, parent, place_kind
from extract.sources.folder import FileColumns
from extract.sources.reading import concurrent_map, listed_status
from extract.sources.spelling import find_split, report_changed
from extract.sources.table_file import COLUMNS, read_text_table
from store.errors import UsageError
from store.files.names import printable, row_name
from store.files.opening import open_files
from store.labels import plain_label
from store.plan import LISTING_SCHEMA


@dataclass(frozen=True)
class LabelTable:
    """What a table says of images.

    Attributes:
        table: path (a row name), and label, split and group, those that it has.
        notes: what was understood otherwise than it is written, a sentence each.
    """

    table: pa.Table
    notes: tuple[str, ...]


def read_labels(path: str) -> LabelTable:
    """The columns path, label, split and group of a CSV or Parquet table, those that it has; paths as row names.

    Raises:
        UsageError: there is no such table, it has no column path, repeats a path, or a column is not text.
        EnvironmentFailure: it cannot be read.
    """
    _require_table(path)
    given = read_text_table(path)
    columns = dict(given.columns)
    notes = list(given.notes)
    for name in ("label", "group"):
        if name in columns:
            columns[name], changed = _plain_texts(columns[name], f"{name}s of {path}")
            notes += changed
    if "split" in columns:
        columns["split"] = [_split(split, number, path) for number, split in enumerate(columns["split"], start=1)]
    columns["path"], changed = _row_names(columns["path"], path)
    table = pa.table({name: pa.array(columns[name], pa.string()) for name in COLUMNS if name in columns})
    return LabelTable(table, (*notes, *changed))


def read_paths(path: str) -> list[str]:
    """The texts in the column path of a CSV or Parquet table, as they are, in its order; one may be there repeatedly.

    Raises:
        UsageError: there is no such table, it has no column path, or a row has none.
        EnvironmentFailure: it cannot be read.
    """
    _require_table(path)
    return [_path(name, number, path) for number, name in enumerate(read_text_table(path).columns["path"], start=1)]


def _require_table(path: str) -> None:
    expected = "expected a .csv, .tsv or .parquet file with a column path"
    kind = place_kind(path)
    if kind == "nothing":
        raise UsageError(f"there is no file {path}: {expected}")
    if kind == "folder" or not is_table(path):
        raise UsageError(f"{path} is not a table: {expected}")


def _plain_texts(texts: list[str | None], what: str) -> tuple[list[str | None], list[str]]:
    """Texts as they are stored, blank ones absent; and a sentence if any is spelled otherwise."""
    before = [text for text in texts if text is not None]
    after = {text: plain_label(text) for text in set(before)}
    notes = report_changed(what, before, [after[text] for text in before])
    return [None if text is None else after[text] or None for text in texts], notes


def _row_names(texts: list[str | None], path: str) -> tuple[list[str | None], list[str]]:
    """The row names that a table's paths stand for; and a sentence for each way in which they are written otherwise.

    Raises:
        UsageError: a row has no path, or two have the same.
    """
    given = [_path(name, number, path) for number, name in enumerate(texts, start=1)]
    given, notes = _understood(given, path)
    names = [row_name(_normal(name, parent(path))) for name in given]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        how_many = "1 path repeats" if len(repeated) == 1 else f"{len(repeated):,} paths repeat"
        raise UsageError(
            f"{path} names {printable(repeated[0])} more than once ({how_many}): a path is a row's identity, keep one row "
            "for each"
        )
    return [*names], notes


def _path(name: str | None, number: int, path: str) -> str:
    if name is None or not name.strip():
        raise UsageError(f"row {number} of {path} has no path: fill it in or drop the row")
    return name


def _understood(names: list[str], path: str) -> tuple[list[str], list[str]]:
    r"""Paths without white space around them, and with `/` for the `\` of Windows.

    Both can be part of a file's name. They are if the first path that has them is that of a file.
    """
    ways: tuple[tuple[str, Callable[[str], str]], ...] = (
        ("white space around paths is left out", str.strip),
        ("paths are read as those of Windows", lambda name: name.replace("\\", "/")),
    )
    files, notes = open_files(parent(path)), []
    for what, change in ways:
        example = next((name for name in names if change(name) != name), None)
        if example is not None and files.status(example) is None:
            notes.append(f"{path}: {what}: {printable(example)!r} is {printable(change(example))!r}")
            names = [change(name) for name in names]
    return names, notes


def list_table(path: str) -> Listing:
    """The images that a table names, relative to its own folder.

    Raises:
        UsageError: see `read_labels`.
        EnvironmentFailure: the table cannot be read, or an object store cannot be reached.
    """
    labels = read_labels(path)
    table = labels.table
    for name in COLUMNS:
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
    return Listing(parent(path), table.select(LISTING_SCHEMA.names).sort_by("path"), notes=labels.notes)


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


def _split(text: str | None, number: int, path: str) -> str | None:
    if text is None or not text.strip():
        return None
    split = find_split(text)
    if split is None:
        raise UsageError(f"row {number} of {path} has split {text!r}: expected train, validation, test, or nothing")
    return split
