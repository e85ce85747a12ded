"""Files below a folder of this machine's disk, and files outside of stores that are written whole.

Publishing is create-only and all or nothing. The bytes go to a fresh file in tmp/ and are synced; a
hard link gives them their final name, which fails if that name is taken; the temporary name is removed
and the folder synced. A process killed at any point leaves either nothing under the final name or
everything, and at most one file in tmp/ that nobody reads.

Where the file system has no hard links (FAT, SMB, some FUSE mounts), a rename that fails if the name is
taken does the same. Where it has no such rename either (some FUSE mounts), a look whether the name is free
is followed by a plain rename, with the folder locked where it can be locked: of the processes of one machine,
the first wins. Of two machines that publish one name there in the same instant, or of two processes where the
folder cannot be locked, both may believe to have been first.

Reading tries again, after short pauses, where an error may pass (EIO, ESTALE, too many open files, …). What does not
pass is an EnvironmentFailure, never taken for a missing file.
"""

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from store.errors import EnvironmentFailure, UsageError
from store.files import disk
from store.files.base import Files, FileStatus
from store.files.digest import has_right_bytes
from store.files.names import printable

Result = TypeVar("Result")
_NOWHERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_Identity = tuple[int, int]


class LocalFiles(Files):
    """See Files."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def __str__(self) -> str:
        return str(self.root)

    @property
    def absolute(self) -> str:
        """See ReadableFiles."""
        return str(self.root.absolute())

    def place(self, name: str) -> str:
        """See ReadableFiles."""
        return str(self.path(name))

    def path(self, name: str) -> Path:
        """The path of a file on this machine."""
        return self.root / name

    def exists(self) -> bool:
        """See ReadableFiles."""
        return self._root_mode() is not None

    def status(self, name: str) -> FileStatus | None:
        """See ReadableFiles."""
        try:
            return _status(self._asked("look at", name, os.stat))
        except FileNotFoundError:
            return None

    def read(self, name: str) -> bytes:
        """See ReadableFiles."""
        return self._asked("read", name, disk.read_regular)

    def walk(self) -> Iterator[tuple[str, FileStatus | None]]:
        """See ReadableFiles; without recursion, so that folders may be nested deeper than Python's limit."""
        start = os.fspath(self.root)
        pending = [(start, "", frozenset[_Identity](), _identity(os.stat(start)))]
        while pending:
            folder, prefix, above, own = pending.pop()
            ancestors = above | {own}
            for entry in _visible(folder):
                status = _status_behind(entry)
                if status is None or not stat.S_ISDIR(status.st_mode):
                    yield prefix + entry.name, status and _status(status)
                    continue
                identity = _identity(status if status.st_ino else os.stat(entry.path))
                if identity not in ancestors:
                    pending.append((entry.path, f"{prefix}{entry.name}/", ancestors, identity))

    def names(self, folder: str) -> list[str]:
        """See Files."""
        try:
            return sorted(self._asked("list", folder, os.listdir))
        except FileNotFoundError:
            return []

    def local_copy(self, name: str) -> Path:
        """See Files; it is the file itself."""
        path = self.path(name)
        if self.status(name) is None:
            raise FileNotFoundError(path)
        if not self._asked("read", name, has_right_bytes):
            raise self.misnamed(name)
        return path

    def create(self, name: str, data: bytes) -> bool:
        """See Files."""
        final = self.path(name)
        temporary = self.path(f"tmp/{uuid.uuid4().hex}.part")
        try:
            disk.make_folder(temporary.parent)
            disk.make_folder(final.parent)
            try:
                disk.write_synced(temporary, data)
                created = disk.give_name(temporary, final)
            finally:
                temporary.unlink(missing_ok=True)
            disk.sync_folder(final.parent)
        except OSError as error:
            raise disk.failure(error, f"cannot write {final}") from error
        return created

    def remove(self, name: str) -> None:
        """See Files."""
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError as error:
            raise disk.failure(error, f"cannot delete {self.path(name)}") from error

    def remove_unless(self, name: str, needed: Callable[[], bool]) -> bool:
        """See Files."""
        final = self.path(name)
        aside = self.path(f"tmp/{uuid.uuid4().hex}.part")
        try:
            disk.make_folder(aside.parent)
            os.rename(final, aside)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise disk.failure(error, f"cannot delete {final}") from error
        remove = False
        try:
            try:
                os.utime(aside)  # else it could be old enough for another process to delete it from tmp/
                remove = not needed()
            finally:
                if not remove:
                    disk.give_name(aside, final)
                aside.unlink(missing_ok=True)
        except EnvironmentFailure:
            raise
        except OSError as error:
            raise disk.failure(error, f"cannot delete {final}") from error
        return remove

    def require_create_only(self) -> None:
        """See Files; `extract doctor` warns of mounts where two machines may both create one name."""

    def require_free(self, own: Collection[str] = ()) -> None:
        """See Files."""
        mode = self._root_mode()
        if mode is not None and not stat.S_ISDIR(mode):
            raise UsageError(f"{self.root} is a file, expected a folder for the store: choose another --out")
        super().require_free(own)

    def _root_mode(self) -> int | None:
        """What the folder is, as `os.stat` says; None if there is nothing of that name."""
        try:
            return self._asked("look at", "", os.stat).st_mode
        except FileNotFoundError:
            return None

    def _asked(self, what: str, name: str, operation: Callable[[Path], Result]) -> Result:
        """What `operation` gives for a file's path, with retries; see `read` for the errors."""
        path = self.path(name)
        try:
            return disk.retried(partial(operation, path))
        except EnvironmentFailure:
            raise
        except OSError as error:
            if error.errno in disk.NOT_FOUND:
                raise FileNotFoundError(error.errno, error.strerror, str(path)) from error
            raise disk.failure(error, f"cannot {what} {printable(str(path))}") from error


def _status(status: os.stat_result) -> FileStatus | None:
    return FileStatus(status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else None


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _visible(folder: str) -> list[os.DirEntry[str]]:
    def scan() -> list[os.DirEntry[str]]:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]

    try:
        return disk.retried(scan)
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot list {printable(folder)}: {error.strerror}; fix its permissions, or leave it out of DATA"
        ) from error


def _status_behind(entry: os.DirEntry[str]) -> os.stat_result | None:
    """The status of what an entry leads to; None for a link to nowhere or to itself, which reading reports.

    A folder that cannot be looked at is an error: its images would count as gone.
    """
    try:
        return disk.retried(entry.stat)
    except OSError as error:
        if error.errno in _NOWHERE:
            return None
        raise EnvironmentFailure(
            f"cannot look at {printable(entry.path)}: {error.strerror}; fix that, or leave it out of DATA"
        ) from error


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write to, beside `path`, which becomes `path` only if the block ends well; folders above are made.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid.uuid4().hex}.part")  # no longer than the longest name that there can be
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, and the folders above it; a file that has the name already is replaced.

    Raises:
        EnvironmentFailure: it cannot be written.
    """
    try:
        with whole_file(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise EnvironmentFailure(f"cannot write {path}: {error.strerror or error}") from error
