"""Reading the file of a shard: the one way from a file in data/ to the library that parses it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from store.errors import DamagedStore, EnvironmentFailure
from store.files import disk
from store.files.base import Files
from store.records import CommitRecord
from store.suggestions import naming_store, suggest

Result = TypeVar("Result")


def read_shard(files: Files, record: CommitRecord, read: Callable[[Path], Result]) -> Result:
    """What `read` gives for a record's shard file, on this machine and with the bytes that gave it its name.

    It is read again, after pauses, where the system's error may pass.

    Raises:
        DamagedStore: the file is missing or not what was written.
        EnvironmentFailure: it cannot be read.
    """
    name = f"data/{record.shard}"
    try:
        with naming_store(files):
            return disk.retried(partial(read, files.local_copy(name)))
    except EnvironmentFailure:
        raise
    except FileNotFoundError:
        raise DamagedStore(
            f"{files}/{name} is missing: run {suggest('store', 'repair', str(files))}, then extract again"
        ) from None
    except OSError as error:
        raise disk.failure(error, f"cannot read {files.place(name)}") from error
