"""Object stores, through fsspec: `s3://`, `gs://`, `az://` and whatever else it knows.

Every call is tried again a few times where its error may pass; errors then come out as this project's own.
Credentials and addresses are the libraries' own matter: environment variables, their files in the home folder, or
fsspec's configuration.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from store.errors import EnvironmentFailure, UsageError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

Result = TypeVar("Result")

AT_ONCE = 32
"""Requests worth having under way at once: each waits for its answer far longer than it takes to send."""

_TRIES = 5
_FIRST_PAUSE = 0.2  # seconds; each is twice as long as the one before, and up to half of it shorter
_FINAL = (FileNotFoundError, FileExistsError, PermissionError, NotADirectoryError, IsADirectoryError, ValueError)
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "abfs": "azure", "abfss": "azure"}
_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": {"max_pool_connections": AT_ONCE}}}
_OPTIONS["s3a"] = _OPTIONS["s3"]


class ObjectStore:
    """All objects whose name begins as a URL does. Names are relative to it and `/`-separated.

    Raises (every method):
        EnvironmentFailure: it cannot be reached, or does not let us.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        if "://" not in self.url and "::" not in self.url:
            raise UsageError(f"{url}: expected a bucket and a folder, as in {self.url}//bucket/photos")
        self._located  # noqa: B018  a URL of an unknown kind is said at once

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}

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
            hint = f"pip install 'stillframe[{extra}]'" if extra else str(error)
            raise UsageError(f"{self.url}: {protocol}:// takes another package: {hint}") from None
        except ValueError as error:
            raise UsageError(f"{self.url}: {error}; expected s3://, gs:// or az://, or a path") from None
        return system, path.rstrip("/")

    def exists(self) -> bool:
        """Whether any object's name begins so."""
        return self._call("look at", "", lambda system, path: bool(system.exists(path)))

    def is_file(self, name: str = "") -> bool:
        """Whether there is an object of just this name."""
        return self.status(name) is not None

    def names(self, folder: str) -> list[str]:
        """The sorted names of objects and folders in a folder; none if there is no such folder."""
        try:
            found = self._call("list", folder, lambda system, path: system.ls(path, detail=False))
        except (FileNotFoundError, NotADirectoryError):
            return []
        return sorted({path.rstrip("/").rpartition("/")[2] for path in found} - {""})

    def files(self) -> Iterator[tuple[str, int, int]]:
        """Name, size and modification time (ns; -1 if unknown) of every object, in no special order."""
        _, root = self._located
        found = self._call("list", "", lambda system, path: system.find(path, detail=True))
        for path, info in found.items():
            if info["type"] == "file":
                yield path[len(root) + 1 :], int(info["size"]), modified(info)

    def status(self, name: str) -> tuple[int, int] | None:
        """An object's size and modification time (ns; -1 if unknown); None if there is none."""
        try:
            info = self._call("look at", name, lambda system, path: system.info(path))
        except FileNotFoundError:
            return None
        return (int(info["size"]), modified(info)) if info["type"] == "file" else None

    def read(self, name: str) -> bytes:
        """An object's bytes.

        Raises:
            FileNotFoundError: there is none.
        """
        return bytes(self._call("read", name, lambda system, path: system.cat_file(path)))

    def write(self, name: str, data: bytes, mode: str) -> None:
        """Put an object; `mode` is fsspec's: `overwrite`, or `create`, which some stores do not know.

        Raises:
            FileExistsError: with `create`, there is one already.
        """
        try:
            self._call("write", name, lambda system, path: system.pipe_file(path, data, mode=mode))
        except FileNotFoundError as error:
            raise EnvironmentFailure(f"cannot write {self.place(name)}: {error}; create it, or name another") from error

    def remove(self, name: str) -> None:
        """Delete an object, if there is one."""
        with suppress(FileNotFoundError):
            self._call("delete", name, lambda system, path: system.rm_file(path))

    def place(self, name: str) -> str:
        """The URL of a name."""
        return f"{self.url}/{name}" if name else self.url

    def _call(self, what: str, name: str, operation: "Callable[[AbstractFileSystem, str], Result]") -> Result:
        system, root = self._located
        path = f"{root}/{name}" if name else root
        for number in range(_TRIES):
            try:
                return operation(system, path)
            except (FileNotFoundError, FileExistsError, NotADirectoryError):
                raise
            except Exception as error:  # each backend lets through errors of its own libraries
                if number == _TRIES - 1 or isinstance(error, _FINAL):
                    raise EnvironmentFailure(
                        f"cannot {what} {self.place(name)}: {str(error) or type(error).__name__}; check the address, "
                        "the credentials and the network, then run the same command again"
                    ) from error
            time.sleep(_FIRST_PAUSE * 2**number * random.uniform(0.5, 1.0))  # noqa: S311  not for secrets
        raise AssertionError


def modified(info: dict[str, Any]) -> int:
    """When an object was written, in ns since 1970; -1 if fsspec's `info` does not say. Each backend has its own key."""
    for key in ("LastModified", "last_modified", "mtime", "created"):
        value = info.get(key)
        if isinstance(value, datetime):
            aware = value if value.tzinfo else value.replace(tzinfo=UTC)
            return round(aware.timestamp() * 1e6) * 1000
        if isinstance(value, int | float):
            return int(value * 1e9)
    return -1
