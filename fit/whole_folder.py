"""Folders that appear whole or not at all."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store.errors import EnvironmentFailure, StillframeError


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A new folder to write into, beside `folder`, whose name it takes if the block ends well; one there is replaced.

    Raises:
        EnvironmentFailure: it cannot be written.
    """
    part = folder.with_name(f".{uuid.uuid4().hex}.part")  # no longer than the longest name that there can be
    try:
        part.mkdir(parents=True)
        try:
            yield part
            _put_in_place(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except StillframeError:
        raise
    except OSError as error:
        raise EnvironmentFailure(
            f"cannot write {folder}: {error.strerror or error}; fix that, then run the same command again"
        ) from error


def _put_in_place(written: Path, folder: Path) -> None:
    """Give a folder its name. One that has the name is set aside first, and put back if the new one cannot have it."""
    aside = written.with_suffix(".old")
    if folder.exists():
        folder.rename(aside)
    try:
        written.rename(folder)
    except OSError:
        if aside.exists():
            aside.rename(folder)
        raise
    shutil.rmtree(aside, ignore_errors=True)
