"""Several processes on one store or one head's folder at once: runs, parts, gc, repair, readers, fits.

Children are forked from a server that has everything imported, wait for one another, and begin together.
"""

import functools
import multiprocessing
import os
import shutil
import sys
import time

import numpy as np
import pytest

import extract.resolve
import extract.run
from extract.request import RunOptions
from fit.options import FitOptions
from fit.train import fit_with
from store import open_store
from store.errors import NotAStore, StillframeError
from store.files.local import LocalFiles
from store.maintenance import collect_garbage, repair
from tests.stub import load_stub, make_images

IMAGES, SHARD = 60, 4
AGE = 1.0  # seconds after which gc takes a file for left behind; nothing is written for so long here
SECONDS = 0.01  # of each call of the network, so that runs overlap
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["tests.faults.test_races"])


def options(data, out, **more):
    return RunOptions(data=data, out=out, backbone="mobilenet_v2", weights="random", image_size=(16, 16),
                      shard_rows=SHARD, batch_size=2, workers=2, **more)  # fmt: skip


def run(data, out, seconds=SECONDS, **more):
    extract.resolve.load_runtime = functools.partial(load_stub, seconds=seconds)
    extract.run.run(options(data, out, **more))


def run_part(data, out, part):
    run(data, out, part=part)


def while_there_is_work(action, done):
    """Do something again and again until a file says that the others have ended."""
    while not done.exists():
        action()


def collect(out, done):
    def action():
        if (out / "store.json").exists():
            collect_garbage(LocalFiles(out), AGE)

    while_there_is_work(action, done)


def repair_again(out, done):
    def action():
        try:
            repair(LocalFiles(out))
        except NotAStore:  # nobody has created it yet
            time.sleep(SECONDS)

    while_there_is_work(action, done)


def repair_once(out):
    repair(LocalFiles(out))


def read(out, done):
    """Whatever a reader sees is right: features belong to their rows."""

    def action():
        try:
            features = open_store(out)
        except NotAStore:
            return
        tensors, rows = features.arrays()
        assert len(tensors) == len(rows) == len(set(rows["path"].to_pylist()))

    while_there_is_work(action, done)


def begin(barrier, target, arguments):
    try:
        barrier.wait(60)
        target(*arguments)
    except StillframeError as error:
        print(f"{target.__name__}: {error}", file=sys.stderr)
        os._exit(error.exit_code)


def together(*jobs, loops=(), done=None):
    """Exit codes of the jobs, then of the loops, which go on until `done` exists; all begin at once."""
    barrier = processes.Barrier(len(jobs) + len(loops))
    children = [processes.Process(target=begin, args=(barrier, target, rest)) for target, *rest in (*jobs, *loops)]
    for child in children:
        child.start()
    for child in children[: len(jobs)]:
        child.join(120)
    if done is not None:
        done.touch()
    for child in children[len(jobs) :]:
        child.join(60)
    codes = [child.exitcode for child in children]
    for child in children:
        child.kill()
    return codes


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Images, and the store of a run that was alone."""
    root = tmp_path_factory.mktemp("world")
    make_images(root / "data", IMAGES)[7].write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STILLFRAME_CACHE", str(root / "cache"))
        assert together((run, root / "data", root / "alone")) == [0]
        yield root / "data", root / "alone"


def assert_same(out, alone):
    found, expected = open_store(out), open_store(alone)
    assert found.verify().sound
    assert found.table().equals(expected.table())
    assert np.array_equal(found.arrays()[0], expected.arrays()[0])
    return [path.name.partition(".")[0] for path in (out / "commit" / found.snapshot.plan.name).iterdir()]


def test_eight_runs_at_once_store_each_image_once(world, tmp_path):
    data, alone = world
    assert together(*[(run, data, tmp_path / "store")] * 8) == [0] * 8
    names = assert_same(tmp_path / "store", alone)
    assert len(names) == len(set(names)) == IMAGES // SHARD


def test_parts_run_beside_garbage_collection_repairs_and_readers(world, tmp_path):
    data, alone = world
    out, done = tmp_path / "store", tmp_path / "done"
    parts = [(run_part, data, out, f"{number}/4") for number in (0, 1, 2, 3, 3)]
    loops = [
        (collect, out, done),
        (collect, out, done),
        (repair_again, out, done),
        (repair_again, out, done),
        (read, out, done),
    ]
    assert together(*parts, loops=loops, done=done) == [0] * 10
    assert_same(out, alone)


def test_repairs_of_one_damaged_shard_at_once(world, tmp_path):
    data, alone = world
    out = tmp_path / "store"
    shutil.copytree(alone, out)
    shard = max((out / "data").iterdir())
    shard.chmod(0o600)
    shard.write_bytes(shard.read_bytes()[:-9])
    assert set(together(*[(repair_once, out)] * 4)) <= {0}
    assert not open_store(out).complete
    assert together((run, data, out)) == [0]
    assert_same(out, alone)


@pytest.mark.parametrize("moment", [0.0, 0.2])
def test_a_store_that_is_deleted_under_a_run_is_not_reported_complete(world, tmp_path, moment):
    data, alone = world
    out = tmp_path / "store"

    barrier = processes.Barrier(1)
    child = processes.Process(target=begin, args=(barrier, run, (data, out, 0.1)))
    child.start()
    while child.is_alive() and not any(out.glob("commit/*/*")):
        time.sleep(0.005)
    time.sleep(moment)
    shutil.rmtree(out, ignore_errors=True)
    child.join(60)
    assert child.exitcode in (4, 74)
    shutil.rmtree(out, ignore_errors=True)
    assert together((run, data, out)) == [0]
    assert_same(out, alone)


def fit(store, folder, force):
    fit_with(open_store(store), FitOptions(head="knn")).save(folder, force)


@pytest.mark.parametrize("force", [pytest.param(False, marks=pytest.mark.slow), True])
def test_two_fits_into_one_folder_leave_a_whole_head(world, tmp_path, force):
    _, alone = world
    folder = tmp_path / "head"
    codes = together(*[(fit, alone, folder, force)] * 4)
    assert set(codes) <= {0, 2, 74} and 0 in codes
    from fit import load_head

    assert len(load_head(folder).predict_features(np.zeros((1, 4, 4, 3), np.float16))) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["head"]
