"""A run killed with SIGKILL at any point, then run again, leaves what a run never killed leaves.

A child process (tests/faults/children.py) counts the calls that publish a store's files and kills itself before the n-th.
`python -m tests.faults.kill_campaign` does so a thousand times.
"""

import math
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from store import open_store
from tests.faults.children import (
    assert_same_store,
    committed,
    in_child,
    make_world,
    run_and_die,
    run_stub,
    run_together_and_die,
    run_together_stub,
)
from tests.faults.kill_campaign import Campaign
from tests.stub import make_images


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.mark.parametrize("stride", [7, pytest.param(1, marks=pytest.mark.slow)])
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


@pytest.mark.parametrize("stride", [37, pytest.param(1, marks=pytest.mark.slow)])
def test_one_pass_for_two_networks_killed_at_every_step_of_the_protocol(world, tmp_path, stride):
    data, reference = world
    in_both, fatal_call = 0, 1
    while True:
        outs = [tmp_path / f"{fatal_call}" / name for name in ("first", "second")]
        if in_child(run_together_and_die, data, outs, fatal_call) == 0:
            break
        before = [committed(out) for out in outs]
        in_both += all(before)
        assert in_child(run_together_stub, data, outs) == 0
        for out, kept in zip(outs, before, strict=True):
            assert_same_store(out, reference, kept)
        fatal_call += stride
    assert fatal_call > 100
    assert in_both > 1


@pytest.mark.parametrize("kills", [6, pytest.param(100, marks=pytest.mark.slow)])
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
def test_a_campaign_of_kills(tmp_path):
    campaign = Campaign(tmp_path, seed=2)
    campaign.run(kills=40, seconds=600)
    assert campaign.killed >= 40
    assert not sum(tally.bad for tally in campaign.tallies.values()), campaign.rows()


@pytest.mark.slow
def test_the_real_command_killed_at_fifty_moments(tmp_path):
    """Killed and started again and again until a store is complete; then the next store, until fifty kills."""
    make_images(tmp_path / "data", 400)
    program = os.path.join(os.path.dirname(sys.executable), "extract")
    command = [program, "run", tmp_path / "data", "--backbone", "mobilenet_v2", "--weights", "random",
               "--image-size", "96", "--shard-rows", "25", "--quiet", "--out"]  # fmt: skip
    subprocess.run([*command, tmp_path / "reference"], check=True)
    whole = math.inf  # the seconds of the fastest run so far; the first one also converts the network
    expected, rows = open_store(tmp_path / "reference").arrays()
    rng = random.Random(1)
    kills = stores = 0
    while kills < 50:
        out = tmp_path / f"store{stores}"
        before = committed(out)
        start = time.monotonic()
        child = subprocess.Popen([*command, out])
        try:
            assert child.wait(None if whole == math.inf else rng.uniform(whole * 0.4, whole)) == 0
            if not before:
                whole = min(whole, time.monotonic() - start)
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
