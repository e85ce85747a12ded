"""Submitting tasks: never more than a few, whatever becomes of them. The tasks here are stubs."""

import threading
import time

import dask
import pytest
from distributed import Client, LocalCluster

import extract.cluster.submission
from extract.cluster.submission import Submission
from extract.cluster.worker import ShardDone
from store.errors import EnvironmentFailure, StoppedEarly
from store.records import ShardSlot


class Task:
    def __init__(self, index):
        self.slot = ShardSlot("plan", index, 1)


def quick(task, careful, new_store):
    return ShardDone(3, 1, {"compute": 0.0})


def every_other_fails(task, careful, new_store):
    if task.slot.index % 2:
        raise EnvironmentFailure("disk full")
    return ShardDone(1, 0, {})


def always_fails(task, careful, new_store):
    raise RuntimeError("oh")


def slow(task, careful, new_store):
    time.sleep(0.2)
    return ShardDone(1, 0, {})


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


def test_stopping_cancels_the_tasks_in_progress(client):
    stop = threading.Event()
    results = submission(client, slow, stop).results(map(Task, range(1000)))
    next(results)
    stop.set()
    with pytest.raises(StoppedEarly):
        list(results)


def test_a_scheduler_that_is_lost(monkeypatch):
    monkeypatch.setattr(extract.cluster.submission, "PATIENCE", 2.0)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "2s"}),
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster,
    ):
        client = Client(cluster.scheduler_address, set_as_default=False)
        results = submission(client, slow).results(map(Task, range(1000)))
        next(results)
        cluster.close()
        with pytest.raises(EnvironmentFailure, match=r"the Dask scheduler was lost|no workers"):
            list(results)
        client.close(timeout=5)
