"""DATA: what it can be (a folder, a table, a file, at a path or a URL), and the listing that every source gives."""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pyarrow as pa

from store.files.names import file_path, is_url, printable
from store.files.opening import open_files

TABLE_ENDINGS = (".csv", ".tsv", ".parquet")

_SHOWN = 6
_COMMON = (".jpg", ".jpeg", ".png", ".tiff", ".heic")


@dataclass(frozen=True)
class Listing:
    """The images of DATA.

    Attributes:
        root: the folder or URL that paths are relative to.
        table: one row per image, LISTING_SCHEMA, sorted by path.
        left_out: files of the folder that are not images: the number of each ending, which may be empty.
        notes: what a user should know about how DATA was understood, a sentence each.
    """

    root: str
    table: pa.Table
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def others(self) -> int:
        """How many files were left out."""
        return sum(self.left_out.values())


def place_kind(place: str) -> Literal["file", "folder", "nothing"]:
    """What is at a path or URL.

    Raises:
        EnvironmentFailure: an object store cannot be reached, or the file system does not let us look.
    """
    files = open_files(place)
    if files.status("") is not None:
        return "file"
    is_folder = files.exists() if is_url(place) else os.path.isdir(place)
    return "folder" if is_folder else "nothing"


def is_table(place: str) -> bool:
    """Whether a path or URL ends as a table does."""
    return place.lower().endswith(TABLE_ENDINGS)


def parent(place: str) -> str:
    """The folder of a file, which the paths in a table are relative to."""
    return place.rpartition("/")[0] if is_url(place) else os.fspath(Path(place).parent)


def image_root(data: str) -> str:
    """The folder or URL that row names are relative to.

    Args:
        data: what was extracted, as a row name: a folder, or a table in it.
    """
    place = file_path(data)
    return parent(place) if is_table(place) and not os.path.isdir(place) else place


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """Files by their endings, the most frequent first, as in `3 files left out: 2 .txt, 1 .pdf`; empty if there are none."""
    if not left_out:
        return ""
    ordered = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count:,} {_ending(ending)}" for ending, count in ordered[:_SHOWN]]
    if rest := sum(count for _, count in ordered[_SHOWN:]):
        shown.append(f"{rest:,} others")
    total = sum(left_out.values())
    return f"{total:,} {'file' if total == 1 else 'files'} left out: {', '.join(shown)}"


def _ending(ending: str) -> str:
    close = difflib.get_close_matches(ending, _COMMON, n=1, cutoff=0.75)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f"{printable(ending)}{meant}" if ending else "without an ending"
