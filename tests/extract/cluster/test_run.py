"""Runs on real Dask clusters: the same rows, and what happens to a run when parts of the cluster die."""

import contextlib
import importlib.metadata
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import extract.cluster.run
import extract.cluster.submission
import extract.shard_builder
from extract import extract as extract_images
from extract.monitor import Clock
from store import open_store
from store.errors import EnvironmentFailure, UsageError
from tests.extract.cluster.pixels import PIXELS
from tests.stub import make_images

# Makes some files crash or hang the process that decodes them. Python runs this at the start of every process.
CRASHING = """
import contextlib
import importlib.metadata
import os
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
import extract.images.decode

decode = extract.images.decode.decode

def crashing(data, *rest):
    if data.startswith(b"crash"):
        os.kill(os.getpid(), 11)
    if data.startswith(b"hang"):
        time.sleep(3600)
    return decode(data, *rest)

extract.images.decode.decode = crashing
"""


def test_processes_of_this_machine_store_what_one_process_does(data, out, tmp_path):
    plain = extract_images(data, tmp_path / "plain", **PIXELS)
    result = extract_images(data, out, scheduler="local:2", **PIXELS)
    assert (result.images, result.rows, result.failures, result.computed) == (24, 24, 0, 24)
    assert result.fingerprint == plain.fingerprint
    features, rows = open_store(out).arrays()
    expected, expected_rows = open_store(tmp_path / "plain").arrays()
    assert rows.equals(expected_rows)
    np.testing.assert_array_equal(features, expected)
    assert extract_images(data, out, scheduler="local:2", **PIXELS).computed == 0


@pytest.mark.slow
def test_renamed_images_are_copied_by_the_workers(data, out):
    extract_images(data, out, **PIXELS)
    (data / "dog").rename(data / "hound")
    result = extract_images(data, out, scheduler="local:2", **PIXELS)
    assert (result.computed, result.copied, result.reused) == (0, 12, 24)
    copied = [record.environment for record in open_store(out).snapshot.records.values() if record.copied]
    assert all("runtime" not in environment for environment in copied)  # no worker had to load the network
    assert open_store(out).verify().sound


def test_an_image_that_crashes_every_worker_is_a_failure_row(data, out, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(CRASHING)
    (data / "cat" / "00002.png").write_bytes(b"crash")
    extract_images(data, out, limit=1, **PIXELS)  # so that all workers find the model converted
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.getcwd()]))
    result = extract_images(data, out, scheduler="local:2", **PIXELS)
    assert (result.rows, result.failures, result.pending) == (23, 1, 0)
    (failure,) = open_store(out).snapshot.failures().to_pylist()
    assert (failure["path"], failure["code"]) == ("cat/00002.png", "crashes")
    assert failure["message"] == "decoding it ends the process (exit code -11)"
    assert open_store(out).verify().sound


def killed(client):
    for process in client.run(os.getpid).values():
        os.kill(process, signal.SIGKILL)


def crashed(client):
    for process in client.run(os.getpid).values():
        os.kill(process, signal.SIGSEGV)


def exited(client):
    with contextlib.suppress(OSError):
        client.run(os._exit, 1)


def retired(client):
    client.retire_workers(list(client.scheduler_info()["workers"])[:1], close_workers=True)


@pytest.mark.parametrize(
    "end", [killed, *(pytest.param(end, marks=pytest.mark.slow) for end in (retired, crashed, exited))]
)
def test_a_run_goes_on_when_workers_end(data, out, monkeypatch, end):
    make_images(data, 200, start=100)
    plain, ends = extract.cluster.submission.Submission._submit, []

    def ending(self, attempt):
        plain(self, attempt)
        if attempt.task.slot.index in (3, 20) and attempt.number == 0:
            ends.append(attempt.task.slot.index)
            if end is not retired or len(ends) == 1:  # no worker comes in place of one that has retired
                end(self.client)

    monkeypatch.setattr(extract.cluster.submission.Submission, "_submit", ending)
    result = extract_images(data, out, scheduler="local:2", **PIXELS)
    assert ends == [3, 20]
    assert (result.rows, result.failures, result.pending) == (224, 0, 0)
    assert open_store(out).verify().sound


def test_a_shard_that_two_runs_compute_at_once_is_stored_once(data, out, threads):
    extract_images(data, out, limit=1, **PIXELS)
    with ThreadPoolExecutor(2) as runs:
        both = [runs.submit(extract_images, data, out, scheduler=threads, **PIXELS) for _ in range(2)]
    assert [run.result().rows for run in both] == [24, 24]
    assert open_store(out).verify().sound
    assert len(list(out.glob("commit/*/*.json"))) == len(list(out.glob("data/*")))


