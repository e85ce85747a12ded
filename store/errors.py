"""Every error Stillframe raises on purpose, with the exit code a command ends with.

    StillframeError                1   a bug, when nothing below fits
    ├── UsageError                 2   wrong use: a bad option, a value out of range   (also ValueError)
    │   ├── NotAStore              2   the folder holds something else, or nothing
    │   ├── UnsafeFile             2   a file that could run code when it is loaded
    │   ├── PrecisionMissing       2   this machine does not compute in it
    │   └── RecipeMismatch         2   the store was made with another recipe
    ├── TooManyFailures            3   done, but more images failed than --max-bad allows
    ├── DamagedStore               4   stored bytes are not what was written
    ├── DamagedHead                4   a head's files are not what was written
    ├── EnvironmentFailure        74   disk full, permission, network: fix it, run again    (also OSError)
    └── StoppedEarly              75   stopped on purpose, or not finished: run the same command again

Exit codes 74 and 75 are EX_IOERR and EX_TEMPFAIL of BSD's sysexits.h, which schedulers know.
Every message says what was expected, what was found, and what to do next.
"""

import re

_STYLE = re.compile(r"\x1b\[[0-9;]*m")  # bold words in the messages of Keras
_NO_THREAD = ("can't start new thread", "Failed to launch worker thread")  # Python's words and Arrow's


class StillframeError(Exception):
    """Base of every error raised on purpose; `exit_code` is what a command ends with."""

    exit_code = 1


class UsageError(StillframeError, ValueError):
    """The request itself is wrong: running it again unchanged cannot help.

    Args:
        message: what was expected, what came and what to do, in one line.
        example: lines that a user can copy, such as those of a file to write; they are shown below the message.
    """

    exit_code = 2

    def __init__(self, message: str = "", example: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.example = example

    def __str__(self) -> str:
        return f"{self.message}\n\n{self.example}" if self.example else self.message


class NotAStore(UsageError):
    """The folder is not a store, or one that this version cannot read."""


class UnsafeFile(UsageError):
    """A file that could run code when it is loaded: it is not loaded."""


class PrecisionMissing(UsageError):
    """A precision was asked for that this machine does not compute in."""


class RecipeMismatch(UsageError):
    """A store was asked to take features of another recipe than its own."""


class TooManyFailures(StillframeError):
    """The run is complete, but more images failed than was allowed."""

    exit_code = 3


class DamagedStore(StillframeError):
    """A file of the store is not what was written to it."""

    exit_code = 4


class DamagedHead(StillframeError):
    """A head's folder does not hold what was written to it."""

    exit_code = 4


class EnvironmentFailure(StillframeError, OSError):
    """The machine, not the request, failed: the same command can succeed once that is fixed."""

    exit_code = 74


class StoppedEarly(StillframeError):
    """Work is left: the same command continues where this one ended."""

    exit_code = 75


def reason_of(error: Exception) -> str:
    """What a library's exception says, plain and on one line of at most 200 characters; its type if it says nothing."""
    return " ".join(_STYLE.sub("", str(error)).split())[:200] or type(error).__name__


def shortage(error: BaseException) -> EnvironmentFailure | None:
    """What a library's error stands for, if it says that memory or threads ran out: nothing is wrong with what was read."""
    if isinstance(error, MemoryError):
        what = f" ({error})" if str(error) else ""
        return EnvironmentFailure(f"not enough memory{what}: free some, then run the same command again")
    if any(words in str(error) for words in _NO_THREAD):
        return EnvironmentFailure(
            f"{error}: raise the limit of processes (ulimit -u) or use fewer --workers, then run the same command again"
        )
    return None


def require_few_failed(failed: int, images: int, max_bad: float, reasons: str) -> None:
    """Raise TooManyFailures if more than a fraction of the images failed; `reasons` says where the reasons are."""
    if failed > max_bad * images:
        raise TooManyFailures(
            f"{failed:,} of {images:,} images failed, more than --max-bad {max_bad:g} allows; {reasons}"
        )
