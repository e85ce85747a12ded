"""What a run tells while it runs: what it waited for, a bar on a terminal, timed lines elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

_LINE_SECONDS = 10.0


class Clock:
    """What a run's time was spent on: all phases overlap, so what counts is how long the loop waited for each.

    The decoding threads report how their own time divides into reading and decoding (`busy`), the loop reports
    its waits, and the span is from the first read to the last commit.
    """

    def __init__(self) -> None:
        self.span = 0.0
        """Seconds from the first read to the last commit."""
        self.processor_seconds = 0.0
        """The process's processor time in that span, all cores together."""
        self._lock = threading.Lock()
        self._busy: dict[str, float] = {}
        self._waited: dict[str, float] = {}
        self._shared: dict[str, float] = {}
        self._start = (0.0, 0.0)

    def start(self) -> None:
        """The first read is next."""
        self._start = (time.perf_counter(), time.process_time())

    def stop(self) -> None:
        """The last commit was made."""
        start, processor_start = self._start
        self.span = time.perf_counter() - start
        self.processor_seconds = time.process_time() - processor_start

    @contextmanager
    def busy(self, name: str) -> Iterator[None]:
        """Count the time until the block ends as work at `name`, read or decode; from any thread."""
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            with self._lock:
                self._busy[name] = self._busy.get(name, 0.0) + seconds

    @contextmanager
    def waiting(self, name: str) -> Iterator[None]:
        """Count the time until the block ends as the loop's wait for `name`: decode, compute or write."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._waited[name] = self._waited.get(name, 0.0) + time.perf_counter() - start

    def waited(self, phases: Mapping[str, float], sharers: int) -> None:
        """Count what one of so many loops at once waited for."""
        for name, seconds in phases.items():
            self._shared[name] = self._shared.get(name, 0.0) + seconds / sharers

    def phases(self) -> dict[str, float]:
        """Seconds that the loop waited for each phase; the rest of the span it was busy itself."""
        images = self._waited.get("decode", 0.0)
        worked = sum(self._busy.values())
        reading = images * self._busy.get("read", 0.0) / worked if worked else 0.0
        own = {
            "read": reading,
            "decode": images - reading,
            "compute": self._waited.get("compute", 0.0),
            "write": self._waited.get("write", 0.0),
        }
        return {name: seconds + self._shared.get(name, 0.0) for name, seconds in own.items()}


class Progress(Protocol):
    """Told of every image that is done; entered before the first, left after the last."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def advance(self, images: int, failures: int, /) -> None:
        """So many more images are done, as rows or as failures; so many of them as failures."""
        ...


class Silence:
    """No progress at all."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, images: int, failures: int, /) -> None:
        """Nothing."""


class Bar:
    """A bar with rate and time left, on standard error."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.speed:.1f} images/s" if task.speed else "")

        self._bar = RichProgress(
            TextColumn("extracting"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn(),
            console=Console(stderr=True), transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def advance(self, images: int, _failures: int, /) -> None:
        """Move the bar on."""
        self._bar.advance(self._task, images)


class Lines:
    """A plain line every ten seconds, for logs."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._start = self._told = time.monotonic()

    def __enter__(self) -> Self:
        self._start = self._told = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, images: int, _failures: int, /) -> None:
        """Write a line if ten seconds have passed since the last."""
        self._done += images
        now = time.monotonic()
        if now - self._told < _LINE_SECONDS:
            return
        self._told = now
        rate = self._done / (now - self._start)
        left = (self._total - self._done) / rate
        print(
            f"{time.strftime('%H:%M:%S')}  {self._done:,} of {self._total:,} images, {rate:.1f} images/s, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )


def progress_for(total: int, quiet: bool) -> Progress:
    """What suits standard error: a bar on a terminal, lines in a log, nothing if asked."""
    if quiet:
        return Silence()
    return Bar(total) if sys.stderr.isatty() else Lines(total)
