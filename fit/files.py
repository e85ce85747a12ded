"""Files that are there whole or not at all."""

import os
from pathlib import Path

from store.errors import EnvironmentFailure, UsageError


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, and the folders above it; what stood under that name is replaced.

    Raises:
        EnvironmentFailure: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise EnvironmentFailure(f"cannot write {path}: {error.strerror or error}") from error


def require_png(path: Path) -> None:
    """Raise UsageError unless the file's ending says that it is a picture."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"--out {path}: expected a file ending in .png")
