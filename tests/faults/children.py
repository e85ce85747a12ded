"""Runs in processes of their own, which may be killed, starved or cut off: forked, from a server that has everything imported.

The network is a stub, so a run costs a fraction of a second.
"""

import functools
import multiprocessing
import os
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest

import cli
import extract.resolve
import extract.run
from extract import extract as extract_images
from extract.request import RunOptions
from store import open_store
from store.errors import StillframeError
from store.records import ShardSlot
from tests.stub import load_stub, make_images

PROTOCOL = ("mkdir", "open", "write", "fsync", "link", "unlink")
IMAGES, ROWS, SHARDS = 10, 9, 3
"""Of the data that `make_world` makes: one image is bad."""

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.faults.children"])


def options(data, out, **more):
    return RunOptions(data=data, out=out, backbone="mobilenet_v2", weights="random", image_size=(16, 16),
                      shard_rows=4, batch_size=2, workers=2, **more)  # fmt: skip


def use_stub(seconds=0.0):
    """Have this process compute with the stub, which takes that long for a batch."""
    extract.resolve.load_runtime = functools.partial(load_stub, seconds=seconds)


def extract_here(data, out, **more):
    """A run in this process, where a test has replaced the network by the stub."""
    return extract_images(data, out, backbone="mobilenet_v2", weights="random", image_size=(16, 16), shard_rows=4,
                          batch_size=2, **more)  # fmt: skip


def run_stub(data, out, seconds=0.0, **more):
    use_stub(seconds)
    try:
        extract.run.run(options(data, out, **more))
    except StillframeError as error:
        print(error, file=sys.stderr)
        os._exit(error.exit_code)


def run_together_stub(data, outs):
    """Two networks in one pass, whose stores have shards of other sizes."""
    use_stub()
    first, second = (options(data, out) for out in outs)
    extract.run.run_together([first, replace(second, backbone="resnet50", shard_rows=3)])


def run_command(data, out, prepare, seconds=0.0):
    """What `extract run` does in this process, after `prepare()`; never returns."""
    use_stub(seconds)
    sys.argv = ["extract", "run", str(data), "--out", str(out), "--backbone", "mobilenet_v2", "--weights", "random",
                "--image-size", "16", "--max-bad", "1", "--shard-rows", "4", "--batch-size", "2", "--workers", "2"]  # fmt: skip
    prepare()
    cli.extract_main()


def run_and_die(data, out, fatal_call, **more):
    """Run, and die before the `fatal_call`-th call of the publishing protocol."""
    die_before(fatal_call, out)
    run_stub(data, out, **more)


def run_together_and_die(data, outs, fatal_call):
    """What `run_together_stub` does, until the `fatal_call`-th call of the publishing protocol for either store."""
    die_before(fatal_call, outs[0].parent)
    run_together_stub(data, outs)


def die_before(fatal_call, out):
    """Have this process die before its `fatal_call`-th call of the publishing protocol; a write is cut in half first."""
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


def start(target, *arguments, **keywords):
    """A child that runs `target`."""
    child = processes.Process(target=target, args=arguments, kwargs=keywords)
    child.start()
    return child


def in_child(target, *arguments, seconds=None, **keywords):
    """Run in a process of its own, killed after `seconds`; returns its exit code, negative for a signal."""
    child = start(target, *arguments, **keywords)
    child.join(seconds)
    if child.is_alive():
        child.kill()
        child.join()
    return child.exitcode


def make_world(root):
    """Ten images, one of them bad, and the store of a run never disturbed; returns both folders."""
    paths = make_images(root / "data", IMAGES)
    paths[5].write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STILLFRAME_CACHE", str(root / "cache"))
        assert in_child(run_stub, root / "data", root / "reference") == 0
    return root / "data", root / "reference"


def committed(out):
    return {path: path.stat().st_mtime_ns for path in out.glob("commit/*/*.json")}


def assert_same_store(out, reference, before=None):
    """The same rows, each once; what had been committed before was neither lost nor computed again."""
    features, expected = open_store(out), open_store(reference)
    assert features.table().equals(expected.table())
    assert np.array_equal(features.arrays()[0], expected.arrays()[0])
    found = features.verify()
    assert found.sound
    assert (found.images, found.rows, found.failures, found.pending) == (IMAGES, ROWS, IMAGES - ROWS, 0)
    after = committed(out)
    assert (before or {}).items() <= after.items()
    plan = features.snapshot.plan
    assert sorted(path.name for path in after) == [
        ShardSlot(plan.name, index, 1).file.rpartition("/")[2] for index in range(plan.shard_count)
    ]
