"""A run killed with SIGKILL at any point, then run again, leaves what a run never killed leaves.

The fault injection lives here: a child process counts the calls that publish a store's files and kills
itself before the n-th; a write is cut in half first. Children are forked from a server that has everything
imported, so each costs a fraction of a second.
"""

import functools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import extract.resolve
import extract.run
from extract.request import RunOptions
from store import open_store
from store.records import ShardSlot
from tests.stub import load_stub, make_images

PROTOCOL = ("mkdir", "open", "write", "fsync", "link", "unlink")
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.end_to_end.test_kill"])


def options(data, out):
    return RunOptions(data=data, out=out, backbone="mobilenet_v2", weights="random", image_size=(16, 16),
                      shard_rows=4, batch_size=2, workers=2)  # fmt: skip


def run_stub(data, out, seconds=0.0):
    extract.resolve.load_runtime = functools.partial(load_stub, seconds=seconds)
    extract.run.run(options(data, out))


def run_and_die(data, out, fatal_call):
    """Run, and die before the `fatal_call`-th call of the publishing protocol."""
    remaining = [fatal_call]

    def killing(name, original):
        def call(*arguments, **keywords):
            touches_store = name in ("write", "fsync") or str(out) in os.fsdecode(arguments[0])
            if touches_store:
                remaining[0] -= 1
                if remaining[0] == 0:
                    if name == "write":
                        original(arguments[0], arguments[1][: len(arguments[1]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **keywords)

        return call

    for name in PROTOCOL:
        setattr(os, name, killing(name, getattr(os, name)))
    run_stub(data, out)


def in_child(target, *arguments, seconds=None):
    """Run in a process of its own, killed after `seconds`; returns its exit code, negative for a signal."""
    child = processes.Process(target=target, args=arguments)
    child.start()
    child.join(seconds)
    if child.is_alive():
        child.kill()
        child.join()
    return child.exitcode


def committed(out):
    return {path: path.stat().st_mtime_ns for path in out.glob("commit/*/*.json")}


def assert_same_store(out, reference, before):
    """The same rows, each once; what had been committed before was neither lost nor computed again."""
    features, expected = open_store(out), open_store(reference)
    assert features.table().equals(expected.table())
    assert np.array_equal(features.arrays()[0], expected.arrays()[0])
    found = features.verify()
    assert found.sound
    assert (found.images, found.rows, found.failures, found.pending) == (10, 9, 1, 0)
    after = committed(out)
    assert before.items() <= after.items()
    plan = features.snapshot.plan
    assert sorted(path.name for path in after) == [
        ShardSlot(plan.name, index, 1).file.rpartition("/")[2] for index in range(plan.shard_count)
    ]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Ten images, one of them bad, and the store of a run never killed."""
    root = tmp_path_factory.mktemp("world")
    paths = make_images(root / "data", 10)
    paths[5].write_bytes(b"")
    reference = root / "reference"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STILLFRAME_CACHE", str(root / "cache"))
        assert in_child(run_stub, root / "data", reference) == 0
    return root / "data", reference


@pytest.mark.parametrize("stride", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_at_every_step_of_the_protocol(world, tmp_path, stride):
    data, reference = world
    for fatal_call in range(1, 500, stride):
        out = tmp_path / f"store{fatal_call}"
        if in_child(run_and_die, data, out, fatal_call) == 0:
            break
        before = committed(out)
        assert in_child(run_stub, data, out) == 0
        assert_same_store(out, reference, before)
    assert fatal_call > 50  # store.json, plan, view, three shards and their records: many calls each


@pytest.mark.parametrize("kills", [15, pytest.param(100, marks=pytest.mark.slow)])
def test_killed_at_random_moments(world, tmp_path, kills):
    data, reference = world
    rng = random.Random(0)
    start = time.monotonic()
    assert in_child(run_stub, data, tmp_path / "whole", 0.01) == 0
    whole = time.monotonic() - start
    killed = 0
    while killed < kills:
        out = tmp_path / f"store{time.monotonic_ns()}"
        killed += in_child(run_stub, data, out, 0.01, seconds=rng.uniform(0, whole)) == -signal.SIGKILL
        before = committed(out)
        assert in_child(run_stub, data, out) == 0
        assert_same_store(out, reference, before)


@pytest.mark.slow
def test_the_real_command_killed_at_fifty_moments(tmp_path):
    """Killed and started again and again until a store is complete; then the next store, until fifty kills."""
    make_images(tmp_path / "data", 400)
    program = os.path.join(os.path.dirname(sys.executable), "extract")
    command = [program, "run", tmp_path / "data", "--backbone", "mobilenet_v2", "--weights", "random",
               "--image-size", "96", "--shard-rows", "25", "--quiet", "--out"]  # fmt: skip
    start = time.monotonic()
    subprocess.run([*command, tmp_path / "reference"], check=True)
    whole = time.monotonic() - start
    expected, rows = open_store(tmp_path / "reference").arrays()
    rng = random.Random(1)
    kills = stores = 0
    while kills < 50:
        out = tmp_path / f"store{stores}"
        before = committed(out)
        child = subprocess.Popen([*command, out])
        try:
            assert child.wait(rng.uniform(whole * 0.4, whole)) == 0
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            kills += 1
        assert before.items() <= committed(out).items()
        features = open_store(out) if (out / "store.json").exists() else None
        if features is None or not features.complete:
            continue
        found, found_rows = features.arrays()
        assert found_rows.equals(rows)
        assert np.abs(found.astype(np.float32) - expected.astype(np.float32)).max() <= 1e-2
        assert features.verify().sound
        assert len(committed(out)) == 16
        stores += 1
    assert stores > 3
    print(f"{kills} kills over {stores} stores")
