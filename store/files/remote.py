"""A store's folder in an object store: whole objects, put where there is none yet.

Putting is all or nothing by itself. That of two processes only one may publish a name is asked of the store with each
put (`If-None-Match: *` and its like). Not every server does as it is asked, so that is tried out before anything
is written; where it fails, `--single-writer` says that nobody else writes, and a look whether the name is free has to do.

Shards are read from copies in the cache folder: they never change, so a head is fitted twice at the price of one download.
"""

import contextlib
import hashlib
import uuid
from functools import cached_property
from pathlib import Path

from store.errors import DamagedStore, EnvironmentFailure, UsageError
from store.files.base import Files, FileStatus
from store.files.cache import cache_folder, write_whole
from store.files.object_store import ObjectStore


class RemoteFiles(Files):
    """See Files.

    Args:
        url: where it is.
        single_writer: nobody else writes there: the store need not keep two apart.
    """

    def __init__(self, url: str, single_writer: bool = False) -> None:
        self.remote = ObjectStore(url)
        self.single_writer = single_writer

    def __str__(self) -> str:
        return self.remote.url

    @property
    def absolute(self) -> str:
        """See Files."""
        return self.remote.url

    def exists(self) -> bool:
        """See Files."""
        return self.remote.exists()

    def names(self, folder: str) -> list[str]:
        """See Files."""
        return self.remote.names(folder)

    def status(self, name: str) -> FileStatus | None:
        """See Files."""
        found = self.remote.status(name)
        return found and FileStatus(found[0], found[1] / 1e9)

    def read(self, name: str) -> bytes:
        """See Files."""
        return self.remote.read(name)

    def local_file(self, name: str) -> Path:
        """See Files.

        Raises:
            DamagedStore: the bytes are not those that gave the file its name.
        """
        base = name.rpartition("/")[2]
        copy = cache_folder() / "shards" / base
        if not copy.is_file():
            data = self.read(name)
            if hashlib.sha256(data).hexdigest() != base.partition(".")[0]:
                raise DamagedStore(
                    f"{self}/{name} is not the bytes that gave it its name: run `store repair {self}`, then extract again"
                )
            write_whole(copy, data)
        return copy

    def create(self, name: str, data: bytes) -> bool:
        """See Files."""
        if self.single_writer:
            if self.remote.is_file(name):
                return False
            self.remote.write(name, data, "overwrite")
            return True
        self.require_create_only()
        return self._put(name, data)

    def remove(self, name: str) -> None:
        """See Files."""
        self.remote.remove(name)

    def require_create_only(self) -> None:
        """See Files; asked once."""
        if not self.single_writer and not self._refuses_second:
            raise UsageError(
                f"{self}: this object store does not keep two writers apart (it took a second object of one name "
                "though asked not to): see to it that only one run writes there, and say so with --single-writer"
            )

    @cached_property
    def _refuses_second(self) -> bool:
        """Whether the store refuses to put a second object of one name when asked to."""
        name = f"tmp/{uuid.uuid4().hex}.part"
        try:
            self.remote.write(name, b"1", "overwrite")  # else, tried twice, it might refuse itself
            return not self._put(name, b"2")
        finally:
            with contextlib.suppress(EnvironmentFailure):  # what is left in tmp/ does no harm
                self.remove(name)

    def _put(self, name: str, data: bytes) -> bool:
        try:
            self.remote.write(name, data, "create")
        except FileExistsError:
            return False
        return True
