"""What a worker owns: one network per run, and one shard at a time."""

import time
from collections import deque
from types import SimpleNamespace

import pytest
from distributed import Client, LocalCluster

import extract.resolve
import extract.shard_worker
from extract import extract as extract_images
from extract.cluster.worker import ShardPlugin
from store import open_store
from tests.extract.cluster.pixels import PIXELS
from tests.stub import StubRuntime, load_stub


class BusyRuntime(StubRuntime):
    """Has as many requests as one loop keeps in progress, like OpenVINO's runtime, and takes a while for each."""

    def __init__(self, spec):
        super().__init__(spec.dtype, batch_size=1)
        self.idle = deque(range(self.in_flight))

    def start(self, images):
        request = self.idle.popleft()
        call = super().start(images)

        def result():
            time.sleep(0.02)
            self.idle.append(request)
            return call.result()

        return SimpleNamespace(result=result)


def load_busy(spec, reporter=None):
    """Takes the place of `extract.runtimes.load.load_runtime`."""
    return BusyRuntime(spec), load_stub(spec)[1]


@pytest.mark.parametrize("count", [2, 4])
def test_a_worker_with_several_threads_computes_one_shard_at_a_time(data, out, monkeypatch, count):
    """They shared one runtime, whose queue of idle requests ran empty."""
    for module in (extract.resolve, extract.shard_worker):
        monkeypatch.setattr(module, "load_runtime", load_busy)
    with LocalCluster(
        n_workers=1, threads_per_worker=count, processes=False, protocol="tcp://", dashboard_address=":0"
    ) as cluster:
        result = extract_images(data, out, scheduler=cluster.scheduler_address, weights="random", **PIXELS)
    assert (result.rows, result.failures) == (24, 0)
    assert open_store(out).verify().sound


class Loading:
    """In place of a ShardWorker: counts how often the network is loaded."""

    def __init__(self):
        self.loads = 0

    def require_place(self):
        pass

    def load(self):
        self.loads += 1
        return object()


def test_a_new_run_releases_the_networks_that_killed_runs_have_left():
    left, new = Loading(), Loading()
    worker = SimpleNamespace(plugins={"another": object()})
    for loading in (left, new):
        plugin = ShardPlugin(loading)
        worker.plugins[plugin.name] = plugin
        plugin.setup(worker)
        for _ in range(3):
            plugin.load()
        assert loading.loads == 1
    first = next(plugin for plugin in worker.plugins.values() if isinstance(plugin, ShardPlugin))
    first.load()  # a run that was not killed after all
    assert left.loads == 2
    plugin.load()
    assert new.loads == 1
    plugin.teardown(worker)
    plugin.load()
    assert new.loads == 2


def test_workers_release_the_network_of_a_run_at_its_end(data, out, threads):
    extract_images(data, out, scheduler=threads, **PIXELS)
    with Client(threads, set_as_default=False) as client:
        plugins = client.run(lambda dask_worker: [name for name in dask_worker.plugins if "stillframe" in str(name)])
    assert set(map(tuple, plugins.values())) == {()}
