"""Standard output and standard error of a program, changed inside a block."""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


@contextlib.contextmanager
def escapes_where_needed() -> Iterator[None]:
    """Inside the block, characters that a stream cannot encode are written as escapes instead of ending the program."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            with contextlib.suppress(OSError):  # it flushes first; the program's end reports what cannot be written
                stream.reconfigure(errors=errors)


def fill_closed_streams() -> None:
    """Connect the standard streams that the program was started without to nowhere.

    The next file that is opened, perhaps one of a store, would get such a stream's number, and what a library prints would
    be written into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  for as long as the process


class _Unfailing(io.FileIO):
    """A stream of which it does not matter whether anybody reads it."""

    def write(self, data: "ReadableBuffer", /) -> int:
        """Write as usual; if that fails, the data is lost."""
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data))


@contextlib.contextmanager
def unfailing_standard_error() -> Iterator[None]:
    """Inside the block, a terminal or a pipe that goes away while messages are written to it is no reason to stop."""
    before = sys.stderr
    try:
        number = before.fileno()
    except (OSError, AttributeError):  # of a notebook, say
        yield
        return
    with io.TextIOWrapper(
        io.BufferedWriter(_Unfailing(number, "w", closefd=False)),
        before.encoding,
        "backslashreplace",
        line_buffering=True,
    ) as stream:
        sys.stderr = stream
        try:
            yield
        finally:
            sys.stderr = before
