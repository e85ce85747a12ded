"""A JSON file with the state of a run, for monitors: complete at every moment and rewritten every two seconds.

Its keys are the fields of `Status` and `updated`, the time of writing. An old `updated` means that the process is gone.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from store.errors import EnvironmentFailure, StoppedEarly
from store.files.local import whole_file
from store.progress import Progress, Reporter

_SECONDS = 2.0


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Status:
    """The state of a run.

    Attributes:
        store: the store's folder.
        state: starting, running, done, stopped (run it again) or failed.
        images: that this run has to compute; None until that is known.
        done: images computed so far; once the run has ended, those whose shard is committed.
        failures: how many of those failed.
        images_per_second: since the first image.
        seconds_left: at that rate; None where it is unknown.
        error: why it stopped or failed.
        host: the machine that it runs on.
        process: its process id there.
        started: ISO 8601 in UTC.
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
        """The state after that many more images are done, `seconds` after the first one began."""
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
    """Keeps a status file up to date.

    A file that cannot be written is an error at the start; later it is no reason to stop a run.

    Raises:
        EnvironmentFailure: the file cannot be written.
    """

    def __init__(self, path: Path, store: str) -> None:
        self.status = Status(store)
        self._committed = (0, 0)  # images, and failures among them
        self._path = path
        self._writing = threading.Lock()
        try:
            self._write()
        except OSError as error:
            raise EnvironmentFailure(
                f"cannot write --status-file {path}: {error.strerror}; name a file in a folder that can be written"
            ) from error

    def begin(self, images: int) -> None:
        """The run has started to compute that many images."""
        self._set(replace(self.status, state="running", images=images))

    def advance(self, images: int, failures: int, seconds: float) -> None:
        """More images are computed, `seconds` after the first one began."""
        self._set(self.status.advanced(images, failures, seconds))

    def commit(self, images: int, failures: int) -> None:
        """A shard with that many images is committed."""
        self._committed = (self._committed[0] + images, self._committed[1] + failures)

    def end(self, state: str, error: str | None = None) -> None:
        """The run has ended. What counts as done is what is committed: shards in progress are dropped."""
        done, failures = self._committed
        left = 0.0 if state == "done" else None
        images = 0 if state == "done" and self.status.images is None else self.status.images
        self._set(
            replace(
                self.status, state=state, images=images, done=done, failures=failures, error=error, seconds_left=left
            )
        )

    def _set(self, status: Status) -> None:
        before, self.status = self.status, status
        if status.state != before.state:
            self.rewrite()

    def rewrite(self) -> None:
        """Write the file; failing that, leave it as it is."""
        with self._writing, suppress(OSError):
            self._write()

    @contextmanager
    def rewritten(self) -> Iterator[None]:
        """Rewrite the file every two seconds, in a thread of its own: loading a network or a shard may take minutes."""
        ended = threading.Event()

        def rewrite() -> None:
            while not ended.wait(_SECONDS):
                self.rewrite()

        thread = threading.Thread(target=rewrite, name="status file", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _write(self) -> None:
        with whole_file(self._path) as part:
            part.write_text(json.dumps({**asdict(self.status), "updated": _now()}, indent=2) + "\n", encoding="utf-8")


class _FollowedProgress:
    """A progress display that the status file follows."""

    def __init__(self, display: Progress, file: StatusFile, total: int) -> None:
        self._display = display
        self._file = file
        self._total = total
        self._start = 0.0

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        self._file.begin(self._total)
        self._display.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.__exit__(kind, error, trace)

    def advance(self, images: int, failures: int, /) -> None:
        self._display.advance(images, failures)
        self._file.advance(images, failures, time.monotonic() - self._start)

    def commit(self, images: int, failures: int, /) -> None:
        self._display.commit(images, failures)
        self._file.commit(images, failures)


@contextmanager
def followed(path: Path | None, store: str, reporter: Reporter) -> Iterator[Reporter]:
    """A reporter whose progress the status file at `path` follows; without a path, the reporter itself.

    Raises:
        EnvironmentFailure: the file cannot be written.
    """
    if path is None:
        yield reporter
        return
    file = StatusFile(path, store)
    try:
        with file.rewritten():
            yield replace(reporter, progress=lambda total: _FollowedProgress(reporter.progress(total), file, total))
    except BaseException as error:
        stopped = isinstance(error, StoppedEarly | KeyboardInterrupt)
        reason = str(error) or "stopped early: run the same command again to continue"
        file.end("stopped" if stopped else "failed", reason)
        raise
    file.end("done")
