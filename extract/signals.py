"""Stopping on purpose: SIGINT, SIGTERM and the end of the time that was given.

In the loop a signal becomes an event that it looks at; elsewhere it is a KeyboardInterrupt. Both need a main thread
that comes back to Python, which one that waits for a disk or a driver may not do for long: whoever stops us, a
scheduler, kills soon after. So a thread of its own counts down from the signal and ends the process: nothing can be
lost by that, for shards are published whole or not at all.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

from store.errors import StoppedEarly

PATIENCE = 25.0
"""Seconds between a signal and the end of the process, whatever it does: schedulers give thirty."""

_STOPPING = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGINT or SIGTERM sets; a second signal ends the process at once. Main thread only."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def handler(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, handler) for number in _STOPPING}
    try:
        yield stop
    finally:
        for number, handler_before in before.items():
            signal.signal(number, handler_before)


def end_in_time_after_signals(patience: float = PATIENCE) -> None:
    """From now on the process ends with exit code 75 that many seconds after SIGINT or SIGTERM at the latest.

    Called once, by a program's main thread; both signals need handlers of Python's.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)  # written to by the signal itself, wherever Python is

    def watch() -> None:
        while number := os.read(reader, 1):
            if number[0] in _STOPPING:
                threading.Event().wait(patience)
                sys.stderr.write("stopped early: run the same command again to go on\n")
                sys.stderr.flush()
                os._exit(StoppedEarly.exit_code)

    threading.Thread(target=watch, name="end in time", daemon=True).start()


@contextmanager
def unheard_by_children() -> Iterator[None]:
    """Threads and processes that are started meanwhile never hear SIGINT and SIGTERM.

    A terminal, and a scheduler of jobs, send them to every process of a run: the main one is to tell the others.
    """
    resource_tracker.ensure_running()  # started by multiprocessing, it would undo the blocking
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def stop_after(seconds: float | None) -> Iterator[None]:
    """While open, the process is sent SIGTERM after that many seconds; never, if None."""
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
