"""Stopping: a hung main thread, the end of the time given, a second signal."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from extract.signals import stop_after, stop_on_signals

ROOT = Path(__file__).parents[2]

# The main thread waits in a C function that no signal interrupts, as it would for a dead disk.
HUNG = """
import ctypes, signal, sys
from extract.signals import end_in_time_after_signals
signal.signal(signal.SIGTERM, signal.default_int_handler)
end_in_time_after_signals(patience=0.2)
print("ready", flush=True)
mutex = ctypes.create_string_buffer(64)
library = ctypes.PyDLL(None)
library.pthread_mutex_lock(mutex)
ctypes.CDLL(None).pthread_mutex_lock(mutex)
"""

TWICE = """
import time
from extract.signals import stop_on_signals
with stop_on_signals():
    print("ready", flush=True)
    while True:
        time.sleep(0.05)
"""


def start(code):
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_that_hangs_ends_in_time(number):
    process = start(HUNG)
    time.sleep(0.2)
    process.send_signal(number)
    _, output = process.communicate(timeout=20)
    assert process.returncode == 75
    assert output == "stopped early: run the same command again to continue\n"


def test_a_second_signal_ends_at_once():
    process = start(TWICE)
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT


def test_the_end_of_the_time_given_is_a_signal():
    with stop_on_signals() as stop, stop_after(0.1):
        assert stop.wait(timeout=20)


def test_no_signal_comes_once_it_is_done():
    with stop_on_signals() as stop:
        with stop_after(0.2):
            pass
        assert not stop.wait(timeout=0.5)
