"""Submitting shard tasks to a cluster, a few at a time.

The scheduler never sees more than a few tasks per worker, and never an array: a task goes out as the shard's paths and
comes back as numbers, while its features go from the worker to the store. A task may be lost or run twice: the record
that is published first counts.
"""

import queue
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from distributed import Client, Future, KilledWorker
from distributed.client import ClosedClientError
from distributed.comm import CommClosedError

from extract.cluster.worker import ShardDone
from extract.shard_builder import ShardTask
from extract.signals import stopped_early
from store.errors import EnvironmentFailure, StillframeError, UsageError

PATIENCE = 30.0
"""Seconds that a cluster may be without workers."""

_TASKS_PER_WORKER = 2  # one being computed, one ready
_MAX_FAILED = 3  # shards that may fail before a run ends in which more fail than succeed
_MAX_ATTEMPTS = 8  # per shard, for whatever reason
_MAX_CAREFUL = 3  # per shard whose workers died: it may have been another shard that killed them

RunShard = Callable[[ShardTask, bool, bool], ShardDone]
"""Called on a worker with a task, whether to be careful, and whether the store is new."""


@dataclass(frozen=True)
class Attempt:
    """One submission of a task: its number, from 0, and how many of the attempts so far were careful ones."""

    task: ShardTask
    number: int = 0
    careful: int = 0


class Submission:
    """Tasks in progress on a cluster, never more than a few per worker.

    Args:
        client: of the cluster.
        run_shard: computes a task on a worker.
        stop: ends it.
        new_store: whether tasks that are sent before the first one is done look at their first batch, which may show
            that the stored type does not fit.
    """

    def __init__(self, client: Client, run_shard: RunShard, stop: threading.Event, new_store: bool = False) -> None:
        self.client = client
        self.failed: list[Exception] = []
        self.done = 0
        self._run_shard = run_shard
        self._stop = stop
        self._new_store = new_store
        self._group = f"shard-{uuid.uuid4().hex}"  # one group: the scheduler remembers each group of tasks for ever
        self._in_progress: dict[Future, Attempt] = {}
        self._repeats: deque[Attempt] = deque()
        self._finished: queue.SimpleQueue[Future] = queue.SimpleQueue()
        self._workers_seen = time.monotonic()

    def workers(self) -> int:
        """How many workers the cluster has now."""
        return len(worker_addresses(self.client))

    def results(self, tasks: Iterator[ShardTask]) -> Iterator[ShardDone]:
        """The result of each task, in the order in which they end. A shard whose task fails is left to the next run.

        Raises:
            StoppedEarly: `stop` was set.
            UsageError: a task found that the run cannot be done as it was asked for.
            EnvironmentFailure: the scheduler or the workers are gone, or more shards fail than succeed.
        """
        first_attempts = map(Attempt, tasks)
        try:
            while True:
                if self._stop.is_set():
                    raise stopped_early()
                self._fill(first_attempts)
                if not self._in_progress and not self._repeats and self.client.status == "running":
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
            with suppress(OSError, TimeoutError, ClosedClientError):  # a scheduler that is lost has no tasks
                self.client.cancel(list(self._in_progress), force=True)

    def require_all(self) -> None:
        """Raise what the first failed task raised, if any did."""
        if self.failed:
            raise self.failed[0]

    def _fill(self, first_attempts: Iterator[Attempt]) -> None:
        """Submit tasks that have to be repeated, then new ones, up to a few per worker."""
        if self.client.status != "running":
            return
        for _ in range(_TASKS_PER_WORKER * max(1, self.workers()) - len(self._in_progress)):
            attempt = self._repeats.popleft() if self._repeats else next(first_attempts, None)
            if attempt is None:
                return
            self._submit(attempt)

    def _submit(self, attempt: Attempt) -> None:
        key = (self._group, attempt.task.slot.index, attempt.number)
        new_store = self._new_store and self.done == 0
        arguments = (attempt.task, attempt.careful > 0, new_store)
        future = self.client.submit(self._run_shard, *arguments, key=key, retries=1)
        self._in_progress[future] = attempt
        future.add_done_callback(self._finished.put)

    def _outcome(self, future: Future) -> ShardDone | None:
        """The result of a task; None if it failed, or has to be repeated."""
        attempt = self._in_progress.pop(future)
        try:
            if future.status == "finished":
                done: ShardDone = future.result()
                return done
            error = future.exception() if future.status == "error" else None
        except (CommClosedError, CancelledError):
            error = None
        again = _next_attempt(attempt, error)
        if again is not None:
            self._repeats.append(again)
            return None
        self._fail(attempt, error)
        return None

    def _fail(self, attempt: Attempt, error: Exception | None) -> None:
        """Record that a shard cannot be computed in this run.

        Raises:
            UsageError: no shard of the run could be computed as the user asked for.
            StillframeError: more shards have failed than succeeded.
        """
        if isinstance(error, UsageError):
            raise error
        if not isinstance(error, StillframeError):
            died = isinstance(error, KilledWorker)
            reason = "every worker that tried died" if died else f"{type(error).__name__}: {error}"
            error = EnvironmentFailure(
                f"shard {attempt.task.slot.index} could not be computed ({reason}): run the same command again"
            )
        self.failed.append(error)
        if len(self.failed) > max(_MAX_FAILED, self.done):
            raise error

    def _require_cluster(self) -> None:
        """Raise EnvironmentFailure if the scheduler is gone, or has been without workers for too long."""
        now = time.monotonic()
        if self.client.status not in ("running", "connecting"):
            raise _lost()
        if self.client.status == "running" and any(map(_is_working, _workers(self.client).values())):
            self._workers_seen = now
        elif now - self._workers_seen > PATIENCE:
            raise _without_workers(len(_workers(self.client)))


def _next_attempt(attempt: Attempt, error: Exception | None) -> Attempt | None:
    """The attempt that follows one without a result; None if there is none.

    Raises:
        EnvironmentFailure: the shard has been lost too often.
    """
    again = replace(attempt, number=attempt.number + 1)
    if error is None:  # a restarted scheduler has forgotten the task, or the worker died that had the answer
        if attempt.number >= _MAX_ATTEMPTS:
            raise _lost()
        return again
    if isinstance(error, KilledWorker) and attempt.careful < _MAX_CAREFUL:
        return replace(again, careful=attempt.careful + 1)
    return None


def worker_addresses(client: Client) -> list[str]:
    """The addresses of the workers that take tasks now: not of those that Dask has paused, because memory is short there."""
    return [address for address, worker in _workers(client).items() if worker["status"] == "running"]


def _workers(client: Client) -> dict[str, dict[str, Any]]:
    """What the scheduler knows of each worker, by its address."""
    return dict(client.scheduler_info(n_workers=-1).get("workers", {}))


def _is_working(worker: Mapping[str, Any]) -> bool:
    """Whether a worker takes tasks; or, if it is paused, computes the last one that it took."""
    return worker["status"] == "running" or bool(worker["metrics"].get("task_counts", {}).get("executing"))


def _without_workers(paused: int) -> EnvironmentFailure:
    if paused:
        return EnvironmentFailure(
            f"Dask has paused all workers ({paused}) for {PATIENCE:g} s, because their memory is nearly full: give them "
            "more (--memory-limit of `dask worker`), then run the same command again"
        )
    return EnvironmentFailure(
        f"the cluster has had no workers for {PATIENCE:g} s: start some, then run the same command again"
    )


def _lost() -> EnvironmentFailure:
    return EnvironmentFailure("the Dask scheduler was lost: run the same command again once it is back")
