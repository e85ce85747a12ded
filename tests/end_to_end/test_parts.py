"""Several real commands on one store at once: parts, a part twice, other recipes; and one command stopped again and again."""

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from store import open_store
from tests.stub import make_images

BIN = Path(sys.executable).parent
PIXELS = ("--backbone", "pixels", "--image-size", "16", "--shard-rows", "4")


def start(*arguments):
    """Start a run in a group of processes of its own, as a shell does and a scheduler of jobs."""
    return subprocess.Popen(
        [BIN / "extract", "run", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process):
    """Exit code and what was printed for people."""
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def records(out):
    return {path: path.stat().st_mtime_ns for path in out.glob("commit/*/*.json")}


@pytest.fixture
def data(tmp_path):
    make_images(tmp_path / "data", 60)
    return tmp_path / "data"


@pytest.mark.slow
def test_four_parts_and_a_fifth_that_repeats_the_first(data, tmp_path):
    out = tmp_path / "store"
    processes = [start(data, "--out", out, *PIXELS, "--part", f"{number}/4") for number in (0, 1, 2, 3, 0)]
    assert [ended(process)[0] for process in processes] == [0] * 5
    store = open_store(out)
    assert (len(store), store.complete, store.verify().sound) == (60, True, True)
    assert len(records(out)) == 15
    assert ended(start(data, "--out", tmp_path / "whole", *PIXELS))[0] == 0
    features, rows = store.arrays()
    expected, expected_rows = open_store(tmp_path / "whole").arrays()
    assert rows.equals(expected_rows)
    np.testing.assert_array_equal(features, expected)


def test_of_two_recipes_at_once_one_is_refused(data, tmp_path):
    out = tmp_path / "store"
    processes = [start(data, "--out", out, *PIXELS, "--resize", resize) for resize in ("bilinear", "nearest")]
    outcomes = sorted(ended(process) for process in processes)
    assert [code for code, _ in outcomes] == [0, 2]
    assert "was made with another recipe; resize: " in outcomes[1][1]
    assert open_store(out).verify().sound


def test_a_signal_to_all_processes_of_a_run_is_one_line(data, tmp_path):
    make_images(data, 240, start=60)
    process = start(data, "--out", tmp_path / "store", *PIXELS[:-1], "1", "--scheduler", "local:2")
    while len(records(tmp_path / "store")) < 10:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    code, said = ended(process)
    assert code == 75
    *_, last = said.splitlines()
    assert last.startswith("stopped early, finished shards are kept")  # a planned stop is not an error
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("workers", [(), ("--scheduler", "local:2")], ids=["alone", "local"])
def test_stopped_at_twenty_random_moments(tmp_path, workers):
    """SIGTERM: in time, with exit code 75; the next run continues, and no committed shard is computed twice."""
    make_images(tmp_path / "data", 400)
    options = (
        "--backbone",
        "mobilenet_v2",
        "--weights",
        "random",
        "--image-size",
        "96",
        "--shard-rows",
        "25",
        *workers,
    )
    for name in ("converted", "timed"):
        begun = time.monotonic()
        assert ended(start(tmp_path / "data", "--out", tmp_path / name, *options))[0] == 0
        whole = time.monotonic() - begun
    rng = random.Random(0)
    stops = stores = 0
    slowest = 0.0
    while stops < 20:
        out = tmp_path / f"store{stores}"
        before = records(out)
        process = start(tmp_path / "data", "--out", out, *options)
        time.sleep(rng.uniform(0, whole))
        os.killpg(process.pid, signal.SIGTERM)
        sent = time.monotonic()
        code, said = ended(process)
        after = records(out)
        assert before.items() <= after.items()
        if code == -signal.SIGTERM and not said:  # Python had not begun with the program yet
            assert after == before
        elif code == 0:
            assert (f"computed {25 * (16 - len(before))} in" if len(before) < 16 else "nothing to compute") in said
            stores += 1
            assert len(after) == 16
            assert open_store(out).verify().sound
        else:
            slowest = max(slowest, time.monotonic() - sent)
            assert code == 75, said
            assert re.search(r"run the same command again", said)
            assert "Traceback" not in said
            stops += 1
    assert slowest < 30
    print(f"{stops} stops over {stores + 1} stores, the slowest took {slowest:.2f} s")
