"""Reading image files by row name: their bytes, or why there are none."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from extract.bad_image import BadImage
from store.files.base import NotARegularFile, ReadableFiles
from store.files.names import file_path, printable
from store.files.opening import open_files

Answer = TypeVar("Answer")

MAX_FILE_BYTES = 2 * 2**30
"""Larger files are not read."""

_CHUNK = 1024  # names handed to the threads at a time: each one waiting takes about a kilobyte


def open_images(root: str | os.PathLike[str]) -> ReadableFiles:
    """The images below the root of a listing, to be read by row name: the one place that chooses how."""
    return open_files(root)


@dataclass(frozen=True)
class ImageFile:
    """A file as it was read: its bytes, their SHA-256, and the modification time in ns."""

    data: bytes
    sha256: str
    time: int


def read_image(files: ReadableFiles, name: str) -> ImageFile:
    """Read a whole file.

    Args:
        files: where it is.
        name: its row name.

    Raises:
        BadImage: missing, not_a_file, too_large or empty: facts about the file.
        EnvironmentFailure: it cannot be read now.
    """
    path = file_path(name)
    try:
        status = files.status(path)
        if status is not None and status.size > MAX_FILE_BYTES:
            raise BadImage("too_large", f"{status.size:,} bytes, more than the {MAX_FILE_BYTES:,} that are read")
        data = files.read(path)
    except FileNotFoundError:
        raise BadImage("missing", f"there is no such file (any more): {printable(files.place(path))}") from None
    except NotARegularFile as error:
        raise BadImage("not_a_file", f"expected a file, this is a {error.kind}") from None
    if not data:
        raise BadImage("empty", "the file is empty")
    # The time is from before the read: if the file has changed in between, the next run looks at it again.
    return ImageFile(data, hashlib.sha256(data).hexdigest(), status.modified if status else -1)


def listed_status(files: ReadableFiles, name: str) -> tuple[int, int]:
    """Size and time of an image's file as a listing has them; -1 if there is no such file."""
    status = files.status(file_path(name))
    return (status.size, status.modified) if status else (-1, -1)


def digests(files: ReadableFiles, names: Sequence[str]) -> Iterator[str]:
    """SHA-256 of the bytes of files, by row name and in order; empty for one that gives no bytes.

    Raises:
        EnvironmentFailure: one cannot be read now.
    """

    def digest(name: str) -> str:
        try:
            return read_image(files, name).sha256
        except BadImage:
            return ""

    return concurrent_map(files, digest, names)


def concurrent_map(files: ReadableFiles, question: Callable[[str], Answer], names: Sequence[str]) -> Iterator[Answer]:
    """`question` asked of each name, in order, with `files.concurrency` requests at once."""
    if files.concurrency == 1:
        yield from map(question, names)
        return
    with ThreadPoolExecutor(files.concurrency) as threads:
        for start in range(0, len(names), _CHUNK):
            yield from threads.map(question, names[start : start + _CHUNK])
