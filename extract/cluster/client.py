"""Shard tasks on a Dask cluster: one that runs already, or processes of this machine.

The scheduler never sees more than a few tasks a worker, and never an array: a task goes out as the shard's paths and comes
back as numbers, its features go from the worker to the store. A task may be lost or run twice: whichever record is published
first counts.

Dask runs whatever is sent to it for whoever can reach its port: only on networks that are trusted.
"""

import importlib.metadata
import logging
import os
import queue
import threading
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import dask
from distributed import Client, Future, KilledWorker, Nanny, Scheduler, SpecCluster, Worker, WorkerPlugin
from distributed.comm import CommClosedError

from extract.images.crash_search import find_crashing_images
from extract.progress import Clock, Progress, Silence
from extract.request import parse_scheduler
from extract.runtimes.device import gpu_numbers
from extract.shard_builder import ShardTask
from extract.shard_worker import ShardWorker
from extract.signals import unheard_by_children
from store.errors import EnvironmentFailure, StillframeError, StoppedEarly

if TYPE_CHECKING:
    from extract.runtimes import Runtime

PATIENCE = 30.0
"""Seconds to wait for a scheduler, and for the first worker or another once all have gone."""

_LOGGERS = ("distributed", "distributed.client", "tornado.application", "asyncio")
_AHEAD = 2  # tasks under way for each worker: one at work, one at hand
_MOST_FAILED = 3  # shards, before a run ends in which more fail than are done
_SETTINGS = {
    "distributed.scheduler.worker-saturation": 1.0,  # else a dying worker takes a second shard along
    # What nobody looks at here takes some hundredths of the workers' time: samples of their stacks, ticks of 20 ms.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "500ms",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.active-memory-manager.start": False,
}
_MOST_TRIES = 8  # of a shard, whatever became of them
_CAREFUL_TRIES = 3  # of a shard that was in hand when workers died: others' shards may have killed them


@dataclass(frozen=True)
class Done:
    """What a shard task came to: images, failures among them, and seconds waited for each phase."""

    images: int
    failures: int
    phases: Mapping[str, float]


# On a worker


@lru_cache(maxsize=1)
def _runtime(work: ShardWorker) -> "Runtime":
    work.require_place()
    return work.load()


def _load(work: ShardWorker) -> None:
    _runtime(work)


def run_shards(work: ShardWorker, task: ShardTask, careful: bool) -> Done:
    """One shard task; called on a worker, whose process keeps the network for the next.

    Args:
        work: what to do it with.
        task: what to do.
        careful: first find the images that would end this process, and make them failures.
    """
    runtime = _runtime(work)
    known = find_crashing_images(work.root, task.paths, work.policy) if careful else {}
    clock = Clock()
    never = threading.Event()
    (record,) = work.run_shards([task], runtime, clock=clock, progress=Silence(), stop=never, known=known)
    return Done(len(record.rows) + len(record.failures), len(record.failures), clock.phases())


def _trouble(work: ShardWorker, version: str) -> str:
    """Why a worker cannot carry out tasks of that version of ours; empty if it can."""
    if (here := importlib.metadata.version("stillframe")) != version:
        return f"it has stillframe {here}, this is {version}; install the same version there"
    try:
        work.require_place()
    except StillframeError as error:
        return str(error)
    return ""


# Where tasks are sent from


@contextmanager
def connected(scheduler: str) -> Iterator[Client]:
    """A client of the cluster that `--scheduler` names, with a worker at least.

    Args:
        scheduler: `tcp://HOST:PORT`, `file:PATH` of a scheduler file, or `local:N` for N processes of this machine.

    Raises:
        UsageError: it is none of these.
        EnvironmentFailure: the scheduler cannot be reached, or has no workers.
    """
    kind, place = parse_scheduler(scheduler)
    if kind == "local":
        with _local_cluster(int(place)) as cluster, _client(cluster, scheduler) as client:
            yield client
    elif kind == "file":
        if not os.path.exists(place):
            raise EnvironmentFailure(f"--scheduler {scheduler}: there is no such file (yet): start the scheduler first")
        with _client(None, scheduler, scheduler_file=place) as client:
            yield client
    else:
        with _client(scheduler, scheduler) as client:
            yield client


