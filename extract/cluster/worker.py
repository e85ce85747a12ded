"""What runs on a Dask worker: a plugin that owns the network, and the task that computes one shard."""

import importlib.metadata
import os
import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from distributed import Worker, WorkerPlugin, get_worker

from extract.images.crash_search import find_crashing_images
from extract.monitor import Monitor
from extract.runtimes.deferred import DeferredRuntime
from extract.shard_builder import ShardTask
from extract.shard_worker import Assignment, ShardWorker, run_assignments
from extract.watchdog import Watchdog
from store.errors import StillframeError
from store.image_records import Failure
from store.progress import Silence

_TURN = threading.Lock()
"""Held while a network is loaded or computes. A runtime serves one loop at a time, and one loop uses all cores, so the
tasks of a worker with several threads, and those of several workers in one process, take turns."""

PATIENCE = 900.0
"""Seconds that loading the network, or one batch of images, may take. A worker that takes longer hangs, and ends itself:
a thread that waits for a decoder, a driver or a dead disk cannot be stopped in any other way."""


@dataclass(frozen=True)
class ShardDone:
    """The result of a shard task: images, failures among them, seconds waited for each phase, images that were copied."""

    images: int
    failures: int
    phases: Mapping[str, float]
    copied: int = 0


class ShardPlugin(WorkerPlugin):
    """Owns a worker's network, from its first shard until the run ends or the worker does.

    Args:
        shard_worker: what shards are computed with.
    """

    def __init__(self, shard_worker: ShardWorker) -> None:
        self.name = f"stillframe-{uuid.uuid4().hex}"
        self._shard_worker = shard_worker
        self._runtime: DeferredRuntime | None = None
        self._worker: Worker | None = None

    def setup(self, worker: Worker) -> None:
        """Called on the worker before its first task: networks of earlier runs are released.

        A run whose process was killed could not remove its plugin. A run that is still at work loads its network again
        with its next shard.
        """
        self._worker = worker
        for plugin in worker.plugins.values():
            if isinstance(plugin, ShardPlugin):
                plugin.release()

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  the plugin's interface
        """Called on the worker at the end of the run, or at its own end."""
        self.release()

    def release(self) -> None:
        """Drop the network. A shard that is being computed keeps it until it is finished."""
        self._runtime = None

    def load(self) -> None:
        """Load the network, once; takes seconds.

        Raises:
            EnvironmentFailure: the store, the images or the weights cannot be reached from this machine.
            UsageError: the network cannot be computed here, or is not the one that the store was made with.
        """
        with _TURN, self._watchdog():
            self._deferred().load()

    def run(self, task: ShardTask, careful: bool, new_store: bool) -> ShardDone:
        """Compute one shard; see `run_shard`."""
        failures = self._find_crashing_images(task) if careful else {}
        with _TURN, self._watchdog() as watchdog:
            runtime, monitor = self._deferred(), Monitor(progress=_Heard(watchdog))
            if not self._shard_worker.may_only_copy:
                runtime.load()
            assignment = Assignment(self._shard_worker, [task], runtime, new_store)
            ((_, record),) = run_assignments([assignment], monitor, failures)
        failed = len(record.failures)
        return ShardDone(len(record.rows) + failed, failed, monitor.clock.phases(), record.copied)

    def _deferred(self) -> DeferredRuntime:
        runtime = self._runtime
        if runtime is None:
            self._shard_worker.require_place()
            self._runtime = runtime = DeferredRuntime(self._shard_worker.load)
        return runtime

    def _watchdog(self) -> Watchdog:
        return Watchdog(PATIENCE, self._end_worker)

    def _end_worker(self) -> None:
        """End the worker, which hangs, so that the cluster gives its shard to another one."""
        worker = self._worker
        if worker is None or worker.nanny:  # the nanny watches over this process, and starts another
            os._exit(1)
        # There may be other things in this process, such as the client and its other workers.
        worker.loop.add_callback(worker.close, executor_wait=False, reason=f"no batch in {PATIENCE:g} s")

    def _find_crashing_images(self, task: ShardTask) -> Mapping[str, Failure]:
        return find_crashing_images(self._shard_worker.images, task.paths, self._shard_worker.policy)


class _Heard(Silence):
    """Progress that only a watchdog hears."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog

    def advance(self, _images: int, _failures: int, /) -> None:
        """A batch is done."""
        self._watchdog.restart()


def _plugin_here(name: str) -> ShardPlugin:
    """The plugin of that name on the worker that this is called on."""
    plugin: ShardPlugin = get_worker().plugins[name]
    return plugin


def load_network(plugin: str) -> None:
    """Load the network of a `ShardPlugin` on the worker that this is called on."""
    _plugin_here(plugin).load()


def run_shard(plugin: str, task: ShardTask, careful: bool, new_store: bool) -> ShardDone:
    """Compute one shard on the worker that this is called on.

    Args:
        plugin: the name of the run's `ShardPlugin`.
        task: the shard.
        careful: first find the images that would end this process, and make them failures.
        new_store: whether the first batch may still show that the stored type does not fit.
    """
    return _plugin_here(plugin).run(task, careful, new_store)


def find_trouble(shard_worker: ShardWorker, version: str) -> str:
    """Why a worker cannot compute shards for a run of that version of stillframe; empty if it can."""
    if (here := importlib.metadata.version("stillframe")) != version:
        return f"it has stillframe {here}, this is {version}; install the same version there"
    try:
        shard_worker.require_place()
    except StillframeError as error:
        return str(error)
    return ""
