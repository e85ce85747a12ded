"""Files in an object store, through fsspec: `s3://`, `gs://`, `az://` and whatever else it knows.

Every call is tried again a few times where its error may pass; errors then come out as this project's own.
Credentials and addresses are the libraries' own matter: environment variables, their files in the home folder, or
fsspec's configuration.

Putting an object is all or nothing by itself. That only one of two processes may publish a name is asked of the store
with each put (`If-None-Match: *` or the equivalent). Not every server does as it is asked, so that is tried out before
anything is written; where it fails, `--single-writer` says that nobody else writes, and a look whether the name is free
is enough.

Shards are read from copies in the cache folder: they never change, so two heads are fitted at the price of one download.
"""

import contextlib
import errno
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from store.errors import EnvironmentFailure, UsageError
from store.files.base import Files, FileStatus
from store.files.cache import cache_limit, cached_shard
from store.suggestions import suggest_install

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

Result = TypeVar("Result")

CONCURRENCY = 32
"""Each request waits for its answer far longer than it takes to send."""

_ATTEMPTS = 5
_FIRST_PAUSE = 0.2  # seconds; each is twice as long as the one before, and up to half of it shorter
_FINAL = (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, IsADirectoryError, ValueError)
_UNEXPLAINED = (("Forbidden",), (errno.EINVAL, "Bad Request"))
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": {"max_pool_connections": CONCURRENCY}}}
_OPTIONS["s3a"] = _OPTIONS["s3"]


