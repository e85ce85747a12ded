"""The loop: threads read and decode ahead, the runtime has several calls under way, one thread writes behind.

    paths -> decoding threads -> batches -> calls under way -> collections -> writing thread -> results

This thread moves images from one stage to the next and is otherwise asleep, waiting for whichever stage is
behind: those waits are what a run's phases report, for they say what a run's time was spent on. Each stage works on
beyond the end of a shard: the next one's images are decoded and computed while this one's last are collected,
and a finished shard is compressed and published meanwhile. Memory holds the decoded window and two shards.
"""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import TypeVar

from extract.progress import Clock, Progress
from extract.runtimes import Computed, Pending, Runtime
from extract.shard_builder import PreparedView, ShardBuilder, ShardTask, refuse_range
from store.errors import StoppedEarly
from store.recipe import Output
from store.records import Failure

Result = TypeVar("Result")

_LEAST_WINDOW = 64  # views decoded ahead: some ten megabytes, so that neither side waits for the other's hiccups


@dataclass
class _Batch:
    """Views of one task that are computed together, failures met on the way, and whether it is the task's last."""

    task: ShardTask
    images: list[PreparedView] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    last: bool = False


def run_tasks(
    tasks: Iterable[ShardTask],
    prepare: Callable[[str], list[PreparedView] | Failure],
    runtime: Runtime,
    commit: Callable[[ShardBuilder], Result],
    outputs: Sequence[Output],
    *,
    workers: int,
    clock: Clock,
    progress: Progress,
    stop: threading.Event,
    new_store: bool,
) -> Iterator[Result]:
    """Carry out shard tasks in order and give what `commit` makes of each: its record, once it is published.

    Raises:
        StoppedEarly: `stop` was set; the shards in hand are dropped, those before them are committed.
        UsageError: the first batch of a new store does not fit the stored type.
    """
    decoders = ThreadPoolExecutor(workers, "decode")
    writer = ThreadPoolExecutor(1, "write")
    writing: Future[Result] | None = None
    clock.start()
    try:
        window = max(_LEAST_WINDOW, 2 * runtime.batch_size * runtime.in_flight)
        work = ((task, path) for task in tasks for path in task.paths)
        prepared = _in_order(decoders, prepare, work, window, 2 * workers, clock)
        with closing(_computed(_batches(prepared, runtime), runtime, clock, stop)) as computed:
            for collection in _collections(computed, outputs, progress, new_store):
                if writing is not None:
                    with clock.waiting("write"):
                        result = writing.result()
                    yield result
                writing = writer.submit(commit, collection)
        if writing is not None:
            with clock.waiting("write"):
                result = writing.result()
            clock.stop()
            yield result
    finally:
        decoders.shutdown(wait=True, cancel_futures=True)
        writer.shutdown(wait=True)


def _in_order(
    pool: ThreadPoolExecutor,
    prepare: Callable[[str], list[PreparedView] | Failure],
    work: Iterable[tuple[ShardTask, str]],
    window: int,
    least: int,
    clock: Clock,
) -> Iterator[tuple[ShardTask, list[PreparedView] | Failure]]:
    """Prepare images on the pool, `window` views or `least` images ahead, and give them in the order they were asked for."""
    ahead: deque[tuple[ShardTask, Future[list[PreparedView] | Failure]]] = deque()

    def first() -> tuple[ShardTask, list[PreparedView] | Failure]:
        task, future = ahead.popleft()
        with clock.waiting("decode"):
            return task, future.result()

    for task, path in work:
        ahead.append((task, pool.submit(prepare, path)))
        if len(ahead) > max(least, window // task.views):
            yield first()
    while ahead:
        yield first()


def _batches(images: Iterable[tuple[ShardTask, list[PreparedView] | Failure]], runtime: Runtime) -> Iterator[_Batch]:
    """Batches of good images, each of one task and with the failures met on the way; a task's last may be short."""
    batch: _Batch | None = None
    for task, prepared in images:
        if batch is not None and task is not batch.task:
            yield _Batch(batch.task, batch.images, batch.failures, last=True)
            batch = None
        for image in [prepared] if isinstance(prepared, Failure) else prepared:
            if batch is not None and len(batch.images) >= runtime.batch_size:
                yield batch
                batch = None
            batch = batch or _Batch(task)
            if isinstance(image, Failure):
                batch.failures.append(image)
            else:
                batch.images.append(image)
    if batch is not None:
        yield _Batch(batch.task, batch.images, batch.failures, last=True)


def _computed(
    batches: Iterable[_Batch], runtime: Runtime, clock: Clock, stop: threading.Event
) -> Generator[tuple[_Batch, Computed | None]]:
    """Start each batch while earlier ones are under way, and give them in order as they are done.

    However it ends, no call is left under way: the runtime can be used again.
    """
    flying: deque[tuple[_Batch, Pending | None]] = deque()

    def first() -> tuple[_Batch, Computed | None]:
        batch, pending = flying.popleft()
        if pending is None:
            return batch, None
        with clock.waiting("compute"):
            return batch, pending.result()

    try:
        for batch in batches:
            if stop.is_set():
                raise StoppedEarly("stopped early, finished shards are kept: run the same command again to go on")
            if len(flying) == runtime.in_flight:
                yield first()
            pixels = [image.decoded.pixels for image in batch.images]
            flying.append((batch, runtime.start(pixels) if pixels else None))
        while flying:
            yield first()
    finally:
        for _, pending in flying:
            if pending is not None:
                with suppress(Exception):  # something else went wrong before, and is being told
                    pending.result()


def _collections(
    computed: Iterable[tuple[_Batch, Computed | None]], outputs: Sequence[Output], progress: Progress, new_store: bool
) -> Iterator[ShardBuilder]:
    """Each task's collection, once its last batch is in."""
    first_batch = new_store
    collection: ShardBuilder | None = None
    for batch, found in computed:
        collection = collection or ShardBuilder(batch.task, outputs)
        collection.failures += batch.failures
        refused = []
        if found is not None:
            refused = collection.add(batch.images, found)
            if first_batch:
                refuse_range(refused)
            first_batch = False
        failures = len(batch.failures) + len(refused)
        progress.advance(sum(image.view == 0 for image in batch.images) + len(batch.failures), failures)
        if batch.last:
            yield collection
            collection = None
