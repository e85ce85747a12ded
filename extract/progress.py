"""What people see while work is in progress: lines of text, and a bar on a terminal or timed lines in a log."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

_LINE_SECONDS = 10.0


class Progress(Protocol):
    """Counts images as they are done; entered before the first, left after the last."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def advance(self, images: int, failures: int, /) -> None:
        """Count images that are computed or have failed; `failures` of the `images` have failed."""
        ...

    def commit(self, images: int, failures: int, /) -> None:
        """Count images whose shard is committed: what a run that ends here keeps."""
        ...


class Silence:
    """Progress that is not shown."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def advance(self, images: int, failures: int, /) -> None:
        """Ignored."""

    def commit(self, images: int, failures: int, /) -> None:
        """Ignored."""


def _ignore(_: str) -> None:
    pass


def _silent(_: int) -> Progress:
    return Silence()


@dataclass(frozen=True)
class Reporter:
    """How work in progress reports to people.

    `message` takes one line of text, `progress` gives a display for a number of images. With `debug`, the messages of
    libraries are shown too.
    """

    message: Callable[[str], None] = _ignore
    progress: Callable[[int], Progress] = _silent
    debug: bool = False


SILENT = Reporter()
"""Reports nothing."""


class Bar(Silence):
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


class Lines(Silence):
    """A plain line every ten seconds, for logs."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._start = self._last_line = time.monotonic()

    def __enter__(self) -> Self:
        self._start = self._last_line = time.monotonic()
        return self

    def advance(self, images: int, _failures: int, /) -> None:
        """Write a line if ten seconds have passed since the last one."""
        self._done += images
        now = time.monotonic()
        if now - self._last_line < _LINE_SECONDS:
            return
        self._last_line = now
        rate = self._done / (now - self._start)
        left = (self._total - self._done) / rate
        print(
            f"{time.strftime('%H:%M:%S')}  {self._done:,} of {self._total:,} images, {rate:.1f} images/s, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )


def progress_for(total: int, quiet: bool) -> Progress:
    """The display that suits standard error: a bar on a terminal, lines in a log, none if `quiet`."""
    if quiet:
        return Silence()
    return Bar(total) if sys.stderr.isatty() else Lines(total)
