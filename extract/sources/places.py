"""What DATA can be: a folder, a table, a file, at a path or a URL."""

import os
from pathlib import Path
from typing import Literal

from store.files.names import file_path, is_url
from store.files.opening import open_files

TABLE_ENDINGS = (".csv", ".tsv", ".parquet")


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
