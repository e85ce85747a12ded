"""Shard tasks on real Dask clusters: the same rows, and what becomes of a run when parts of the cluster die."""

import contextlib
import importlib.metadata
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from distributed import Client, LocalCluster

import extract.cluster.client
from extract import extract as extract_images
from extract.cluster.client import Done, Submission, connected
from extract.progress import Clock
from store import open_store
from store.errors import EnvironmentFailure, StoppedEarly, UsageError
from tests.stub import make_images

PIXELS = {"backbone": "pixels", "image_size": (16, 16), "shard_rows": 4}

# Takes the place of an image file that ends whoever decodes it: Python runs this at the start of every process.
DEADLY = """
import contextlib
import importlib.metadata
import os
import time
from concurrent.futures import ThreadPoolExecutor
import extract.images.decode

decode = extract.images.decode.decode

def deadly(data, policy):
    if data.startswith(b"crash"):
        os.kill(os.getpid(), 11)
    if data.startswith(b"hang"):
        time.sleep(3600)
    return decode(data, policy)

extract.images.decode.decode = deadly
"""


@pytest.fixture
def data(tmp_path):
    make_images(tmp_path / "data", 24)
    return tmp_path / "data"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "store"


@pytest.fixture(scope="module")
def threads():
    """A cluster in this process: what the scheduler does is real, what workers do needs no second process."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


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


def test_each_process_of_this_machine_has_a_gpu_as_far_as_there_are_any(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-8a2b")
    with connected("local:3") as client:
        seen = client.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
    assert sorted(seen.values()) == ["4", "4", "GPU-8a2b"]


def test_an_image_that_ends_every_worker_is_a_failure_row(data, out, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(DEADLY)
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
    "end", [killed, retired, *(pytest.param(end, marks=pytest.mark.slow) for end in (crashed, exited))]
)
def test_a_run_goes_on_when_workers_end(data, out, monkeypatch, end):
    make_images(data, 200, start=100)
    plain, ends = extract.cluster.client.Submission._submit, []

    def ending(self, attempt):
        plain(self, attempt)
        if attempt.task.index in (3, 20) and attempt.number == 0:
            ends.append(attempt.task.index)
            if end is not retired or len(ends) == 1:  # no worker comes in place of one that has retired
                end(self.client)

    monkeypatch.setattr(extract.cluster.client.Submission, "_submit", ending)
    result = extract_images(data, out, scheduler="local:2", **PIXELS)
    assert ends == [3, 20]
    assert (result.rows, result.failures, result.pending) == (224, 0, 0)
    assert open_store(out).verify().sound


def test_a_shard_that_two_carry_out_at_once_is_stored_once(data, out, threads):
    extract_images(data, out, limit=1, **PIXELS)
    with ThreadPoolExecutor(2) as runs:
        both = [runs.submit(extract_images, data, out, scheduler=threads, **PIXELS) for _ in range(2)]
    assert [run.result().rows for run in both] == [24, 24]
    assert open_store(out).verify().sound
    assert len(list(out.glob("commit/*/*.json"))) == len(list(out.glob("data/*")))


@pytest.mark.parametrize(
    ("scheduler", "error", "said"),
    [
        ("local:0", UsageError, "expected tcp://HOST:PORT, file:PATH or local:N"),
        ("local:many", UsageError, "expected tcp://HOST:PORT"),
        ("localhost:8786", UsageError, "expected tcp://HOST:PORT"),
        ("file:/nowhere.json", EnvironmentFailure, "there is no such file"),
        ("tcp://127.0.0.1:9", EnvironmentFailure, "no Dask scheduler answers at tcp://127.0.0.1:9"),
    ],
)
def test_a_cluster_that_is_none(monkeypatch, scheduler, error, said):
    monkeypatch.setattr(extract.cluster.client, "PATIENCE", 1.0)
    with pytest.raises(error, match=said), connected(scheduler):
        pass


def test_a_script_that_its_own_worker_processes_cannot_import(data, out, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"from extract import extract\nextract({str(data)!r}, {str(out)!r}, scheduler='local:1', **{PIXELS})"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    ended = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "EnvironmentFailure: the worker processes of --scheduler local:1 did not start" in ended.stderr
    assert 'if __name__ == "__main__":' in ended.stderr.splitlines()[-1]


def test_a_cluster_without_workers(monkeypatch):
    monkeypatch.setattr(extract.cluster.client, "PATIENCE", 0.5)
    with (
        LocalCluster(n_workers=0, processes=False, protocol="tcp://", dashboard_address=":0") as cluster,
        pytest.raises(EnvironmentFailure, match=r"has no workers after 0\.5 s"),
        connected(cluster.scheduler_address),
    ):
        pass


def test_workers_that_do_not_see_the_images_are_said_before_anything_is_sent(data, out, threads, tmp_path, monkeypatch):
    plain = extract.cluster.client.run_on_cluster

    def moved(*arguments, **options):
        data.rename(tmp_path / "elsewhere")
        return plain(*arguments, **options)

    monkeypatch.setattr(extract.cluster.client, "run_on_cluster", moved)
    with pytest.raises(EnvironmentFailure, match=r"the worker at tcp.* cannot work: the images' folder .* be shared"):
        extract_images(data, out, scheduler=threads, **PIXELS)


def test_workers_of_another_version_are_said_too(data, out, threads, monkeypatch):
    ours = importlib.metadata.version
    answers = {"stillframe": iter(["9.9", ours("stillframe"), ours("stillframe")])}  # here, then on both workers
    monkeypatch.setattr(importlib.metadata, "version", lambda name: next(answers.get(name, iter([ours(name)]))))
    with pytest.raises(
        EnvironmentFailure, match=r"the worker at tcp.* cannot work: it has stillframe .*, this is 9\.9"
    ):
        extract_images(data, out, scheduler=threads, **PIXELS)


# Tasks of a stub


class Task:
    def __init__(self, index):
        self.index = index


def quick(task, careful):
    return Done(3, 1, {"compute": 0.0})


def every_other_fails(task, careful):
    if task.index % 2:
        raise EnvironmentFailure("disk full")
    return Done(1, 0, {})


def always_fails(task, careful):
    raise RuntimeError("oh")


def slow(task, careful):
    time.sleep(0.2)
    return Done(1, 0, {})


def submission(client, function, stop=None):
    return Submission(client, function, stop or threading.Event())


@pytest.fixture
def client(threads):
    with Client(threads, set_as_default=False) as client:
        yield client


def test_the_scheduler_never_has_more_than_a_few_tasks(client):
    most = 0
    results = submission(client, quick).results(Task(index) for index in range(500))
    for count, _ in enumerate(results, start=1):
        if count % 50 == 0:
            most = max(most, client.run_on_scheduler(lambda dask_scheduler: len(dask_scheduler.tasks)))
    assert count == 500
    assert most <= 8


def test_a_shard_that_fails_leaves_the_others_alone(client):
    sent = submission(client, every_other_fails)
    assert len(list(sent.results(map(Task, range(6))))) == 3
    assert len(sent.failed) == 3
    with pytest.raises(EnvironmentFailure, match="disk full"):
        sent.require_all()


def test_a_run_in_which_everything_fails_ends_soon(client):
    sent = submission(client, always_fails)
    with pytest.raises(EnvironmentFailure, match=r"shard \d could not be computed \(RuntimeError: oh\)"):
        list(sent.results(map(Task, range(1000))))
    assert len(sent.failed) == 4


def test_stopping_takes_back_what_is_under_way(client):
    stop = threading.Event()
    results = submission(client, slow, stop).results(map(Task, range(1000)))
    next(results)
    stop.set()
    with pytest.raises(StoppedEarly):
        list(results)


def test_a_scheduler_that_is_lost(monkeypatch):
    monkeypatch.setattr(extract.cluster.client, "PATIENCE", 2.0)
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:
        client = Client(cluster.scheduler_address, set_as_default=False)
        results = submission(client, slow).results(map(Task, range(1000)))
        next(results)
        cluster.close()
        with pytest.raises(EnvironmentFailure, match=r"the Dask scheduler was lost|no workers"):
            list(results)
        client.close(timeout=5)


def test_the_clock_shares_what_several_waited_for():
    clock = Clock()
    for _ in range(4):
        clock.waited({"compute": 2.0, "write": 1.0}, sharers=2)
    assert clock.phases() == {"read": 0.0, "decode": 0.0, "compute": 4.0, "write": 2.0}