def test_workers_that_do_not_see_the_images_are_reported_before_any_task(data, out, threads, tmp_path, monkeypatch):
    plain = extract.cluster.run.run_on_cluster

    def moved(*arguments, **options):
        data.rename(tmp_path / "elsewhere")
        return plain(*arguments, **options)

    monkeypatch.setattr(extract.cluster.run, "run_on_cluster", moved)
    with pytest.raises(
        EnvironmentFailure,
        match=r"the worker at tcp.* cannot compute: the images' folder .* must be on a shared file system",
    ):
        extract_images(data, out, scheduler=threads, **PIXELS)


def test_workers_of_another_version_are_reported_too(data, out, threads, monkeypatch):
    ours = importlib.metadata.version
    answers = {"stillframe": iter(["9.9", ours("stillframe"), ours("stillframe")])}  # here, then on both workers
    monkeypatch.setattr(importlib.metadata, "version", lambda name: next(answers.get(name, iter([ours(name)]))))
    with pytest.raises(
        EnvironmentFailure, match=r"the worker at tcp.* cannot compute: it has stillframe .*, this is 9\.9"
    ):
        extract_images(data, out, scheduler=threads, **PIXELS)


def test_the_clock_averages_the_waits_of_several_loops():
    clock = Clock()
    for _ in range(4):
        clock.add_waits({"compute": 2.0, "write": 1.0}, loops=2)
    assert clock.phases() == {"read": 0.0, "decode": 0.0, "compute": 4.0, "write": 2.0}


def test_a_value_beyond_float16_in_the_first_batch_is_refused_on_a_cluster_too(data, out, threads, monkeypatch):
    monkeypatch.setitem(extract.shard_builder.LARGEST, "float16", 0.0)
    with pytest.raises(UsageError, match=r"--dtype float32, into a new store"):
        extract_images(data, out, scheduler=threads, dtype="float16", **PIXELS)
    assert len(open_store(out)) == 0


def test_a_value_beyond_float16_in_a_store_that_is_not_new_is_a_failure_row(data, out, threads, monkeypatch):
    extract_images(data, out, limit=4, dtype="float16", **PIXELS)
    monkeypatch.setitem(extract.shard_builder.LARGEST, "float16", 0.0)
    result = extract_images(data, out, scheduler=threads, dtype="float16", **PIXELS)
    assert (result.rows, result.failures) == (4, 20)
    assert set(open_store(out).snapshot.failures()["code"].to_pylist()) == {"float16_range"}


def test_workers_load_a_relative_weights_file_by_its_absolute_path(data, out, threads, tmp_path, monkeypatch):
    import keras

    from extract.backbones.build import build
    from extract.backbones.table import get_backbone

    monkeypatch.chdir(tmp_path)
    network = build(get_backbone("squeezenet"), (64, 64))
    network.save_weights("mine.weights.h5")
    keras.utils.clear_session()
    options = {"backbone": "squeezenet", "weights": "mine.weights.h5", "image_size": 64, "limit": 4}
    plain = extract.cluster.run.run_on_cluster

    def elsewhere(*arguments, **keywords):
        monkeypatch.chdir("/")
        return plain(*arguments, **keywords)

    monkeypatch.setattr(extract.cluster.run, "run_on_cluster", elsewhere)
    assert extract_images(data, out, scheduler=threads, **options).rows == 4


def test_workers_that_do_not_see_the_weights_file_are_reported_before_any_task(
    data, out, threads, tmp_path, monkeypatch
):
    from extract.backbones.build import build
    from extract.backbones.table import get_backbone

    weights = tmp_path / "mine.weights.h5"
    build(get_backbone("squeezenet"), (64, 64)).save_weights(weights)
    plain = extract.cluster.run.run_on_cluster

    def moved(*arguments, **keywords):
        weights.rename(tmp_path / "elsewhere.weights.h5")
        return plain(*arguments, **keywords)

    monkeypatch.setattr(extract.cluster.run, "run_on_cluster", moved)
    with pytest.raises(
        EnvironmentFailure, match=r"cannot compute: the weights file .*mine\.weights\.h5 cannot be reached"
    ):
        extract_images(data, out, scheduler=threads, backbone="squeezenet", weights=str(weights), image_size=64)
