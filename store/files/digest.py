"""SHA-256 of files, and whether a file has the bytes that gave it its name, looked up before a library parses it.

For that, a file is read through once per process: what it gave is remembered by path, size, time of modification and
inode. A file that changes while it is parsed is not noticed.
"""

import functools
import hashlib
import os
from pathlib import Path

from store.files.disk import opened_regular, unreadable

_REMEMBERED = 2**16  # files; some hundred bytes each


def has_right_bytes(path: Path) -> bool:
    """Whether a file, named `<SHA-256>.<ending>`, has the bytes that its name is made of.

    Raises:
        NotARegularFile: it is something else.
        OSError: it cannot be read.
    """
    status = os.stat(path)
    return _digest(os.fspath(path), status.st_size, status.st_mtime_ns, status.st_ino) == digest_in(path.name)


def digest_in(name: str) -> str:
    """The SHA-256 that a file is named by."""
    return name.partition(".")[0]


def sha256_of(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        NotARegularFile: it is something else.
        OSError: it cannot be read.
    """
    with opened_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_sha256(path: Path) -> str:
    """SHA-256 of a file.

    Raises:
        EnvironmentFailure: it cannot be read.
    """
    try:
        return sha256_of(path)
    except OSError as error:
        raise unreadable(error, path) from error


@functools.lru_cache(_REMEMBERED)
def _digest(path: str, _size: int, _modified: int, _inode: int) -> str:
    """SHA-256 of a file in the state that the arguments after its path stand for."""
    return sha256_of(Path(path))
