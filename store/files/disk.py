"""Single steps on a disk that `store.files.local` is made of: reading with retries, syncing, giving a name once."""

import errno
import fcntl
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

from store.errors import EnvironmentFailure
from store.files.base import NotARegularFile
from store.files.names import printable

Result = TypeVar("Result")

NOT_FOUND = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""Errors that say that there is no such file."""

_PASSING = frozenset(
    {
        errno.EIO,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.EAGAIN,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EBUSY,
        errno.EACCES,  # network file systems answer so while a ticket is renewed
        errno.EPERM,
    }
)
_PAUSES = (0.1, 0.3, 0.9)  # seconds before the second, third and last attempt
_NO_SUCH_STEP = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL, errno.ENOTTY}
)
_KINDS = {stat.S_IFIFO: "pipe", stat.S_IFDIR: "folder", stat.S_IFSOCK: "socket"}
_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "check the folder's permissions",
    errno.EPERM: "check the folder's permissions",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


def reason_of_the_system(error: BaseException) -> str | None:
    """What a library's error says of this machine, by its number or its words; None if it says nothing of it."""
    if isinstance(error, OSError) and error.errno in {*_ADVICE, *_PASSING}:
        return os.strerror(error.errno)
    said = [os.strerror(code) for code in (errno.ENOSPC, errno.EDQUOT) if os.strerror(code) in str(error)]
    if "iostream error" in str(error):  # all that a stream of C++ says
        said.append("the disk may be full")
    return said[0] if said else None


def retried(operation: Callable[[], Result]) -> Result:
    """The result of `operation`, which is tried again after a pause where its error may pass.

    Raises:
        OSError: the last attempt's error, or one that does not pass.
    """
    for pause in _PAUSES:
        try:
            return operation()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
        time.sleep(pause)
    return operation()


def read_regular(path: Path) -> bytes:
    """The bytes of a regular file; see `opened_regular`."""
    with opened_regular(path) as file:
        return file.read()


@contextmanager
def opened_regular(path: Path) -> Iterator[BufferedReader]:
    """A regular file, opened for reading; never waits for a pipe or a device.

    Raises:
        NotARegularFile: it is something else.
        OSError: as the system says.
    """
    try:
        # Without O_NONBLOCK, opening a pipe would wait for a writer for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise NotARegularFile(printable(str(path)), "socket or a device") from error
        raise
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise NotARegularFile(printable(str(path)), _KINDS.get(stat.S_IFMT(mode), "device"))
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, and sync each so that a power cut does not undo it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def write_synced(path: Path, data: bytes) -> None:
    """Write a new file and sync it to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_name(temporary: Path, final: Path) -> bool:
    """Give a file its final name; False if the name is taken, or another process is faster. `local` says how."""
    try:
        if in_one_step(temporary, final):
            return True
    except FileExistsError:
        return False
    with _folder_locked(final.parent):
        if final.exists():
            return False
        os.rename(temporary, final)
    return True


def in_one_step(temporary: Path, final: Path) -> bool:
    """Give a file a free name in one step of the file system; False, and nothing changed, if it has no such step.

    Raises:
        FileExistsError: the name is taken.
    """
    steps: tuple[Callable[[Path, Path], None], ...] = (os.link, rename_to_free_name)
    for step in steps:
        try:
            step(temporary, final)
        except OSError as error:
            if error.errno not in _NO_SUCH_STEP:
                raise
        else:
            return True
    return False


def rename_to_free_name(old: Path, new: Path) -> None:
    """Rename a file in one step that fails if the name is taken. Python has none: `os.rename` replaces what is there.

    Raises:
        FileExistsError: the name is taken.
        OSError: EINVAL, ENOSYS or ENOTSUP, the file system or the C library cannot do it; or as the system says.
    """
    import ctypes  # few file systems need it, and every command would wait for it

    paths = os.fsencode(old), os.fsencode(new)
    library = ctypes.CDLL(None, use_errno=True)
    try:
        if sys.platform == "darwin":
            refused = library.renamex_np(*paths, 0x4)  # RENAME_EXCL
        else:
            here = -100  # AT_FDCWD
            refused = library.renameat2(here, paths[0], here, paths[1], 0x1)  # RENAME_NOREPLACE
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(new)) from None
    if refused:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(new))


@contextmanager
def _folder_locked(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder, which the system releases when the process ends; without one where there are no locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Sync a folder's list of names to the disk, where the file system can."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network mounts cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def failure(error: OSError, what: str) -> EnvironmentFailure:
    """The EnvironmentFailure that says `what` could not be done, why, and what to do."""
    advice = _ADVICE.get(error.errno or 0, "fix that")
    return EnvironmentFailure(f"{what}: {error.strerror or error}; {advice}, then run the same command again")


def unreadable(error: OSError, path: str | os.PathLike[str]) -> EnvironmentFailure:
    """The EnvironmentFailure that says that a file could not be read; `error` itself if it is one."""
    return (
        error if isinstance(error, EnvironmentFailure) else failure(error, f"cannot read {printable(os.fspath(path))}")
    )
