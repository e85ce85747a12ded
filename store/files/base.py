"""A store's folder, wherever it is: what the rest of the program asks of it.

Two kinds: `store.files.local.LocalFiles` on a disk, `store.files.remote.RemoteFiles` in an object store. Names within a folder
are relative and `/`-separated. Nothing that is published is ever changed, so `create` is the only way to write.
"""

import os
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from store.errors import NotAStore, UsageError
from store.files.names import is_url

INFO = "store.json"


@dataclass(frozen=True)
class FileStatus:
    """A file's size in bytes, and when it was written, in seconds since 1970."""

    size: int
    time: float


class Files(ABC):
    """A store's root folder. `str()` of it is how the user named it."""

    @property
    @abstractmethod
    def absolute(self) -> str:
        """How it is named wherever a process may be."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is such a folder."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The sorted names in a sub-folder ("" for the root); none if it is not there."""

    @abstractmethod
    def status(self, name: str) -> FileStatus | None:
        """A file's size and time; None if there is no such file."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            FileNotFoundError: there is no such file.
            EnvironmentFailure: it cannot be read.
        """

    @abstractmethod
    def local_file(self, name: str) -> Path:
        """A file on this machine with the bytes of `name`, which is named by their SHA-256.

        Raises:
            FileNotFoundError: there is no such file.
            EnvironmentFailure: it cannot be read.
        """

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Publish `data` under `name`; False, and nothing changed, if the name is taken.

        Raises:
            EnvironmentFailure: the disk is full, the folder cannot be written, …
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Delete a file, if it is there."""

    @abstractmethod
    def require_create_only(self) -> None:
        """Raise UsageError unless `create` can keep two processes from publishing one name."""

    def is_store(self) -> bool:
        """Whether store.json is there.

        Raises:
            EnvironmentFailure: the folder cannot be looked into.
        """
        return self.status(INFO) is not None

    def require_store(self) -> None:
        """Raise NotAStore unless this is a store."""
        if self.is_store():
            return
        if not self.exists():
            raise NotAStore(f"no store at {self}: there is no such folder; `extract run DATA --out {self}` makes one")
        raise NotAStore(f"{self} is not a store: it has no {INFO}; name the folder that `extract run --out` wrote")

    def require_free(self) -> None:
        """Raise UsageError if the folder holds anything but what a run killed at its very start leaves."""
        foreign = [name for name in self.names("") if name != "tmp"]
        foreign += [f"tmp/{name}" for name in self.names("tmp") if not name.endswith(".part")]
        if foreign and not self.is_store():  # another process may have made it one just now
            raise UsageError(f"{self} is not empty and not a store (it holds {min(foreign)!r}): choose another --out")


def open_files(place: str | os.PathLike[str], single_writer: bool = False) -> Files:
    """The folder at a path or URL.

    Args:
        place: a path, or a URL that fsspec knows, such as `s3://bucket/store`.
        single_writer: of an object store: nobody else writes there, the caller knows.

    Raises:
        UsageError: a URL of no kind that is known here.
    """
    if is_url(place):
        from store.files.remote import RemoteFiles

        return RemoteFiles(os.fspath(place), single_writer)
    from store.files.local import LocalFiles

    return LocalFiles(place)
