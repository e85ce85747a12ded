"""Stopping on purpose: on SIGINT, SIGTERM or SIGHUP, and at the end of the time given.

While the loop runs, a signal sets an event that the loop checks; at other times it is a KeyboardInterrupt. Both need the
main thread to return to Python, which it cannot while it waits for a disk or a driver. The scheduler that sent the signal
kills the process soon after. So a separate thread counts down from the signal and ends the process in time. Nothing is
lost by that, because shards are published whole or not at all.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker

from store.errors import StoppedEarly, UsageError

PATIENCE = 25.0
"""Seconds from a signal to the end of the process, whatever it is doing; schedulers allow thirty."""

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def stopped_early() -> StoppedEarly:
    """The error of a run that `stop_on_signals` has stopped."""
    return StoppedEarly("stopped early, finished shards are kept: run the same command again to continue")


def is_ignored_hangup(number: int) -> bool:
    """Whether this is SIGHUP, and the program was started so that it outlives its terminal."""
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT, SIGTERM or SIGHUP sets; a second signal ends the process at once. Main thread only.

    SIGHUP, which comes when the terminal has gone, is left alone where it is ignored, as under nohup.
    """
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handler(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    heard = [number for number in _STOPPING if not is_ignored_hangup(number)]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield stop
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


def end_in_time_after_signals(patience: float = PATIENCE) -> None:
    """From now on, SIGINT, SIGTERM and SIGHUP end the process with exit code 75 after that many seconds at the latest.

    Programs call this once, in their main thread, and never undo it, because it covers the interpreter's own shutdown too.
    Only signals with Python handlers count. Nothing is done where the system has no pipe or thread left, as the program
    itself is about to find.
    """
    with suppress(OSError, RuntimeError):
        _watch_signals(patience)


def _watch_signals(patience: float) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # written to by the signal itself, wherever Python is

    def watch() -> None:
        while number := os.read(reader, 1):
            if number[0] in _STOPPING:
                threading.Event().wait(patience)
                with suppress(OSError):  # the terminal may have gone
                    sys.stderr.write("stopped early: run the same command again to continue\n")
                    sys.stderr.flush()
                os._exit(StoppedEarly.exit_code)

    threading.Thread(target=watch, name="end in time", daemon=True).start()


@contextmanager
def signals_blocked_in_children() -> Iterator[None]:
    """Threads and processes that are started inside the block never receive SIGINT, SIGTERM and SIGHUP.

    A terminal or a job scheduler sends them to every process of a run, but only the main process should act on them: it
    stops the others in order.
    """
    resource_tracker.ensure_running()  # if multiprocessing started it later, that would unblock the signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def stop_after(seconds: float | None) -> Iterator[None]:
    """Send SIGTERM to this process if the block takes longer than that many seconds; None for no limit."""
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def stopped_after(seconds: float | None) -> Iterator[None]:
    """As `stop_after`, in programs that have not prepared for SIGTERM: inside the block it raises StoppedEarly.

    Raises:
        UsageError: there is a limit, and this is not the main thread, which alone receives signals.
    """
    if seconds is None:
        yield
        return
    if threading.current_thread() is not threading.main_thread():
        raise UsageError("max_runtime is given in another thread than the main one: call it there, or leave it out")

    def stop(_number: int, _frame: object) -> None:
        raise StoppedEarly("stopped after max_runtime: call again to continue")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        with stop_after(seconds):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)
