"""What a run tells while it runs: time by phase, a bar on a terminal, timed lines elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol, Self

_LINE_SECONDS = 10.0

ADVICE = {
    "read": "reading limits: put the images on a faster disk, or raise --workers if it is a network mount",
    "decode": "decoding limits: raise --workers if cores are idle, or store the images smaller",
    "compute": "the network limits: a GPU or a smaller backbone would be faster",
    "write": "writing limits: put the store on a faster disk",
    "": "nothing was computed",
}
"""One line of verdict for each phase that can limit a run."""


class Clock:
    """Seconds spent in each phase, and the span from the first phase's start to the last one's end; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._busy: dict[str, float] = {}
        self._first: float | None = None
        self._last = 0.0

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time until the block ends towards `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            end = time.perf_counter()
            with self._lock:
                self._busy[name] = self._busy.get(name, 0.0) + end - start
                self._first = start if self._first is None else min(start, self._first)
                self._last = max(end, self._last)

    @property
    def span(self) -> float:
        """Seconds from the first read to the last commit."""
        return self._last - self._first if self._first is not None else 0.0

    def phases(self, workers: int) -> dict[str, float]:
        """Seconds by phase; reading and decoding are divided by their threads, so that phases compare."""
        shares = {"read": workers, "decode": workers}
        return {
            name: self._busy.get(name, 0.0) / shares.get(name, 1) for name in ("read", "decode", "compute", "write")
        }


def limiting_phase(phases: dict[str, float]) -> str:
    """The phase that took longest, for they overlap; empty if nothing was done."""
    longest = max(phases, key=lambda name: phases[name])
    return longest if phases[longest] > 0 else ""


class Progress(Protocol):
    """Told of every image that is done; entered before the first, left after the last."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def advance(self, images: int) -> None:
        """So many more images are done, as rows or as failures."""
        ...


class Silence:
    """No progress at all."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, images: int) -> None:
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

    def advance(self, images: int) -> None:
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

    def advance(self, images: int) -> None:
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
