"""The cache folder: files that may be deleted at any time, for they can be made or downloaded again.

Among them are copies of shards of object stores, named as in the store by the SHA-256 of their bytes. Their size together
is limited: STILLFRAME_CACHE_LIMIT, in bytes or as in `500MB`, 10 GB by default; the least recently used are deleted
first.
"""

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import platformdirs

from store.errors import UsageError
from store.files.digest import digest_in, has_right_bytes
from store.files.local import write_whole

LIMIT = 10 * 10**9
"""Bytes that the copies of shards may take together, unless STILLFRAME_CACHE_LIMIT says otherwise."""

_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?B)?", re.IGNORECASE)


def cache_folder() -> Path:
    """Our own cache: STILLFRAME_CACHE, else the platform's."""
    return Path(os.environ.get("STILLFRAME_CACHE") or platformdirs.user_cache_path("stillframe"))


def cache_limit() -> int:
    """Bytes that the copies of shards may take together.

    Raises:
        UsageError: STILLFRAME_CACHE_LIMIT is not a size.
    """
    given = os.environ.get("STILLFRAME_CACHE_LIMIT", "").strip()
    if not given:
        return LIMIT
    size = _SIZE.fullmatch(given)
    if size is None:
        raise UsageError(f"STILLFRAME_CACHE_LIMIT is {given!r}: expected a size, such as 500MB or 20GB")
    return int(float(size[1]) * _UNITS[(size[2] or "").upper()])


def cached_shard(name: str, download: Callable[[], bytes]) -> Path | None:
    """A copy of the shard `name`, checked when this process first uses it, and downloaded if there is no right one.

    Returns:
        Its path; None if what `download` gave are not the bytes that the name is made of.

    Raises:
        EnvironmentFailure: the copy cannot be written.
    """
    copy = cache_folder() / "shards" / name
    if not _is_right(copy):
        data = download()
        if not _has_name(data, name):
            return None
        write_whole(copy, data)
        _shrink(copy)
    with contextlib.suppress(OSError):  # another process may delete it just now, and a read-only cache will do
        # Its time of use alone: by that of modification, processes know that they have checked it.
        os.utime(copy, ns=(time.time_ns(), copy.stat().st_mtime_ns))
    return copy


def _is_right(copy: Path) -> bool:
    """Whether there is a copy with the bytes that its name is made of."""
    try:
        return has_right_bytes(copy)
    except OSError:
        return False


def _has_name(data: bytes, name: str) -> bool:
    return hashlib.sha256(data).hexdigest() == digest_in(name)


def _shrink(newest: Path) -> None:
    """Delete the least recently used copies until all are within the limit; the newest one always stays."""
    limit = cache_limit()
    copies = []
    for path in newest.parent.iterdir():
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            copies.append((status.st_atime_ns, status.st_size, path))
    total = sum(size for _, size, _ in copies)
    for _, size, path in sorted(copies):
        if total <= limit:
            return
        if path != newest:
            path.unlink(missing_ok=True)
            total -= size
