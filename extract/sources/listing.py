"""DATA -> a sorted listing: one row an image, with label, split and group where the layout or the table says so."""

import glob
import os
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from extract.sources.reading import ask, images_at
from store.errors import EnvironmentFailure, UsageError
from store.files.names import file_path, is_url, printable, row_name
from store.files.opening import open_files
from store.files.remote import RemoteFiles
from store.plan import LISTING_SCHEMA

IMAGE_ENDINGS = frozenset(
    [
        ".apng",
        ".avif",
        ".bmp",
        ".dib",
        ".gif",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pcx",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tga",
        ".tif",
        ".tiff",
        ".webp",
    ]
)
"""Which files of a folder are taken for images; what they really are, their content decides."""

_SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
_LISTING_ENDINGS = (".csv", ".parquet")
_COLUMNS = ("path", "label", "split", "group")


@dataclass(frozen=True)
class Listing:
    """The images of DATA. `table` has LISTING_SCHEMA and is sorted by path; `others` counts files that are no images.

    `root` is the folder or URL that paths are relative to.
    """

    root: str
    table: pa.Table
    others: int = 0

    def __len__(self) -> int:
        return len(self.table)


def list_data(data: str | os.PathLike[str], include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Listing:
    """List a folder of images, or the images that a CSV or Parquet table names.

    Args:
        data: the folder or the table: a path, or a URL of an object store.
        include: glob patterns; only rows whose path or file name matches one are kept.
        exclude: glob patterns; rows whose path or file name matches one are dropped.

    Raises:
        UsageError: nothing there, no images in it, or a malformed table.
        EnvironmentFailure: a folder cannot be read, or an object store not be reached.
    """
    place = os.fspath(data)
    is_file, is_folder = _kinds(place)
    if is_folder:
        listing = _list_folder(place)
        source = f"under {place}"
    elif is_file and _is_table(place):
        listing = _list_table(place)
        source = f"in the table {place}"
    else:
        what = f"DATA is the file {place}" if is_file else f"there is no {place}"
        raise UsageError(f"{what}: expected a folder of images, or a .csv or .parquet table with a column path")
    found = len(listing)
    listing = _filtered(listing, include, exclude)
    if len(listing) == 0:
        if found:
            raise UsageError(
                f"none of the {found:,} images {source} passes --include and --exclude: loosen the patterns"
            )
        others = f" ({listing.others:,} other files are there)" if listing.others else ""
        raise UsageError(f"no images {source}{others}: expected files ending in .jpg, .png, .webp, …")
    return listing


def find_images(given: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Row names of the images that files, folders, tables, glob patterns and URLs stand for, in the order given.

    Raises:
        UsageError: a pattern matches nothing, or a folder or table has no images.
    """
    paths: list[str] = []
    for name in (os.fspath(name) for name in given):
        is_file, is_folder = _kinds(name)
        if is_folder or (is_file and _is_table(name)):
            listing = list_data(name)
            root = row_name(listing.root).rstrip("/")
            joined = [f"{root}/{path}" for path in listing.table["path"].to_pylist()]
            paths += joined if is_url(name) else map(os.path.normpath, joined)
        elif not is_url(name) and not os.path.lexists(name) and glob.has_magic(name):
            matched = sorted(path for path in glob.glob(name, recursive=True) if not os.path.isdir(path))
            if not matched:
                raise UsageError(f"no file matches {name!r}: expected images, folders of images, or glob patterns")
            paths += map(row_name, matched)
        else:
            paths.append(row_name(name))
    return paths


def image_root(data: str) -> str:
    """The folder or URL that row names are relative to, of what was extracted (as a row name): a folder, or a table in it."""
    place = file_path(data)
    return _parent(place) if _is_table(place) and not os.path.isdir(place) else place


def _kinds(place: str) -> tuple[bool, bool]:
    """Whether a file is there, and whether a folder."""
    if not is_url(place):
        return os.path.isfile(place), os.path.isdir(place)
    remote = RemoteFiles(place)
    is_file = remote.status("") is not None
    return is_file, not is_file and remote.exists()


def _is_table(place: str) -> bool:
    return place.lower().endswith(_LISTING_ENDINGS)


def _parent(place: str) -> str:
    """The folder that a table lies in."""
    return place.rpartition("/")[0] if is_url(place) else os.fspath(Path(place).parent)


def _filtered(listing: Listing, include: Sequence[str], exclude: Sequence[str]) -> Listing:
    if not include and not exclude:
        return listing

    def matches(path: str, patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(path, pattern) or fnmatchcase(path.rpartition("/")[2], pattern) for pattern in patterns)

    keep = [
        (not include or matches(path, include)) and not matches(path, exclude)
        for path in listing.table["path"].to_pylist()
    ]
    return Listing(listing.root, listing.table.filter(pa.array(keep, pa.bool_())), listing.others)


class _Files:
    """Files found so far, a column a field: an object a file would take more memory than all else."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sizes = array("q")
        self.times = array("q")

    def add(self, name: str, size: int, time: int) -> None:
        """Take in a file by its row name; size and time (ns) are -1 where they are unknown."""
        self.names.append(name)
        self.sizes.append(size)
        self.times.append(time)

    def columns(self) -> dict[str, pa.Array]:
        """Path, size and time."""
        return {
            "path": pa.array(self.names, pa.string()),
            "size": pa.array(np.asarray(self.sizes)),
            "time": pa.array(np.asarray(self.times)),
        }


def _list_folder(root: str) -> Listing:
    files, others = _found(root)
    columns = files.columns()
    folders = pc.replace_substring_regex(columns["path"], "/?[^/]*$", "").dictionary_encode()
    labels, splits = _labels_and_splits(folders.dictionary.to_pylist())
    columns["label"] = pa.array(labels, pa.string()).take(folders.indices)
    columns["split"] = pa.array(splits, pa.string()).take(folders.indices)
    columns["group"] = pa.nulls(len(folders), pa.string())
    return Listing(root, pa.table(columns).select(LISTING_SCHEMA.names).sort_by("path").combine_chunks(), others)


def _found(root: str) -> tuple[_Files, int]:
    """Files with an image ending and the number of others."""
    files, others = _Files(), 0
    for name, status in open_files(root).walk():
        if _is_image(name):
            files.add(row_name(name), *((status.size, status.modified) if status else (-1, -1)))
        else:
            others += 1
    return files, others


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in IMAGE_ENDINGS


def _labels_and_splits(folders: Sequence[str]) -> tuple[list[str | None], list[str | None]]:
    """For each folder with images its first part as label; or split and label, where all first parts are split names."""
    parts = [folder.split("/") for folder in folders]
    tops = {first for first, *_ in parts}
    if "train" in tops and tops <= set(_SPLITS):
        labels = [second[0] if second else None for _, *second in parts]
        return labels, [_SPLITS[first] for first, *_ in parts]
    return [first or None for first, *_ in parts], [None] * len(folders)


def read_labels(path: str) -> pa.Table:
    """The columns path, label, split and group of a CSV or Parquet table, as far as it has them; paths as row names.

    Raises:
        UsageError: there is no such table, it has no column path, repeats a path, or holds what is no text.
        EnvironmentFailure: it cannot be read.
    """
    if not _is_table(path) or not _kinds(path)[0]:
        raise UsageError(f"{path} is no table: expected a .csv or .parquet file with a column path")
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


def _list_table(path: str) -> Listing:
    table = read_labels(path)
    for name in _COLUMNS:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(len(table), pa.string()))
    files, names, images = _Files(), table["path"].to_pylist(), images_at(_parent(path))
    for name, (size, time) in zip(names, ask(images, images.size_and_time, names), strict=True):
        files.add(name, size, time)
    columns = files.columns()
    for name in ("size", "time"):
        table = table.append_column(name, columns[name])
    return Listing(_parent(path), table.select(LISTING_SCHEMA.names).sort_by("path"))


def _read_table(path: str) -> pa.Table:
    """The columns that count here, each there at most once and valid UTF-8."""
    try:
        source = BytesIO(RemoteFiles(path).read("")) if is_url(path) else path
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
    return row_name(_normal(name, _parent(path)))


def _normal(name: str, root: str) -> str:
    """`name` without `.`, `//`, and folders that `..` leaves again; what `..` makes of a link, only the system knows."""
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
    if split is not None and split not in _SPLITS:
        raise UsageError(f"row {number} of {path} has split {split!r}: expected train, validation, test, or nothing")
    return split and _SPLITS[split]
