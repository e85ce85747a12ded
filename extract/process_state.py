"""State that belongs to the whole process, changed inside a block and then put back: environment, loggers, and so on.

Threads share this state. `SharedBlock` is for changes that several threads may make at once, where each putting back what
it found would leave the change of another in place for ever.
"""

import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

_NOISY_LOGGERS = ("tensorflow", "absl", "jax")


class SharedBlock(AbstractContextManager[None]):
    """A change that the first of several overlapping blocks makes and the last one undoes, in whatever threads they are.

    Args:
        change: makes the change and, on exit, undoes it.
    """

    def __init__(self, change: Callable[[], AbstractContextManager[object]]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._blocks = 0
        self._undo = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._blocks == 0:
                self._undo.enter_context(self._change())
            self._blocks += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                self._undo.close()


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Set environment variables inside the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def environment_defaults(**values: str) -> Iterator[None]:
    """Set those environment variables inside the block that the user has not set."""
    with environment(**{name: value for name, value in values.items() if name not in os.environ}):
        yield


@contextmanager
def environment_restored() -> Iterator[None]:
    """Put back, after the block, whatever a library has changed in the environment."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def logger_levels(level: int, *names: str) -> Iterator[None]:
    """Set the level of loggers inside the block."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(level)
    try:
        yield
    finally:
        for logger, old in zip(loggers, before, strict=True):
            logger.setLevel(old)


@contextmanager
def search_path(folder: str) -> Iterator[None]:
    """Put a folder first on the import path inside the block."""
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)


@contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Have sockets that are opened inside the block give up after that many seconds without an answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextmanager
def silent_standard_error() -> Iterator[None]:
    """Discard what is written to file descriptor 2 inside the block, by C++ libraries too."""
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


@contextmanager
def _quiet() -> Iterator[None]:
    with environment(TF_CPP_MIN_LOG_LEVEL="3"), logger_levels(logging.ERROR, *_NOISY_LOGGERS), silent_standard_error():
        yield


_QUIET = SharedBlock(_quiet)


@contextmanager
def quiet_libraries(debug: bool = False) -> Iterator[None]:
    """Keep the messages of TensorFlow, absl, JAX and CUDA off the terminal inside the block, unless `debug`.

    Exceptions pass through. Several threads may be inside at once.
    """
    if debug:
        yield
        return
    with _QUIET:
        yield
