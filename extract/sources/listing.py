"""DATA -> a sorted listing: one row per image, with label, split and group where the folders or the table give them."""

import difflib
import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import pyarrow as pa

from extract.sources.base import TABLE_ENDINGS, Listing, describe_left_out, is_table, place_kind
from extract.sources.folder import IMAGE_ENDINGS, list_folder
from extract.sources.table import list_table
from store.errors import UsageError
from store.files.names import file_path, is_url, printable, row_name
from store.suggestions import suggest


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
    kind = place_kind(place)
    if kind == "folder":
        listing = list_folder(place)
        source = f"under {place}"
    elif kind == "file" and is_table(place):
        listing = list_table(place)
        source = f"in the table {place}"
    else:
        raise _not_data(place, kind == "file")
    found = len(listing)
    listing = _filtered(listing, include, exclude)
    if len(listing) == 0:
        if found:
            raise UsageError(
                f"none of the {found:,} images {source} passes --include and --exclude: loosen the patterns"
            )
        left_out = f" ({describe_left_out(listing.left_out)})" if listing.left_out else ""
        raise UsageError(f"no images {source}{left_out}: expected files ending in .jpg, .png, .webp, …")
    return listing


def _not_data(place: str, is_file: bool) -> UsageError:
    expected = "expected a folder of images, or a .csv, .tsv or .parquet table with a column path"
    if not is_file:
        return UsageError(f"there is no {place}{_nearest_beside(place)}; {expected}")
    stem, ending = os.path.splitext(place)
    if ending.lower() in IMAGE_ENDINGS:
        return UsageError(
            f"DATA is an image: {expected}; {suggest('extract', 'classify', place)} says what is in one image"
        )
    close = difflib.get_close_matches(ending.lower(), TABLE_ENDINGS, n=1, cutoff=0.7)
    meant = f": did you mean {stem}{close[0]}?" if close else ""
    return UsageError(f"DATA is the file {place}{meant}; {expected}")


def _nearest_beside(place: str) -> str:
    """`: did you mean …?` with the name beside it that is closest to that of a path; empty if there is none."""
    folder, name = os.path.split(place.rstrip("/"))
    try:
        names = [] if is_url(place) else os.listdir(folder or ".")
    except OSError:
        names = []
    close = difflib.get_close_matches(name, names, n=1)
    return f": did you mean {os.path.join(folder, close[0])}?" if close else ""


def find_images(given: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Row names of the images that files, folders, tables, glob patterns and URLs stand for, in the order given.

    Raises:
        UsageError: a pattern matches nothing, a folder or table has no images, or not one of the files exists.
    """
    names = [name for place in given for name in images_named(place)]
    require_any(names)
    return names


def images_named(given: str | os.PathLike[str]) -> list[str]:
    """Row names of the images that a file, a folder, a table, a glob pattern or a URL stands for.

    Raises:
        UsageError: the pattern matches nothing, or the folder or table has no images.
    """
    name = os.fspath(given)
    kind = place_kind(name)
    if kind == "folder" or (kind == "file" and is_table(name)):
        listing = list_data(name)
        root = row_name(listing.root).rstrip("/")
        joined = [f"{root}/{path}" for path in listing.table["path"].to_pylist()]
        return joined if is_url(name) else list(map(os.path.normpath, joined))
    if not is_url(name) and not os.path.lexists(name) and glob.has_magic(name):
        matched = sorted(path for path in glob.glob(name, recursive=True) if not os.path.isdir(path))
        if not matched:
            raise UsageError(f"no file matches {name!r}: expected images, folders of images, or glob patterns")
        return list(map(row_name, matched))
    return [row_name(name)]


def require_any(names: Sequence[str]) -> None:
    """Raise UsageError if there are files and not one of them exists; URLs are not looked up."""
    if names and not any(is_url(name) or os.path.lexists(file_path(name)) for name in names):
        others = ", nor are the other files named" if len(names) > 1 else ""
        raise UsageError(
            f"there is no {printable(names[0])}{others}: expected image files, folders of images, or glob patterns"
        )


def _filtered(listing: Listing, include: Sequence[str], exclude: Sequence[str]) -> Listing:
    if not include and not exclude:
        return listing

    def matches(path: str, patterns: Sequence[str]) -> bool:
        return any(fnmatchcase(path, pattern) or fnmatchcase(path.rpartition("/")[2], pattern) for pattern in patterns)

    keep = [
        (not include or matches(path, include)) and not matches(path, exclude)
        for path in listing.table["path"].to_pylist()
    ]
    return replace(listing, table=listing.table.filter(pa.array(keep, pa.bool_())))