class RemoteFiles(Files):
    """All objects whose name begins as a URL does.

    Args:
        url: the folder; the name "" is the object of just this URL.
        single_writer: nobody else writes there, so the store need not refuse a second object of one name.

    Raises (every method):
        EnvironmentFailure: the object store cannot be reached, or does not let us.
    """

    concurrency = CONCURRENCY

    def __init__(self, url: str, single_writer: bool = False) -> None:
        self.url = url.rstrip("/")
        self.single_writer = single_writer
        if "://" not in self.url and "::" not in self.url:
            raise UsageError(f"{url}: expected a bucket and a folder, as in {self.url}//bucket/photos")
        self._located  # noqa: B018  a URL of an unknown kind is refused at once

    def __str__(self) -> str:
        return self.url

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in vars(self).items() if name != "_located"}

    @property
    def absolute(self) -> str:
        """See ReadableFiles."""
        return self.url

    def exists(self) -> bool:
        """See ReadableFiles: whether any object's name begins so."""
        try:
            self._call("look at", "", lambda system, path: system.info(path))  # `exists` takes any error for False
        except FileNotFoundError:
            return False
        return True

    def status(self, name: str) -> FileStatus | None:
        """See ReadableFiles."""
        try:
            info = self._call("look at", name, lambda system, path: system.info(path))
        except FileNotFoundError:
            return None
        return FileStatus(int(info["size"]), modified(info)) if info["type"] == "file" else None

    def read(self, name: str) -> bytes:
        """See ReadableFiles."""
        return bytes(self._call("read", name, lambda system, path: system.cat_file(path)))

    def read_small(self, name: str, most: int) -> bytes:
        """See Files; the length is not asked for first, which would cost as much as reading."""

        def beginning(system: "AbstractFileSystem", path: str) -> bytes:
            try:
                return bytes(system.cat_file(path, start=0, end=most + 1))
            except FileNotFoundError:
                raise
            except Exception:  # each backend has its own for a range of an object without bytes
                if system.info(path)["size"] == 0:
                    return b""
                raise

        data = self._call("read", name, beginning)
        if len(data) > most:
            raise self.too_long(name, f"more than {most:,} bytes", most)
        return data

    def walk(self) -> Iterator[tuple[str, FileStatus | None]]:
        """See ReadableFiles."""
        _, root = self._located
        found = self._call("list", "", lambda system, path: system.find(path, detail=True))
        for path, info in found.items():
            name = path[len(root) + 1 :]
            marks_folder = name.endswith("/")
            hidden = any(part.startswith(".") for part in name.split("/"))
            if info["type"] == "file" and not marks_folder and not hidden:
                yield name, FileStatus(int(info["size"]), modified(info))

    def names(self, folder: str) -> list[str]:
        """See Files."""
        try:
            found = self._call("list", folder, lambda system, path: system.ls(path, detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted({path.rstrip("/").rpartition("/")[2] for path in found} - {""})

    def local_copy(self, name: str) -> Path:
        """See Files; it is a copy in the cache folder."""
        copy = cached_shard(name.rpartition("/")[2], lambda: self.read(name))
        if copy is None:
            raise self.misnamed(name)
        return copy

    @property
    def room_for_copies(self) -> int:
        """See Files."""
        return cache_limit()

    def create(self, name: str, data: bytes) -> bool:
        """See Files."""
        if self.single_writer:
            if self.status(name) is not None:
                return False
            self._put(name, data, "overwrite")
            return True
        self.require_create_only()
        return self._put_new(name, data)

    def remove(self, name: str) -> None:
        """See Files."""
        with contextlib.suppress(FileNotFoundError):
            self._call("delete", name, lambda system, path: system.rm_file(path))

    def remove_unless(self, name: str, needed: Callable[[], bool]) -> bool:
        """See Files."""
        if needed() or self.status(name) is None:
            return False
        self.remove(name)
        return True

    def require_create_only(self) -> None:
        """See Files; tried out once."""
        if not self.single_writer and not self._refuses_second:
            raise UsageError(
                f"{self}: this object store does not support conditional writes (it took a second object of one name "
                "despite If-None-Match): make sure that only one run writes there, and promise it with --single-writer"
            )

    @cached_property
    def _refuses_second(self) -> bool:
        """Whether the store refuses to put a second object of one name when asked to."""
        name = f"tmp/{uuid.uuid4().hex}.part"
        try:
            self._put(name, b"1", "overwrite")  # with "create", a second attempt might be refused for the first's sake
            return not self._put_new(name, b"2")
        finally:
            with contextlib.suppress(EnvironmentFailure):  # what is left in tmp/ does no harm
                self.remove(name)

    def _put_new(self, name: str, data: bytes) -> bool:
        try:
            self._put(name, data, "create")
        except FileExistsError:
            return False
        return True

    def _put(self, name: str, data: bytes, mode: str) -> None:
        """Put an object; `mode` is fsspec's: `overwrite`, or `create`, which some stores do not know."""
        try:
            self._call("write", name, lambda system, path: system.pipe_file(path, data, mode=mode))
        except FileNotFoundError as error:
            raise EnvironmentFailure(f"cannot write {self.place(name)}: {error}; create it, or name another") from error

    @cached_property
    def _located(self) -> "tuple[AbstractFileSystem, str]":
        """Fsspec's file system, and what it calls the URL."""
        import fsspec

        protocol, _, path = self.url.partition("://")
        if protocol == "file":
            raise UsageError(f"{self.url}: name a local folder by its path, {path}")
        try:
            system, path = fsspec.url_to_fs(self.url, use_listings_cache=False, **_OPTIONS.get(protocol, {}))
        except ImportError as error:
            extra = _EXTRAS.get(protocol)
            hint = suggest_install(f"stillframe[{extra}]") if extra else str(error)
            raise UsageError(f"{self.url}: {protocol}:// takes another package: {hint}") from None
        except ValueError as error:
            raise UsageError(f"{self.url}: {error}; expected s3://, gs:// or az://, or a path") from None
        return system, path.rstrip("/")

    def place(self, name: str) -> str:
        """See ReadableFiles."""
        return f"{self.url}/{name}" if name else self.url

    def _call(self, what: str, name: str, operation: "Callable[[AbstractFileSystem, str], Result]") -> Result:
        system, root = self._located
        path = f"{root}/{name}" if name else root
        for number in range(_ATTEMPTS):
            try:
                return operation(system, path)
            except (FileNotFoundError, FileExistsError, NotADirectoryError):
                raise
            except Exception as error:  # each backend lets through errors of its own libraries
                if number == _ATTEMPTS - 1 or isinstance(error, _FINAL):
                    raise EnvironmentFailure(
                        f"cannot {what} {self.place(name)}: {_reason(system, path, error)}; check the address, "
                        "the credentials and the network, then run the same command again"
                    ) from error
            time.sleep(_FIRST_PAUSE * 2**number * random.uniform(0.5, 1.0))  # noqa: S311  not for secrets
        raise AssertionError


def _reason(system: "AbstractFileSystem", path: str, error: Exception) -> str:
    """Why a request failed. The answer to a question about an object has no text in S3; that to a read has one."""
    if error.args in _UNEXPLAINED:
        try:
            system.cat_file(path, start=0, end=1)
        except Exception as explained:  # noqa: BLE001  each backend lets through errors of its own libraries
            error = error if isinstance(explained, FileNotFoundError) else explained
    return str(error).rstrip(".") or type(error).__name__


def modified(info: Mapping[str, object]) -> int:
    """When an object was last modified, in ns since 1970, or -1 if fsspec's `info` does not say; each backend has its own key.

    It is cut to whole seconds: listings of many servers have milliseconds where answers for one object (HTTP's
    Last-Modified) have seconds, and the two must agree.
    """
    for key in ("LastModified", "last_modified", "mtime", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return int(aware.timestamp() // 1) * 10**9
        if isinstance(value, int | float):
            return int(value // 1) * 10**9
    return -1
