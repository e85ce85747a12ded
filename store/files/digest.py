"""Whether a file has the bytes that gave it its name, looked up before a library parses it.

A file is read through once per process: what it gave is remembered by path, size, time of modification and inode. A
file that changes while it is parsed is not noticed.
"""

import functools
import hashlib
import os
from pathlib import Path

from store.files.disk import opened_regular

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


@functools.lru_cache(_REMEMBERED)
def _digest(path: str, _size: int, _modified: int, _inode: int) -> str:
    """SHA-256 of a file in the state that the arguments after its path stand for."""
    with opened_regular(Path(path)) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
