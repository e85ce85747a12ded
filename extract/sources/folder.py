"""A folder of images -> its listing: label and split from the names of folders."""

import os
from array import array
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from extract.sources.base import Listing
from store.files.base import FileStatus
from store.files.names import row_name
from store.files.opening import open_files
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
"""Which files of a folder are listed as images. What they really are, their content decides when they are decoded."""

SPLITS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
"""Folder names and table values that mean a split."""


class FileColumns:
    """Files as columns: an object for each file would take more memory than all else."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sizes = array("q")
        self.times = array("q")

    def add(self, name: str, size: int, time: int) -> None:
        """Add a file by its row name; size and time (ns) are -1 where unknown."""
        self.names.append(name)
        self.sizes.append(size)
        self.times.append(time)

    def columns(self) -> dict[str, pa.Array]:
        """The columns path, size and time."""
        return {
            "path": pa.array(self.names, pa.string()),
            "size": pa.array(np.asarray(self.sizes)),
            "time": pa.array(np.asarray(self.times)),
        }


def list_folder(root: str) -> Listing:
    """The images below a folder or URL; hidden files are skipped, files that are not images are counted.

    Raises:
        EnvironmentFailure: a folder cannot be read, or an object store cannot be reached.
    """
    files, others = _image_columns(open_files(root).walk())
    columns = files.columns()
    folders = pc.replace_substring_regex(columns["path"], "/?[^/]*$", "").dictionary_encode()
    labels, splits = labels_and_splits(folders.dictionary.to_pylist())
    columns["label"] = pa.array(labels, pa.string()).take(folders.indices)
    columns["split"] = pa.array(splits, pa.string()).take(folders.indices)
    columns["group"] = pa.nulls(len(folders), pa.string())
    return Listing(root, pa.table(columns).select(LISTING_SCHEMA.names).sort_by("path").combine_chunks(), others)


def _image_columns(found: Iterable[tuple[str, FileStatus | None]]) -> tuple[FileColumns, int]:
    """Files with an image ending, and the number of others."""
    files, others = FileColumns(), 0
    for name, status in found:
        if os.path.splitext(name)[1].lower() in IMAGE_ENDINGS:
            files.add(row_name(name), *((status.size, status.modified) if status else (-1, -1)))
        else:
            others += 1
    return files, others


def labels_and_splits(folders: Sequence[str]) -> tuple[list[str | None], list[str | None]]:
    """For each folder its first part as label; or split and label, where all first parts are names of splits."""
    parts = [folder.split("/") for folder in folders]
    tops = {first for first, *_ in parts}
    if "train" in tops and tops <= set(SPLITS):
        labels = [second[0] if second else None for _, *second in parts]
        return labels, [SPLITS[first] for first, *_ in parts]
    return [first or None for first, *_ in parts], [None] * len(folders)
