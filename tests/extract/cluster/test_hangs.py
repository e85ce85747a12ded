"""A cluster of which a part hangs without dying: the run continues without it, or ends, and never waits for ever."""

import contextlib
import json
import os
import signal
import threading
import time
from types import SimpleNamespace

import pytest
from distributed import Client

import extract.cluster.client
import extract.cluster.local
import extract.cluster.run
import extract.cluster.submission
import extract.cluster.worker
from extract import extract as extract_images
from extract.cluster.client import connected
from extract.cluster.submission import Submission
from extract.cluster.worker import ShardDone, ShardPlugin
from store import open_store
from store.errors import EnvironmentFailure
from store.records import ShardSlot
from tests.extract.cluster.pixels import PIXELS

# Makes the first decoding of some images hang, and a worker that hangs end itself soon. Python runs this at the start of
# every process.
HANGING = """
import os
import time
import extract.images.decode

decode = extract.images.decode.decode

def hanging(data, *rest):
    if data.startswith(b"hang") and not os.path.exists(os.environ["HUNG"]):
        os.close(os.open(os.environ["HUNG"], os.O_CREAT))
        time.sleep(3600)
    return decode(data, *rest)

extract.images.decode.decode = hanging

import extract.cluster.worker

extract.cluster.worker.PATIENCE = 20.0
"""


def freeze(client, seconds=None):
    """Stop one worker process of this machine, for good or for some seconds."""
    process = min(client.run(os.getpid).values())
    os.kill(process, signal.SIGSTOP)
    if seconds is not None:
        threading.Timer(seconds, resume, (process,)).start()


def resume(process):
    with contextlib.suppress(ProcessLookupError):  # the run may have ended before, and its workers with it
        os.kill(process, signal.SIGCONT)


def assert_complete(result, out):
    assert (result.rows, result.failures, result.pending) == (24, 0, 0)
    assert open_store(out).verify().sound
    assert len(list(out.glob("commit/*/*.json"))) == 6


@pytest.fixture
def impatient_scheduler(monkeypatch):
    """Takes a worker for dead after five seconds without a heartbeat, not after five minutes."""
    settings = {**extract.cluster.local._SETTINGS, "distributed.scheduler.worker-ttl": "3s"}
    monkeypatch.setattr(extract.cluster.local, "_SETTINGS", settings)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [None, 2, 9], ids=["for good", "for a moment", "until it is given up"])
def test_a_worker_that_is_stopped_in_the_middle(data, out, monkeypatch, impatient_scheduler, seconds):
    plain = Submission._submit

    def freezing(self, attempt):
        plain(self, attempt)
        if attempt.task.slot.index == 3 and attempt.number == 0:
            freeze(self.client, seconds)

    monkeypatch.setattr(Submission, "_submit", freezing)
    assert_complete(extract_images(data, out, scheduler="local:2", **PIXELS), out)


@pytest.mark.slow
def test_a_worker_that_is_stopped_before_it_is_asked_is_named(data, out, monkeypatch, impatient_scheduler):
    plain = extract.cluster.run._require_able_workers

    def freezing(client, shard_worker):
        freeze(client)
        plain(client, shard_worker)

    monkeypatch.setattr(extract.cluster.run, "_require_able_workers", freezing)
    with pytest.raises(EnvironmentFailure, match=r"the worker at tcp:\S+ cannot compute: it does not answer"):
        extract_images(data, out, scheduler="local:2", **PIXELS)


@pytest.mark.slow
def test_a_worker_that_hangs_ends_and_another_computes_its_shard(data, out, tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(HANGING)
    image = data / "cat" / "00002.png"
    image.write_bytes(b"hang")
    extract_images(data, out, limit=1, **PIXELS)  # so that all workers find the model converted
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.getcwd()]))
    monkeypatch.setenv("HUNG", str(tmp_path / "hung"))
    result = extract_images(data, out, scheduler="local:2", **PIXELS)
    assert (tmp_path / "hung").exists()
    assert (result.rows, result.failures, result.pending) == (23, 1, 0)
    assert open_store(out).snapshot.failures()["code"].to_pylist() == ["not_an_image"]


class SlowWorker:
    """In place of a ShardWorker: loading takes a while."""

    def require_place(self):
        pass

    def load(self):
        time.sleep(0.5)
        return object()


def test_a_worker_without_a_nanny_closes_if_it_hangs(monkeypatch):
    monkeypatch.setattr(extract.cluster.worker, "PATIENCE", 0.05)
    calls = []
    loop = SimpleNamespace(add_callback=lambda *call, **options: calls.append(call))
    worker = SimpleNamespace(plugins={}, nanny=None, loop=loop, close=lambda: None)
    plugin = ShardPlugin(SlowWorker())
    plugin.setup(worker)
    plugin.load()
    assert calls == [(worker.close,)]
    monkeypatch.setattr(extract.cluster.worker, "PATIENCE", 5.0)
    plugin.release()
    plugin.load()
    assert len(calls) == 1


def quick(task, careful, new_store):
    return ShardDone(3, 1, {})


def test_workers_that_are_all_paused_end_the_run(threads, monkeypatch):
    """Dask pauses a worker whose memory is nearly full: it takes no tasks, and nothing else would say so."""
    monkeypatch.setattr(extract.cluster.submission, "PATIENCE", 1.5)

    def pause_above(fraction):
        def change(dask_worker):
            dask_worker.memory_manager.memory_pause_fraction = fraction

        return change

    def await_status(client, status):
        while {worker["status"] for worker in client.scheduler_info()["workers"].values()} != {status}:
            time.sleep(0.05)

    tasks = [SimpleNamespace(slot=ShardSlot("plan", index, 1)) for index in range(8)]
    with Client(threads, set_as_default=False) as client:
        client.run(pause_above(1e-9))
        await_status(client, "paused")
        try:
            with pytest.raises(EnvironmentFailure, match=r"Dask has paused all workers \(2\) .*--memory-limit"):
                list(Submission(client, quick, threading.Event()).results(iter(tasks)))
        finally:
            client.run(pause_above(0.8))
        await_status(client, "running")
        assert len(list(Submission(client, quick, threading.Event()).results(iter(tasks)))) == 8


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", json.dumps({"address": "tcp://127.0.0.1:9"}), '{"address": 5}'])
def test_a_scheduler_file_that_leads_nowhere(tmp_path, monkeypatch, text):
    monkeypatch.setattr(extract.cluster.client, "PATIENCE", 1.0)
    file = tmp_path / "scheduler.json"
    file.write_text(text)
    message = rf"file:{file}.*(start the scheduler again|is it running)"
    with pytest.raises(EnvironmentFailure, match=message), connected(f"file:{file}"):
        pass
