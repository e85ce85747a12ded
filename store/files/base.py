"""Files below one folder, wherever it is: one protocol for images, which are only read, and for stores.

`ReadableFiles` is what images need; `Files` adds publishing, which only stores need. There are two kinds of each:
`store.files.local.LocalFiles` on a disk and `store.files.remote.RemoteFiles` in an object store. `store.files.opening`
chooses by path or URL.

Names are `/`-separated file names relative to the folder, as Python gives them (surrogates for bytes that are not
UTF-8). They are not row names: `store.files.names` converts between the two. Times are in nanoseconds since 1970.
"""

import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from store.errors import DamagedStore, EnvironmentFailure, NotAStore, UsageError
from store.suggestions import suggest

INFO = "store.json"
"""The file that says what a store is."""

COPY = "store.copy.json"
"""A copy of it, for repairs."""

NETWORKS = "network"
"""The folder of a quantized network, which is published before these two."""

FOLDERS = ("commit", "data", NETWORKS, "plan", "tmp", "view")
"""The folders of a store, which it has beside these two files."""


_NETWORK = re.compile(r"[0-9a-f]{64}\.zip")


@dataclass(frozen=True)
class FileStatus:
    """A file's size in bytes, and when it was last modified, in ns since 1970 (-1 where that is unknown)."""

    size: int
    modified: int


class NotARegularFile(EnvironmentFailure):
    """Something of that name exists that cannot be read like a file; `kind` is pipe, folder, socket or device."""

    def __init__(self, place: str, kind: str) -> None:
        super().__init__(f"cannot read {place}: expected a file, this is a {kind}; remove it, or put a file there")
        self.kind = kind


class ReadableFiles(ABC):
    """Files below one folder, to be read. `str()` of it is the folder as the user named it."""

    concurrency: int = 1
    """The number of concurrent reads that is useful."""

    @property
    @abstractmethod
    def absolute(self) -> str:
        """The folder's absolute path or URL, the same in every process."""

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is such a folder."""

    @abstractmethod
    def place(self, name: str) -> str:
        """A file's path or URL, for messages."""

    @abstractmethod
    def status(self, name: str) -> FileStatus | None:
        """A regular file's size and time; None if there is no such file.

        Raises:
            EnvironmentFailure: the file system or the object store does not answer.
        """

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A file's bytes.

        Raises:
            FileNotFoundError: there is no such file.
            NotARegularFile: it is a folder, a pipe, a socket or a device.
            EnvironmentFailure: it cannot be read, also after several attempts.
        """

    @abstractmethod
    def walk(self) -> Iterator[tuple[str, FileStatus | None]]:
        """Every file below the folder by name, in no special order; hidden files and folders are left out.

        Links are followed, but never to a folder above the link. The status is None where there is no regular file
        behind the name: a link to nowhere, a pipe.

        Raises:
            EnvironmentFailure: a folder cannot be listed.
        """


class Files(ReadableFiles):
    """Files below a store's folder. Nothing that is published is ever changed, so `create` is the only way to write."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The sorted names of files and folders in a sub-folder ("" for the root); none if it does not exist."""

    @abstractmethod
    def local_copy(self, name: str) -> Path:
        """A file on this machine with the bytes of `name`, which is named by their SHA-256: checked, once per process.

        Raises:
            FileNotFoundError: there is no such file.
            DamagedStore: the bytes are not those that gave the file its name.
            EnvironmentFailure: it cannot be read.
        """

    @property
    def room_for_copies(self) -> int:
        """Bytes that the files of `local_copy` may take together; those beyond are deleted while others come."""
        return sys.maxsize

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Publish `data` under `name`; False, and nothing changed, if the name is taken.

        Raises:
            EnvironmentFailure: the disk is full, the folder cannot be written, …
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Delete a file, if it exists."""

    @abstractmethod
    def remove_unless(self, name: str, needed: Callable[[], bool]) -> bool:
        """Delete a file unless `needed` gives True; returns whether it was deleted.

        On a disk, `needed` is asked while the file is set aside: a process that looks for the file later finds that it is gone
        and publishes it again, and what was published before, `needed` sees. An object store has no such step: `needed`
        is asked right before the deletion.
        """

    @abstractmethod
    def require_create_only(self) -> None:
        """Raise UsageError unless, of two processes that publish one name, `create` lets only the first."""

    def read_small(self, name: str, most: int) -> bytes:
        """As `read`, for a file that should be small: a longer one is refused before it fills the memory.

        Raises:
            DamagedStore: it has more than `most` bytes.
        """
        status = self.status(name)
        if status is not None and status.size > most:
            raise self.too_long(name, f"{status.size:,} bytes", most)
        return self.read(name)

    def too_long(self, name: str, found: str, most: int) -> DamagedStore:
        """The error for a file that should have `most` bytes at most; `found` says how many it has."""
        return DamagedStore(
            f"{self.place(name)} has {found}, expected {most:,} at most: run {suggest('store', 'repair', str(self))}"
        )

    def misnamed(self, name: str) -> DamagedStore:
        """The error for a file whose bytes are not those that gave it its name."""
        return DamagedStore(
            f"{self}/{name} is not the bytes that gave it its name: run {suggest('store', 'repair', str(self))}, then extract again"
        )

    def is_store(self) -> bool:
        """Whether there is a store.json.

        Raises:
            DamagedStore: there is only its copy.
            EnvironmentFailure: the folder cannot be looked into.
        """
        if self.status(INFO) is not None:
            return True
        # The copy is created second: where it is there, the store may have been created since the first look.
        if self.status(COPY) is None:
            return False
        if self.status(INFO) is None:
            raise DamagedStore(f"{self}/{INFO} is missing: run {suggest('store', 'repair', str(self))}")
        return True

    def require_store(self) -> None:
        """Raise NotAStore unless this is a store."""
        if self.is_store():
            return
        if not self.exists():
            makes = suggest("extract", "run", "DATA", "--out", str(self))
            raise NotAStore(f"no store at {self}: there is no such folder; {makes} makes one")
        raise NotAStore(f"{self} is not a store: it has no {INFO}; name the folder that `extract run --out` wrote")

    def require_free(self, own: Collection[str] = ()) -> None:
        """Raise UsageError if the folder holds anything but what a run killed at its very start leaves.

        Args:
            own: names in the folder that the caller has put there itself.
        """
        foreign = [name for name in self.names("") if name not in ("tmp", NETWORKS, *own)]
        foreign += [f"tmp/{name}" for name in self.names("tmp") if not name.endswith(".part")]
        foreign += [f"{NETWORKS}/{name}" for name in self.names(NETWORKS) if not _NETWORK.fullmatch(name)]
        if foreign and not self.is_store():  # another process may have made it one just now
            raise UsageError(f"{self} is not empty and not a store (it holds {min(foreign)!r}): choose another --out")
