"""Files outside of stores that are there whole or not at all, and the folder for those that may go at any time."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import platformdirs

from store.errors import EnvironmentFailure


def cache_folder() -> Path:
    """Our own cache: STILLFRAME_CACHE, else the platform's."""
    return Path(os.environ.get("STILLFRAME_CACHE") or platformdirs.user_cache_path("stillframe"))


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write to, beside `path`, which becomes `path` only if the block ends well; folders above are made.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, and the folders above it; what stood under that name is replaced.

    Raises:
        EnvironmentFailure: it cannot be written.
    """
    try:
        with whole_file(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise EnvironmentFailure(f"cannot write {path}: {error.strerror or error}") from error
