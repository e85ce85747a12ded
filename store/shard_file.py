"""Reading the file of a shard: the one way from a file in data/ to the library that parses it."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TypeVar

from store.errors import DamagedStore, EnvironmentFailure, StillframeError
from store.files import disk
from store.files.base import Files
from store.records import CommitRecord
from store.suggestions import naming_store, suggest

Result = TypeVar("Result")

_CHECKED_AHEAD = 4  # shard files: SHA-256 takes a core a second per GB


def read_shard(files: Files, record: CommitRecord, read: Callable[[Path], Result]) -> Result:
    """What `read` gives for a record's shard file, on this machine and with the bytes that gave it its name.

    It is read again, after pauses, where the system's error may pass.

    Raises:
        DamagedStore: the file is missing or not what was written.
        EnvironmentFailure: it cannot be read.
    """
    name = _name(record)
    try:
        with naming_store(files):
            with suppress(FileNotFoundError):  # another process may delete a cached copy right before it is opened
                return disk.retried(lambda: read(files.local_copy(name)))
            return read(files.local_copy(name))
    except EnvironmentFailure:
        raise
    except FileNotFoundError:
        raise DamagedStore(
            f"{files}/{name} is missing: run {suggest('store', 'repair', str(files))}, then extract again"
        ) from None
    except OSError as error:
        raise disk.failure(error, f"cannot read {files.place(name)}") from error


def checked_ahead(files: Files, records: Sequence[CommitRecord]) -> Iterator[int]:
    """The positions 0, 1, … of the records, each once its shard file is checked; meanwhile threads check those that follow.

    A bucket's files are downloaded for that, as many ahead as the cache holds beside the one that is read. An error of a
    file is left to `read_shard`, which meets it again.
    """

    def check(record: CommitRecord) -> None:
        with suppress(OSError, StillframeError):
            files.local_copy(_name(record))

    largest = max((record.shard_bytes for record in records), default=0)
    ahead = min(len(records), _CHECKED_AHEAD, files.room_for_copies // max(largest, 1) - 1)
    if ahead < 2:  # there is nothing to do meanwhile
        yield from range(len(records))
        return
    pool, checks, following = ThreadPoolExecutor(ahead, "check"), deque[Future[None]](), iter(records)
    try:
        for position in range(len(records)):
            checks.extend(pool.submit(check, record) for record in islice(following, ahead - len(checks)))
            checks.popleft().result()
            yield position
    finally:
        pool.shutdown(cancel_futures=True)


def _name(record: CommitRecord) -> str:
    return f"data/{record.shard}"
