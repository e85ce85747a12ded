"""Which images of a store are used, with which labels, splits and groups: a table, before any features are read."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from extract.api import SILENT, Reporter, read_labels, read_paths
from fit.splits import Positions
from store.errors import StoppedEarly, UsageError
from store.files.names import printable, row_name
from store.reader import FeatureStore
from store.suggestions import suggest


@dataclass(frozen=True)
class ImageRows:
    """Some images of a store.

    Attributes:
        table: one row per image: path, label, split, group, sha256, …
        stored: (images,), their positions among the store's images.
        elsewhere: the same of each further store, where the images are in several.
    """

    table: pa.Table
    stored: Positions
    elsewhere: tuple[Positions, ...] = ()

    def __len__(self) -> int:
        return len(self.stored)

    def positions(self, store: int) -> Positions:
        """(images,), their positions among the images of the store of that number; 0 is the first."""
        return (self.stored, *self.elsewhere)[store]

    def texts(self, column: str) -> list[str]:
        """The values of a column that every image has."""
        values: list[str] = self.table[column].to_pylist()
        return values

    def column_values(self, column: str, option: str) -> list[str | None]:
        """A column's values as text, None where an image has none.

        Raises:
            UsageError: there is no such column.
        """
        if column not in self.table.column_names:
            names = ", ".join(self.table.column_names)
            raise UsageError(f"{option} {column}: there is no such column; choose one of {names}")
        return [None if value is None else str(value) for value in self.table[column].to_pylist()]

    def groups(self, column: str) -> list[str | None]:
        """A column's values as the groups that splits keep together; None where an image has none.

        Raises:
            UsageError: there is no such column, or all its values are missing.
        """
        groups = self.column_values(column, "--group-by")
        if all(group is None for group in groups):
            raise UsageError(
                f"--group-by {column}: no image has one; give the groups in the table that is extracted, "
                "or with --labels FILE (path,label,group)"
            )
        return groups


def require_complete(store: FeatureStore) -> None:
    """Raise StoppedEarly unless every image of the store is a row or a failure."""
    if not store.complete:
        raise StoppedEarly(f"{store.folder} is not finished: run the same `extract run` again, then this command")


def select_images(
    store: FeatureStore,
    labels: str | os.PathLike[str] | None = None,
    reporter: Reporter = SILENT,
    exclude_from: str | os.PathLike[str] | None = None,
) -> ImageRows:
    """All images of a store; or those that a table names, with its labels.

    Args:
        store: the images.
        labels: a table of path, label[, split, group]; images that it does not name are left out.
        reporter: receives what was left out.
        exclude_from: a table with a column path; images that it names are left out.

    Raises:
        UsageError: there are no images, or a table cannot be used.
    """
    table = store.images()
    if len(table) == 0:
        failed = store.snapshot.counts().failures
        if failed:
            named = suggest("store", "failures", str(store.folder))
            raise UsageError(f"{store.folder} has no rows: all {failed:,} images failed, {named} says why")
        raise UsageError(f"{store.folder} has no rows: extract images first")
    rows = ImageRows(table, np.arange(len(table)))
    if exclude_from is not None:
        rows = exclude(rows, exclude_from, reporter)
    if labels is None:
        return rows
    labelled, unknown = relabel(rows, labels, reporter)
    if len(labelled) < len(rows):
        reporter.message(f"{len(rows) - len(labelled):,} images of the store are not in {labels}: left out")
    if unknown and exclude_from is None:  # else the unknown ones may be those that are left out
        reporter.message(f"warning: {unknown:,} paths of {labels} are not in the store")
    return labelled


def exclude(rows: ImageRows, path: str | os.PathLike[str], reporter: Reporter = SILENT) -> ImageRows:
    """The rows without those that a table names in its column path; it may name one more than once.

    Raises:
        UsageError: the table is malformed, names none of the rows, or all of them.
    """
    given = read_paths(os.fspath(path))
    names = {*given, *map(row_name, given)}  # as a store writes them, or as the file is named
    paths = rows.texts("path")
    kept = np.array([position for position, name in enumerate(paths) if name not in names], np.int64)
    left_out = len(rows) - len(kept)
    if given and left_out == 0:
        raise _none_named(path, given[0], paths[0])
    if len(kept) == 0:
        raise UsageError(f"{path} names all {len(rows):,} images: nothing would be left; take out what is to stay")
    unknown = len(set(given)) - left_out
    reporter.message(f"left out, as {path} says: {left_out:,} of {len(rows):,} images")
    if unknown > 0:
        reporter.message(f"warning: {unknown:,} paths of {path} are not in the store")
    return pick(rows, kept)


def pick(rows: ImageRows, chosen: Positions) -> ImageRows:
    """The rows at these positions."""
    elsewhere = tuple(positions[chosen] for positions in rows.elsewhere)
    return ImageRows(rows.table.take(pa.array(chosen)), rows.stored[chosen], elsewhere)


def select_split(rows: ImageRows, split: str, store: FeatureStore) -> ImageRows:
    """Those of the rows that have this split.

    Raises:
        UsageError: there are none.
    """
    chosen = np.flatnonzero(np.array(rows.table["split"].to_pylist(), dtype=object) == split)
    if len(chosen) == 0:
        raise UsageError(f"no rows of split {split!r} in {store.folder}: leave --split out for all rows")
    return pick(rows, chosen)


def relabel(rows: ImageRows, path: str | os.PathLike[str], reporter: Reporter = SILENT) -> tuple[ImageRows, int]:
    """Take label, and split and group where it has them, from a table of path, label[, split, group].

    Rows that the table does not name are left out.

    Returns:
        The rows that are named, and how many paths of the table are not among the rows.

    Raises:
        UsageError: the table is malformed, has no labels, or names none of the rows.
    """
    read = read_labels(os.fspath(path))
    named = read.table
    for note in read.notes:
        reporter.message(f"note: {note}")
    if "label" not in named.column_names:
        raise UsageError(f"{path} has no column label: expected path, label and optionally split and group")
    if len(named) == 0:
        raise UsageError(f"{path} has no rows below its header: expected one for each image")
    line_of = {name: line for line, name in enumerate(named["path"].to_pylist())}
    paths = rows.texts("path")
    positions = np.array([position for position, name in enumerate(paths) if name in line_of], np.int64)
    if len(positions) == 0:
        raise _none_named(path, next(iter(line_of)), paths[0])
    table = _with_columns(rows.table.take(positions), named, [line_of[paths[position]] for position in positions])
    return ImageRows(table, rows.stored[positions]), len(line_of) - len(positions)


def _none_named(path: str | os.PathLike[str], given: str, stored: str) -> UsageError:
    """The error of a table that names no image of the store, with a path of each."""
    return UsageError(
        f"{path} names no image of the store: it has paths such as {printable(given)!r}, the store has "
        f"{printable(stored)!r}; paths are relative to the folder that was extracted"
    )


def _with_columns(table: pa.Table, named: pa.Table, lines: Sequence[int]) -> pa.Table:
    """The table with those of label, split and group that `named` has, from these lines of it."""
    order = pa.array(lines, pa.int64())
    for name in ("label", "split", "group"):
        if name in named.column_names:
            position = table.schema.get_field_index(name)
            table = table.set_column(position, name, named[name].take(order).cast(pa.string()))
    return table
