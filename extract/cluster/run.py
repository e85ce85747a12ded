"""A run's shards on the workers of a Dask cluster."""

import importlib.metadata
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from distributed import Client

from extract.cluster.submission import Submission, worker_addresses
from extract.cluster.worker import ShardPlugin, find_trouble, load_network, run_shard
from extract.monitor import Monitor
from extract.shard_builder import ShardTask
from extract.shard_worker import ShardWorker
from extract.signals import stopped_early
from store.errors import EnvironmentFailure, StillframeError


def run_on_cluster(
    client: Client, shard_worker: ShardWorker, tasks: Iterator[ShardTask], monitor: Monitor, new_store: bool
) -> tuple[int, int]:
    """Compute shards on the cluster's workers; returns how many images that were, and how many of them were copied.

    A shard whose task fails is left to the next run, and the others are computed.

    Args:
        client: of the cluster.
        shard_worker: what shards are computed with.
        tasks: the shards.
        monitor: observes the run and stops it.
        new_store: whether the first batches may still show that the stored type does not fit.

    Raises:
        StoppedEarly: `monitor.stop` was set.
        EnvironmentFailure: a worker cannot compute, the workers or the scheduler are gone, or shards failed.
        StillframeError: what the first failed task raised.
    """
    _require_able_workers(client, shard_worker)
    images = copied = 0
    with _plugin(client, shard_worker) as plugin:
        if not shard_worker.may_only_copy:
            _load_everywhere(client, plugin, monitor.stop)
        submission = Submission(client, partial(run_shard, plugin), monitor.stop, new_store)
        monitor.clock.start()
        for done in submission.results(tasks):
            monitor.clock.add_waits(done.phases, max(1, submission.workers()))
            monitor.progress.advance(done.images, done.failures)
            monitor.progress.commit(done.images, done.failures)
            images += done.images
            copied += done.copied
        monitor.clock.stop()
    submission.require_all()
    return images, copied


@contextmanager
def _plugin(client: Client, shard_worker: ShardWorker) -> Iterator[str]:
    """The name of a plugin that every worker has inside the block. After it, the workers release the network."""
    plugin = ShardPlugin(shard_worker)
    client.register_plugin(plugin)
    try:
        yield plugin.name
    finally:
        with suppress(OSError, TimeoutError, ValueError):  # a scheduler that is lost has no plugins
            if client.status == "running":
                client.unregister_worker_plugin(plugin.name)


def _require_able_workers(client: Client, shard_worker: ShardWorker) -> None:
    """Raise EnvironmentFailure unless every worker has the package, the weights and the paths."""
    version = importlib.metadata.version("stillframe")
    for address, answer in client.run(find_trouble, shard_worker, version, on_error="return").items():
        trouble = answer
        if isinstance(answer, OSError | TimeoutError):
            trouble = f"it does not answer ({answer}); end it if it hangs, then run the same command again"
        elif isinstance(answer, Exception):
            trouble = f"{type(answer).__name__}: {answer}; install the same version of stillframe there"
        if trouble:
            raise EnvironmentFailure(f"the worker at {address} cannot compute: {trouble}")


def _load_everywhere(client: Client, plugin: str, stop: threading.Event) -> None:
    """Have every worker load the network, which takes seconds. A worker that joins later loads it with its first task.

    Raises:
        StoppedEarly: `stop` was set.
        StillframeError: what loading raised.
    """
    loading = {
        address: client.submit(load_network, plugin, workers=[address], pure=False)
        for address in worker_addresses(client)
    }
    while loading:
        if stop.is_set():
            raise stopped_early()
        there = worker_addresses(client)
        for address, future in list(loading.items()):
            if future.done() or address not in there:
                del loading[address]
            if future.status == "error" and isinstance(error := future.exception(), StillframeError):
                raise error
        time.sleep(0.05)
