"""A store's folder on a disk: the only module that touches the disk under a store's root.

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

from store.errors import EnvironmentFailure, UsageError
from store.files.base import Files, FileStatus

_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_ADVICE = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space or raise the quota",
    errno.EROFS: "choose a folder that can be written",
    errno.EACCES: "check the folder's permissions",
    errno.EPERM: "check the folder's permissions",
}


class LocalFiles(Files):
    """See Files."""

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def __str__(self) -> str:
        return str(self.root)

    @property
    def absolute(self) -> str:
        """See Files."""
        return str(self.root.absolute())

    def path(self, name: str) -> Path:
        """Where a name lies on this machine."""
        return self.root / name

    def exists(self) -> bool:
        """See Files."""
        return self.root.exists()

    def require_free(self) -> None:
        """See Files."""
        if self.root.exists() and not self.root.is_dir():
            raise UsageError(f"{self.root} is a file, expected a folder for the store: choose another --out")
        super().require_free()

    def require_create_only(self) -> None:
        """See Files; what a file system without hard links cannot do is said above."""

    def names(self, folder: str) -> list[str]:
        """See Files."""
        try:
            return sorted(os.listdir(self.path(folder)))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError as error:
            raise _explained(error, f"cannot list {self.path(folder)}") from error

    def local_file(self, name: str) -> Path:
        """See Files."""
        path = self.path(name)
        if not path.is_file():
            raise FileNotFoundError(path)
        return path

    def read(self, name: str) -> bytes:
        """See Files."""
        try:
            return self.path(name).read_bytes()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _explained(error, f"cannot read {self.path(name)}") from error

    def create(self, name: str, data: bytes) -> bool:
        """See Files."""
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

    def status(self, name: str) -> FileStatus | None:
        """See Files."""
        try:
            status = os.stat(self.path(name))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _explained(error, f"cannot look at {self.path(name)}") from error
        return FileStatus(status.st_size, status.st_mtime) if stat.S_ISREG(status.st_mode) else None

    def remove(self, name: str) -> None:
        """See Files."""
        try:
            self.path(name).unlink(missing_ok=True)
        except OSError as error:
            raise _explained(error, f"cannot delete {self.path(name)}") from error


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
