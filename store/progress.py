"""What people see while work is in progress: lines of text, and a bar on a terminal or timed lines in a log."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, Protocol, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_FIRST_SECONDS = 1.0
_LINE_SECONDS = 10.0
_BAR_SECONDS = 0.2
_STANDARD_ERROR = 2


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


def _silent_step(_what: str, _total: int | None) -> Progress:
    return Silence()


@dataclass(frozen=True)
class Reporter:
    """How work in progress reports to people.

    `message` takes one line of text, `progress` gives a display for a number of images to extract. `step` gives one for
    anything else that may take more than a second: what is being done, and in how many parts, None where nobody knows.
    With `debug`, the messages of libraries are shown too.
    """

    message: Callable[[str], None] = _ignore
    progress: Callable[[int], Progress] = _silent
    debug: bool = False
    step: Callable[[str, int | None], Progress] = _silent_step


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
    """A plain line after a second and then every ten, for logs."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._start = self._last_line = time.monotonic()
        self._pause = _FIRST_SECONDS

    def __enter__(self) -> Self:
        self._start = self._last_line = time.monotonic()
        return self

    def advance(self, images: int, _failures: int, /) -> None:
        """Write a line if it is time for one and more is to come."""
        self._done += images
        now = time.monotonic()
        if now - self._last_line < self._pause or self._done >= self._total:
            return
        self._last_line, self._pause = now, _LINE_SECONDS
        rate = self._done / (now - self._start)
        left = (self._total - self._done) / rate
        print(
            f"{time.strftime('%H:%M:%S')}  {self._done:,} of {self._total:,} images, {rate:.1f} images/s, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )


class _Step(Silence):
    """A step that is shown by a thread of its own, so that it may be one long call; not in its first second.

    It writes to a copy of standard error, for libraries are kept quiet by closing the original while they work.
    """

    seconds: ClassVar[float]
    """Seconds between updates."""

    def __init__(self, what: str, total: int | None) -> None:
        self._what = what
        self._total = total
        self._done = 0
        self._start = 0.0
        self._stream: TextIO = sys.stderr
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._show_at_times, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._start = time.monotonic()
        self._stream = _copy_of_standard_error()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._hide()
        if self._stream is not sys.stderr:
            with contextlib.suppress(OSError):
                self._stream.close()

    def advance(self, parts: int, _failures: int, /) -> None:
        """Count parts that are done."""
        self._done += parts

    def _show_at_times(self) -> None:
        pause = _FIRST_SECONDS
        while not self._ended.wait(pause):
            self._show()
            pause = self.seconds

    def _show(self) -> None:
        raise NotImplementedError

    def _hide(self) -> None:
        """Hide the progress; by default it stays."""


def _copy_of_standard_error() -> TextIO:
    """A stream to where standard error goes now; standard error itself where it is not descriptor 2, as in notebooks."""
    try:
        number = sys.stderr.fileno()
    except (OSError, AttributeError):
        return sys.stderr
    if number != _STANDARD_ERROR:
        return sys.stderr
    return open(os.dup(number), "w", encoding=sys.stderr.encoding, errors="backslashreplace")


class StepLines(_Step):
    """A plain line after a second and then every ten, for logs and notebooks."""

    seconds = _LINE_SECONDS

    def _show(self) -> None:
        done = "" if self._total is None else f", {self._done:,} of {self._total:,}"
        line = f"{time.strftime('%H:%M:%S')}  {self._what}{done}, {time.monotonic() - self._start:.0f} s so far"
        with contextlib.suppress(OSError):
            print(line, file=self._stream, flush=True)


class StepBar(_Step):
    """A bar with the time taken, on standard error."""

    seconds = _BAR_SECONDS

    def __init__(self, what: str, total: int | None) -> None:
        super().__init__(what, total)
        self._bar: RichProgress | None = None

    def _show(self) -> None:
        if self._bar is None:
            self._bar = self._new_bar()
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=self._done)

    def _hide(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def _new_bar(self) -> "RichProgress":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        counted = [] if self._total is None else [MofNCompleteColumn()]
        bar = RichProgress(
            TextColumn("{task.description}", markup=False), BarColumn(), *counted, TimeElapsedColumn(),
            console=Console(file=self._stream), transient=True, redirect_stdout=False, redirect_stderr=False,
        )  # fmt: skip
        bar.add_task(self._what, total=self._total, start=True)
        return bar


def step_for(what: str, total: int | None, quiet: bool) -> Progress:
    """The display of a step that suits standard error, as `progress_for` gives one."""
    if quiet:
        return Silence()
    return StepBar(what, total) if sys.stderr.isatty() else StepLines(what, total)


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def console_reporter(message: Callable[[str], None] = _print, quiet: bool = False, debug: bool = False) -> Reporter:
    """A reporter that shows progress on standard error and gives its messages to `message`, by default there too."""
    return Reporter(
        message, lambda total: progress_for(total, quiet), debug, lambda what, total: step_for(what, total, quiet)
    )


def progress_for(total: int, quiet: bool) -> Progress:
    """The display that suits standard error: a bar on a terminal, lines in a log, none if `quiet`."""
    if quiet:
        return Silence()
    return Bar(total) if sys.stderr.isatty() else Lines(total)
