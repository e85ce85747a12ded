"""The files of a store: the only module that touches the disk under a store's root.

Publishing is create-only and all or nothing. The bytes go to a fresh file in tmp/ and are synced; a
hard link gives them their final name, which fails if that name is taken; the temporary name is removed
and the folder synced. A process killed at any point leaves either nothing under the final name or
everything, and at most one file in tmp/ that nobody reads.

Where the file system has no hard links (FAT, some FUSE mounts), a look whether the name is free is
followed by a rename: still all or nothing after a crash, but of two processes that publish one name in
the same instant both may believe to have been first. Each then reads a whole and sound file.
"""

import errno
import os
import stat
import uuid
from pathlib import Path

from store.errors import EnvironmentFailure, NotAStore, UsageError

INFO = "store.json"
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "check the folder's permissions",
    errno.EPERM: "check the folder's permissions",
}


class Folder:
    """A store's root folder. Names within it are relative and `/`-separated."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def path(self, name: str) -> Path:
        """Where a name lies on this machine."""
        return self.root / name

    def is_store(self) -> bool:
        """Whether store.json is there.

        Raises:
            EnvironmentFailure: the folder cannot be looked into.
        """
        try:
            return stat.S_ISREG(os.stat(self.path(INFO)).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise _explained(error, f"cannot look into {self.root}") from error

    def require_store(self) -> None:
        """Raise NotAStore unless this is a store."""
        if self.is_store():
            return
        if not self.root.exists():
            raise NotAStore(
                f"no store at {self.root}: there is no such folder; `extract run DATA --out {self.root}` makes one"
            )
        raise NotAStore(f"{self.root} is not a store: it has no {INFO}; name the folder that `extract run --out` wrote")

    def require_free(self) -> None:
        """Raise UsageError if the root exists and holds anything but what a run killed at its very start leaves."""
        if not self.root.exists():
            return
        if not self.root.is_dir():
            raise UsageError(f"{self.root} is a file, expected a folder for the store: choose another --out")
        foreign = [name for name in _listed(self.root) if name != "tmp"]
        foreign += [f"tmp/{name}" for name in _listed(self.root / "tmp") if not name.endswith(".part")]
        if foreign and not self.is_store():  # another process may have made it one just now
            raise UsageError(
                f"{self.root} is not empty and not a store (it holds {sorted(foreign)[0]!r}): choose another --out"
            )

    def names(self, folder: str) -> list[str]:
        """The sorted file names in a sub-folder; none if it is not there."""
        return sorted(_listed(self.path(folder)))

    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            FileNotFoundError: there is no such file.
            EnvironmentFailure: it cannot be read.
        """
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _explained(error, f"cannot read {self.path(name)}") from error

    def create(self, name: str, data: bytes) -> bool:
        """Publish `data` under `name`; False, and nothing changed, if the name is taken.

        Raises:
            EnvironmentFailure: the disk is full, the folder cannot be written, …
        """
        final = self.path(name)
        temporary = self.path(f"tmp/{uuid.uuid4().hex}.part")
        try:
            _make_folder(temporary.parent)
            _make_folder(final.parent)
            try:
                _write(temporary, data)
                created = _give_name(temporary, final)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(final.parent)
        except OSError as error:
            raise _explained(error, f"cannot write {final}") from error
        return created

    def status(self, name: str) -> os.stat_result | None:
        """A file's size and times; None if it is not there."""
        try:
            return self.path(name).stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _explained(error, f"cannot look at {self.path(name)}") from error

    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError as error:
            raise _explained(error, f"cannot delete {self.path(name)}") from error


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _explained(error, f"cannot list {folder}") from error


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_name(temporary: Path, final: Path) -> bool:
    try:
        os.link(temporary, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if final.exists():
            return False
        os.rename(temporary, final)
    return True


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network mounts cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def _explained(error: OSError, what: str) -> EnvironmentFailure:
    advice = _ADVICE.get(error.errno or 0, "mend that")
    return EnvironmentFailure(f"{what}: {error.strerror or error}; {advice}, then run the same command again")