@contextmanager
def _client(address: Any, named: str, **options: Any) -> Iterator[Client]:
    for name in _LOGGERS:  # what they tell, this program tells too, in a line
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of versions that differ: tasks are checked by what they need
            client = Client(address, timeout=PATIENCE, set_as_default=False, **options)
    except (OSError, TimeoutError, ValueError) as error:
        raise EnvironmentFailure(
            f"no Dask scheduler answers at {named} ({error}): is it running, and can this machine reach it?"
        ) from error
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError:
        client.close(timeout=5)
        raise EnvironmentFailure(
            f"the scheduler at {named} has no workers after {PATIENCE:g} s: start some with `dask worker`"
        ) from None
    try:
        yield client
    finally:
        client.close(timeout=5)


@contextmanager
def _local_cluster(count: int) -> Iterator[Any]:
    """A cluster of processes of this machine that share its cores and have a GPU each as far as there are any."""
    gpus = gpu_numbers()
    workers = {}
    for number in range(count):
        pinned = {"CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if gpus else {}
        options = {
            "nthreads": 1,
            "memory_limit": 0,
            "env": pinned,
            "silence_logs": logging.CRITICAL,
            "plugins": [_Cores(number, count)],
        }
        workers[number] = {"cls": Nanny, "options": options}
    address = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}
    with dask.config.set(_SETTINGS):
        try:
            with unheard_by_children():
                cluster = SpecCluster(
                    workers=workers,
                    scheduler={"cls": Scheduler, "options": address},
                    silence_logs=logging.CRITICAL,
                    shutdown_on_close=True,
                )
        except (RuntimeError, OSError, TimeoutError) as error:
            raise EnvironmentFailure(
                f"the worker processes of --scheduler local:{count} did not start ({error.__cause__ or error}); a script "
                'that calls extract() has to do so under `if __name__ == "__main__":`, for they import it'
            ) from error
        with cluster:
            yield cluster


class _Cores(WorkerPlugin):
    """A plugin that leaves a worker its share of the cores: libraries then start as many threads as that."""

    def __init__(self, number: int, count: int) -> None:
        self.number = number
        self.count = count

    def setup(self, worker: Worker) -> None:  # noqa: ARG002  the plugin's interface
        if not hasattr(os, "sched_getaffinity"):  # macOS: they share all cores
            return
        cores = sorted(os.sched_getaffinity(0))
        share = cores[self.number % len(cores) :: self.count] or [cores[self.number % len(cores)]]
        os.sched_setaffinity(0, share)


def run_on_cluster(
    client: Client,
    work: ShardWorker,
    tasks: Iterable[ShardTask],
    *,
    clock: Clock,
    progress: Progress,
    stop: threading.Event,
) -> int:
    """Carry out tasks on the cluster's workers; returns how many images that were.

    A shard whose task fails is left for the next run, and the others are done.

    Raises:
        StoppedEarly: `stop` was set.
        EnvironmentFailure: a worker cannot do it, the workers have gone, the scheduler has, or shards failed.
        StillframeError: what the first failed task raised.
    """
    _require_able(client, work)
    _load_everywhere(client, work, stop)
    submission = Submission(client, partial(run_shards, work), stop)
    images = 0
    clock.start()
    for done in submission.results(iter(tasks)):
        clock.waited(done.phases, max(1, submission.workers()))
        progress.advance(done.images, done.failures)
        images += done.images
    clock.stop()
    submission.require_all()
    return images


def _require_able(client: Client, work: ShardWorker) -> None:
    """Raise EnvironmentFailure unless every worker has the package, the weights and the paths."""
    version = importlib.metadata.version("stillframe")
    for worker, answer in client.run(_trouble, work, version, on_error="return").items():
        trouble = answer
        if isinstance(answer, Exception):
            trouble = f"{type(answer).__name__}: {answer}; install the same version of stillframe there"
        if trouble:
            raise EnvironmentFailure(f"the worker at {worker} cannot work: {trouble}")


def _load_everywhere(client: Client, work: ShardWorker, stop: threading.Event) -> None:
    """Have every worker load the network, which takes seconds; one that joins later does so with its first task.

    Raises:
        StoppedEarly: `stop` was set.
        StillframeError: what loading raised.
    """
    loading = {worker: client.submit(_load, work, workers=[worker], pure=False) for worker in _workers(client)}
    while loading:
        if stop.is_set():
            raise _stopped()
        there = _workers(client)
        for worker, future in list(loading.items()):
            if future.done() or worker not in there:
                del loading[worker]
            if future.status == "error" and isinstance(error := future.exception(), StillframeError):
                raise error
        time.sleep(0.05)


def _workers(client: Client) -> list[str]:
    """The addresses of the workers that are there now."""
    return list(client.scheduler_info(n_workers=-1).get("workers", ()))


