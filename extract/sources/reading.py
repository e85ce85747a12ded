"""Where the images are, a folder of this machine or of an object store, and reading them: names -> bytes."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from extract.images.decode import BadImage
from store.errors import EnvironmentFailure
from store.files.names import file_path, is_url, printable
from store.files.remote import CONCURRENCY, RemoteFiles

Answer = TypeVar("Answer")

_ASKED = 1024  # questions in hand: of millions all at once, each would cost a kilobyte
MAX_FILE_BYTES = 2 * 2**30
"""Larger files are not read."""


@dataclass(frozen=True)
class Source:
    """A file as it was read: bytes, their SHA-256, and the modification time in ns."""

    data: bytes
    sha256: str
    time: int


class Images(Protocol):
    """The folder that row names are relative to."""

    @property
    def absolute(self) -> str:
        """How it is named wherever a process may be."""

    @property
    def at_once(self) -> int:
        """How many threads are worth having that only read."""

    def exists(self) -> bool:
        """Whether there is such a folder."""

    def read(self, name: str) -> Source:
        """Read a whole file.

        Raises:
            BadImage: missing, not_a_file, unreadable, too_large or empty.
            EnvironmentFailure: the object store cannot be reached.
        """

    def size_and_time(self, name: str) -> tuple[int, int]:
        """As a listing would give them, so that the next run sees whether anything changed; -1 if there is no such file."""


def images_at(root: str) -> Images:
    """The images of a folder or URL."""
    return RemoteImages(root) if is_url(root) else LocalImages(Path(root))


class NamedImages:
    """Images each named for itself, by a path or a URL.

    Args:
        names: their row names.
    """

    absolute = ""

    def __init__(self, names: Sequence[str]) -> None:
        self._roots = {root: RemoteImages(root) for root in {_split(name)[0] for name in names if is_url(name)}}
        self.at_once = CONCURRENCY if self._roots else 1

    def exists(self) -> bool:
        """See Images."""
        return True

    def read(self, name: str) -> Source:
        """See Images."""
        images, base = self._find(name)
        return images.read(base)

    def size_and_time(self, name: str) -> tuple[int, int]:
        """See Images."""
        images, base = self._find(name)
        return images.size_and_time(base)

    def _find(self, name: str) -> tuple[Images, str]:
        if not is_url(name):
            return LocalImages(Path()), name
        root, base = _split(name)
        return self._roots[root], base


def _split(url: str) -> tuple[str, str]:
    root, _, base = url.rpartition("/")
    return root, base


def ask(images: Images, question: Callable[[str], Answer], names: Sequence[str]) -> Iterator[Answer]:
    """The answers for all names, in order; so many at once as is worth it."""
    if images.at_once == 1:
        yield from map(question, names)
        return
    with ThreadPoolExecutor(images.at_once) as threads:
        for start in range(0, len(names), _ASKED):
            yield from threads.map(question, names[start : start + _ASKED])


def sha256_of(images: Images, name: str) -> str:
    """SHA-256 of a file's bytes; empty if it cannot be read."""
    try:
        return images.read(name).sha256
    except BadImage:
        return ""


@dataclass(frozen=True)
class LocalImages:
    """See Images."""

    root: Path

    at_once = 1  # the decoding threads read too

    @property
    def absolute(self) -> str:
        """See Images."""
        return str(self.root.absolute())

    def exists(self) -> bool:
        """See Images."""
        return self.root.is_dir()

    def read(self, name: str) -> Source:
        """See Images; never waits for a pipe or a device."""
        return read_file(self.root / file_path(name))

    def size_and_time(self, name: str) -> tuple[int, int]:
        """See Images."""
        try:
            status = os.stat(self.root / file_path(name))
        except (OSError, ValueError):
            return -1, -1
        return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else (-1, -1)


class RemoteImages:
    """See Images."""

    at_once = CONCURRENCY

    def __init__(self, url: str) -> None:
        self.remote = RemoteFiles(url)

    @property
    def absolute(self) -> str:
        """See Images."""
        return self.remote.absolute

    def exists(self) -> bool:
        """See Images."""
        return self.remote.exists()

    def read(self, name: str) -> Source:
        """See Images."""
        try:
            found = self.remote.status(file_path(name))
            if found is None:
                raise FileNotFoundError
            if found.size > MAX_FILE_BYTES:
                raise _too_large(found.size)
            data = self.remote.read(file_path(name))
        except FileNotFoundError:
            place = printable(f"{self.remote}/{file_path(name)}")
            raise BadImage("missing", f"there is no such object (any more): {place}") from None
        except EnvironmentFailure as error:
            if isinstance(error.__cause__, PermissionError):
                raise BadImage("unreadable", f"cannot be read: {error.__cause__}") from error
            raise
        if not data:
            raise BadImage("empty", "the object is empty")
        return Source(data, hashlib.sha256(data).hexdigest(), found.modified)

    def size_and_time(self, name: str) -> tuple[int, int]:
        """See Images."""
        found = self.remote.status(file_path(name))
        return (found.size, found.modified) if found else (-1, -1)


def read_file(path: str | os.PathLike[str]) -> Source:
    """Read a whole file of this machine, never waiting for a pipe or a device.

    Raises:
        BadImage: missing, not_a_file, unreadable, too_large or empty.
    """
    try:
        # Without O_NONBLOCK, opening a FIFO would wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(error, path) from error
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadImage("not_a_file", f"expected a file, this is a {_kind(status.st_mode)}")
        if status.st_size > MAX_FILE_BYTES:
            raise _too_large(status.st_size)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read()
    except OSError as error:
        raise _unreadable(error, path) from error
    finally:
        os.close(descriptor)
    if not data:
        raise BadImage("empty", "the file is empty")
    return Source(data, hashlib.sha256(data).hexdigest(), status.st_mtime_ns)


def _too_large(size: int) -> BadImage:
    return BadImage("too_large", f"{size:,} bytes, more than the {MAX_FILE_BYTES:,} that are read")


def _unreadable(error: OSError, path: str | os.PathLike[str]) -> BadImage:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return BadImage("missing", f"there is no such file (any more): {printable(os.fspath(path))}")
    if error.errno == errno.ELOOP:
        return BadImage("missing", "a link that leads to itself")
    if error.errno == errno.ENXIO:
        return BadImage("not_a_file", "expected a file, this is a socket or a device")
    return BadImage("unreadable", f"cannot be read: {error.strerror or error}")


def _kind(mode: int) -> str:
    kinds = {stat.S_ISFIFO: "pipe", stat.S_ISDIR: "folder", stat.S_ISSOCK: "socket"}
    return next((name for test, name in kinds.items() if test(mode)), "device")
