"""A folder of images -> its listing: label and split from the names of folders."""

import os
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from extract.sources.base import TABLE_ENDINGS, Listing
from extract.sources.spelling import find_split, report_changed
from store.files.base import FileStatus
from store.files.names import printable, row_name
from store.files.opening import open_files
from store.labels import plain_label
from store.plan import LISTING_SCHEMA

RAW_ENDINGS = frozenset(
    [".3fr", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".srw"]
)
"""Camera RAW: most are TIFF files whose first picture is a thumbnail, so that their content alone does not show it."""

_OTHER_ENDINGS = frozenset(
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
        ".heic",
        ".heif",
        ".hif",
        ".jxl",
    ]
)

IMAGE_ENDINGS = _OTHER_ENDINGS | RAW_ENDINGS
"""Which files of a folder are listed as images. What they really are, their content decides when they are decoded.

HEIC needs an extra, JPEG XL and camera RAW become failures: a photo is never left out in silence.
"""


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
    files, left_out = _image_columns(open_files(root).walk())
    columns = files.columns()
    folders = pc.replace_substring_regex(columns["path"], "/?[^/]*$", "").dictionary_encode()
    layout = understand_layout(folders.dictionary.to_pylist())
    columns["label"] = pa.array(layout.labels, pa.string()).take(folders.indices)
    columns["split"] = pa.array(layout.splits, pa.string()).take(folders.indices)
    columns["group"] = pa.nulls(len(folders), pa.string())
    table = pa.table(columns).select(LISTING_SCHEMA.names).sort_by("path").combine_chunks()
    notes = layout.notes
    if table["label"].null_count == len(table) and any(left_out.get(ending) for ending in TABLE_ENDINGS):
        notes = (*notes, "the folders give no labels, but there are tables: name one as DATA if it has them")
    return Listing(root, table, left_out, notes)


def _image_columns(found: Iterable[tuple[str, FileStatus | None]]) -> tuple[FileColumns, Mapping[str, int]]:
    """Files with an image ending, and the numbers of others by their endings."""
    files, left_out = FileColumns(), Counter[str]()
    for name, status in found:
        ending = os.path.splitext(name)[1].lower()
        if ending in IMAGE_ENDINGS:
            files.add(row_name(name), *((status.size, status.modified) if status else (-1, -1)))
        else:
            left_out[row_name(ending)] += 1
    return files, left_out


@dataclass(frozen=True)
class Layout:
    """What the names of folders mean: a label and a split for each folder; `notes` say what could be meant otherwise."""

    labels: Sequence[str | None]
    splits: Sequence[str | None]
    notes: tuple[str, ...] = ()


def understand_layout(folders: Sequence[str]) -> Layout:
    """The first part of each folder is the label; or the split, where all first parts are names of splits, one of train."""
    parts = [folder.split("/") for folder in folders]
    splits = {top: find_split(top) for top in sorted({first for first, *_ in parts})}
    if "train" in splits.values() and None not in splits.values():
        labels, notes = _labels([second[0] if second else "" for _, *second in parts])
        return Layout(labels, [splits[first] for first, *_ in parts], (*_shared_splits(splits), *notes))
    labels, notes = _labels([first for first, *_ in parts])
    return Layout(labels, [None] * len(folders), (*_splits_as_classes(splits), *_one_too_deep(parts), *notes))


def _labels(names: Sequence[str]) -> tuple[list[str | None], list[str]]:
    """Labels from names of folders, of which an empty one gives none; and a sentence if any is spelled otherwise."""
    plain = [plain_label(name) for name in names]
    used = dict(zip(names, plain, strict=True))
    return [label or None for label in plain], report_changed("folder names", list(used), list(used.values()))


def _shared_splits(splits: Mapping[str, str | None]) -> list[str]:
    """Say so where several folders are one split."""
    tops: dict[str | None, list[str]] = {}
    for top, split in splits.items():
        tops.setdefault(split, []).append(top)
    return [f"the folders {_listed(names)} are one split, {split}" for split, names in tops.items() if len(names) > 1]


def _splits_as_classes(splits: Mapping[str, str | None]) -> list[str]:
    """Say so where folders that are named like splits are taken as classes."""
    named = [top for top, split in splits.items() if split]
    others = [top for top, split in splits.items() if not split]
    if not named or (len(named) == 1 and others and splits[named[0]] != "train"):
        return []
    beside = _listed([top or "images" for top in others[:3]] + ["…"] * (len(others) > 3))
    reason = f"other folders are beside them ({beside})" if others else "there is no folder train"
    return [f"folders named like splits are taken as classes ({_listed(named)}), because {reason}"]


def _one_too_deep(parts: Sequence[Sequence[str]]) -> list[str]:
    """Say so where the folders below the first ones look like what was meant."""
    tops, seconds = {first for first, *_ in parts}, sorted({second[0] for _, *second in parts if second})
    if len(tops) == 1 and len(seconds) > 1:
        (top,) = tops
        return [
            f"all images are in {_listed([top])}, so they have one label; to use its folders as labels, give it as DATA"
        ]
    splits = {find_split(second) for second in seconds}
    if "train" in splits and None not in splits:
        return [
            f"{_listed(seconds)} below the classes are not read as splits: they come first, as in train/<class>/image"
        ]
    return []


def _listed(names: Sequence[str]) -> str:
    return printable(", ".join(names))
