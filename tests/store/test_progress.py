"""A step that takes longer than a second is shown: on a terminal, in logs, and while libraries are kept quiet."""

import io
import os
import pty
import re
import subprocess
import sys
import time

import pytest

import store.progress
from extract.process_state import silent_standard_error
from store.progress import SILENT, Lines, StepBar, StepLines, console_reporter, step_for


@pytest.fixture(autouse=True)
def short_seconds(monkeypatch):
    monkeypatch.setattr(store.progress, "_FIRST_SECONDS", 0.02)


def test_a_long_step_is_a_line_in_a_log_and_a_short_one_is_not(capfd):
    reporter = console_reporter(print)
    with reporter.step("counting", 3) as progress:
        progress.advance(2, 0)
        time.sleep(0.1)
    with reporter.step("thinking", None):
        time.sleep(0.1)
    with reporter.step("blinking", None):
        pass
    lines = capfd.readouterr().err.splitlines()
    assert [line.partition("  ")[2] for line in lines] == ["counting, 2 of 3, 0 s so far", "thinking, 0 s so far"]


def test_a_notebook_whose_standard_error_is_no_file_gets_lines(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    with step_for("loading", None, quiet=False), silent_standard_error():
        time.sleep(0.1)
    assert "loading, 0 s so far" in shown.getvalue()


def test_images_are_counted_in_a_log_after_a_second_but_not_at_the_end(capsys):
    with Lines(30) as lines:
        lines.advance(10, 0)
        time.sleep(0.05)
        lines.advance(10, 0)
        lines.advance(5, 0)
        time.sleep(0.05)
        lines.advance(5, 0)
    (line,) = capsys.readouterr().err.splitlines()
    assert "20 of 30 images" in line


def test_nothing_is_shown_if_quiet_or_to_nobody(capfd):
    for step in (step_for("thinking", None, quiet=True), SILENT.step("thinking", None)):
        with step:
            time.sleep(0.1)
    assert capfd.readouterr().err == ""


def test_an_error_passes_through_and_ends_the_display():
    with pytest.raises(ZeroDivisionError), StepLines("failing", None) as step:
        raise ZeroDivisionError
    assert not step._thread.is_alive()


SCRIPT = """
import sys, time, store.progress
store.progress._FIRST_SECONDS = 0.02
from extract.process_state import silent_standard_error
with store.progress.step_for("thinking [hard]", 5, quiet=False) as progress, silent_standard_error():
    assert isinstance(progress, store.progress.StepBar)
    progress.advance(2, 0)
    time.sleep(0.4)
"""


@pytest.mark.parametrize("settings", [{}, {"NO_COLOR": "1"}])
def test_a_terminal_gets_a_bar_and_colors_only_if_it_may_have_them(settings):
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI")}
    environment |= {"TERM": "xterm-256color", "COLUMNS": "80", **settings}
    done = subprocess.run([sys.executable, "-c", SCRIPT], stderr=theirs, check=False, env=environment)
    os.close(theirs)
    shown = os.read(ours, 100_000).decode()
    os.close(ours)
    assert done.returncode == 0, shown
    assert "thinking [hard]" in shown
    assert "2/5" in shown
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", shown)) == (settings == {})
    assert issubclass(StepBar, store.progress.Silence)
