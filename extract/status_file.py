"""A file that says how a run stands, for monitors: whole at every moment, renewed every other second.

Its keys are the fields of `Status`, and `updated`, the time it was written: long ago only if the process is gone.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from extract.progress import Progress
from store.errors import EnvironmentFailure, StoppedEarly
from store.files.local import whole_file

_SECONDS = 2.0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Status:
    """How a run stands.

    Attributes:
        store: the store's folder.
        state: starting, running, done, stopped (run it again) or failed.
        images: how many this run has to do; None until that is known.
        done: how many of them it has done.
        failures: how many of those failed.
        images_per_second: since the first was begun.
        seconds_left: at that rate; None where it cannot be said.
        error: why it stopped or failed.
        host: where it runs.
        process: its number there.
        started: when, ISO 8601 in UTC.
    """

    store: str
    state: str = "starting"
    images: int | None = None
    done: int = 0
    failures: int = 0
    images_per_second: float = 0.0
    seconds_left: float | None = None
    error: str | None = None
    host: str = field(default_factory=socket.gethostname)
    process: int = field(default_factory=os.getpid)
    started: str = field(default_factory=_now)

    def advanced(self, images: int, failures: int, seconds: float) -> "Status":
        """So many more images are done, `seconds` after the first was begun."""
        done = self.done + images
        rate = done / seconds if seconds > 0 else 0.0
        left = (self.images - done) / rate if self.images is not None and rate else None
        return replace(
            self,
            done=done,
            failures=self.failures + failures,
            images_per_second=round(rate, 3),
            seconds_left=None if left is None else round(left, 1),
        )


class StatusFile:
    """Keeps one such file up to date. That it cannot be written is an error at the start, and later no reason to stop."""

    def __init__(self, path: Path, store: str) -> None:
        self.status = Status(store)
        self._path = path
        self._writing = threading.Lock()
        try:
            self._write()
        except OSError as error:
            raise EnvironmentFailure(
                f"cannot write --status-file {path}: {error.strerror}; name a file in a folder that can be written"
            ) from error

    def tell(self, status: Status) -> None:
        """Take it over, and write it at once where the state is another one."""
        before, self.status = self.status, status
        if status.state != before.state:
            self.renew()

    def renew(self) -> None:
        """Write it."""
        with self._writing, suppress(OSError):
            self._write()

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """While open it is written every other second, by a thread of its own: a shard or a network may take minutes."""
        ended = threading.Event()

        def renew() -> None:
            while not ended.wait(_SECONDS):
                self.renew()

        thread = threading.Thread(target=renew, name="status file", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _write(self) -> None:
        with whole_file(self._path) as part:
            part.write_text(json.dumps({**asdict(self.status), "updated": _now()}, indent=2) + "\n", encoding="utf-8")


class _Told:
    """A progress display that the status file follows."""

    def __init__(self, display: Progress, file: StatusFile, total: int) -> None:
        self._display = display
        self._file = file
        self._total = total
        self._start = 0.0

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        self._file.tell(replace(self._file.status, state="running", images=self._total))
        self._display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.__exit__(kind, error, trace)

    def advance(self, images: int, failures: int, /) -> None:
        self._display.advance(images, failures)
        self._file.tell(self._file.status.advanced(images, failures, time.monotonic() - self._start))


@contextmanager
def followed(path: Path | None, store: str, progress: Callable[[int], Progress]) -> Iterator[Callable[[int], Progress]]:
    """While open, the file at `path`, if one is wanted, follows the run and every progress made by what this gives.

    Raises:
        EnvironmentFailure: the file cannot be written.
    """
    if path is None:
        yield progress
        return
    file = StatusFile(path, store)
    try:
        with file.renewed():
            yield lambda total: _Told(progress(total), file, total)
    except BaseException as error:
        stopped = isinstance(error, StoppedEarly | KeyboardInterrupt)
        told = str(error) or "stopped early: run the same command again to go on"
        file.tell(replace(file.status, state="stopped" if stopped else "failed", error=told, seconds_left=None))
        raise
    file.tell(replace(file.status, state="done", seconds_left=0.0))