@dataclass(frozen=True)
class _Try:
    """A task that is sent out: for the how-manieth time, and how many of these were with care."""

    task: ShardTask
    number: int = 0
    careful: int = 0


class Submission:
    """Tasks under way on a cluster, never more than a few a worker.

    Args:
        client: of the cluster.
        run_shards: called on a worker with a task and whether to be careful.
        stop: ends it.
    """

    def __init__(self, client: Client, run_shards: Callable[[ShardTask, bool], Done], stop: threading.Event) -> None:
        self.client = client
        self.run_shards = run_shards
        self.stop = stop
        self.failed: list[Exception] = []
        self.done = 0
        self._group = f"shard-{uuid.uuid4().hex}"  # the scheduler remembers each group of tasks: so all are one
        self._under_way: dict[Future, _Try] = {}
        self._again: deque[_Try] = deque()
        self._finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._seen = time.monotonic()

    def workers(self) -> int:
        """How many there are now."""
        return len(_workers(self.client))

    def results(self, tasks: Iterator[ShardTask]) -> Iterator[Done]:
        """What each task came to, in the order they end."""
        first = map(_Try, tasks)
        try:
            while True:
                if self.stop.is_set():
                    raise _stopped()
                self._fill(first)
                if not self._under_way and not self._again and self.client.status == "running":
                    return
                try:
                    future = self._finished.get(timeout=0.5)
                except queue.Empty:
                    self._require_cluster()
                    continue
                done = self._outcome(future)
                if done is not None:
                    self.done += 1
                    yield done
        finally:
            with suppress(OSError, TimeoutError):  # a scheduler that is lost has nothing under way
                self.client.cancel(list(self._under_way), force=True)

    def require_all(self) -> None:
        """Raise what the first failed task raised, if any did."""
        if self.failed:
            raise self.failed[0]

    def _fill(self, first: Iterator[_Try]) -> None:
        """Send out what has to be done again, then new tasks, up to a few a worker."""
        if self.client.status != "running":
            return
        for _ in range(_AHEAD * max(1, self.workers()) - len(self._under_way)):
            attempt = self._again.popleft() if self._again else next(first, None)
            if attempt is None:
                return
            self._submit(attempt)

    def _submit(self, attempt: _Try) -> None:
        key = (self._group, attempt.task.index, attempt.number)
        future = self.client.submit(self.run_shards, attempt.task, attempt.careful > 0, key=key, retries=1)
        self._under_way[future] = attempt
        future.add_done_callback(self._finished.put)

    def _outcome(self, future: Future) -> Done | None:
        """What a task came to; None if it failed, or is to be done again."""
        attempt = self._under_way.pop(future)
        again = replace(attempt, number=attempt.number + 1)
        try:
            if future.status == "finished":
                done: Done = future.result()
                return done
            error = future.exception() if future.status == "error" else None
        except (CommClosedError, CancelledError):
            error = None
        if error is None:  # a scheduler that was restarted has forgotten it, or the worker died that had the answer
            if attempt.number >= _MOST_TRIES:
                raise _lost()
            self._again.append(again)
            return None
        if isinstance(error, KilledWorker) and attempt.careful < _CAREFUL_TRIES:
            self._again.append(replace(again, careful=attempt.careful + 1))
            return None
        if not isinstance(error, StillframeError):
            died = isinstance(error, KilledWorker)
            told = "every worker that tried died" if died else f"{type(error).__name__}: {error}"
            error = EnvironmentFailure(
                f"shard {attempt.task.index} could not be computed ({told}): run the same command again"
            )
        self.failed.append(error)
        if len(self.failed) > max(_MOST_FAILED, self.done):
            raise error
        return None

    def _require_cluster(self) -> None:
        """Raise EnvironmentFailure if the scheduler is gone, or has been without workers for too long."""
        now = time.monotonic()
        if self.client.status not in ("running", "connecting"):
            raise _lost()
        if self.client.status == "running" and self.workers():
            self._seen = now
        elif now - self._seen > PATIENCE:
            raise EnvironmentFailure(
                f"the cluster has had no workers for {PATIENCE:g} s: start some, then run the same command again"
            )


def _stopped() -> StoppedEarly:
    return StoppedEarly("stopped early, finished shards are kept: run the same command again to go on")


def _lost() -> EnvironmentFailure:
    return EnvironmentFailure("the Dask scheduler was lost: run the same command again once it is back")
