"""Standard output and standard error of a program, changed inside a block."""

import contextlib
import io
import sys
from collections.abc import Iterator


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
