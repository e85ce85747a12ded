"""The loop: threads read and decode ahead, this thread computes, one thread writes behind.

Decoding runs on into the next shard while this one is computed, and a finished shard is compressed and
published while the next is filled, so memory holds at most the decode window and two shards.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from extract.progress import Clock, Progress
from extract.runtimes import Runtime
from extract.task import Collection, Prepared, ShardTask, refuse_range
from store.errors import StoppedEarly
from store.recipe import Output
from store.records import Failure

Result = TypeVar("Result")


def run_tasks(
    tasks: Iterable[ShardTask],
    prepare: Callable[[str], Prepared | Failure],
    runtime: Runtime,
    commit: Callable[[Collection], Result],
    outputs: Sequence[Output],
    *,
    batch_size: int,
    workers: int,
    clock: Clock,
    progress: Progress,
    stop: threading.Event,
    new_store: bool,
) -> Iterator[Result]:
    """Carry out shard tasks in order and give what `commit` makes of each: its record, once it is published.

    Raises:
        StoppedEarly: `stop` was set; the shard in hand is dropped, those before it are committed.
        UsageError: the first batch of a new store does not fit the stored type.
    """
    decoders = ThreadPoolExecutor(workers, "decode")
    writer = ThreadPoolExecutor(1, "write")
    writing: Future[Result] | None = None

    def write(collection: Collection) -> Result:
        with clock.phase("write"):
            return commit(collection)

    first_batch = new_store
    try:
        window = 2 * batch_size + workers
        prepared = _in_order(decoders, prepare, ((task, path) for task in tasks for path in task.paths), window)
        for task, images in groupby(prepared, key=lambda pair: pair[0]):
            collection = Collection(task, outputs)
            for batch, failures in _batches((image for _, image in images), batch_size):
                if stop.is_set():
                    raise StoppedEarly("stopped early, finished shards are kept: run the same command again to go on")
                collection.failures += failures
                if batch:
                    with clock.phase("compute"):
                        tensors = runtime(_padded(batch, batch_size))
                    refused = collection.add(batch, [tensor[: len(batch)] for tensor in tensors])
                    if first_batch:
                        refuse_range(refused)
                    first_batch = False
                progress.advance(len(batch) + len(failures))
            if writing is not None:
                yield writing.result()
            writing = writer.submit(write, collection)
        if writing is not None:
            yield writing.result()
    finally:
        decoders.shutdown(wait=True, cancel_futures=True)
        writer.shutdown(wait=True)


def _in_order(
    pool: ThreadPoolExecutor,
    prepare: Callable[[str], Prepared | Failure],
    work: Iterable[tuple[ShardTask, str]],
    window: int,
) -> Iterator[tuple[ShardTask, Prepared | Failure]]:
    """Prepare images on the pool, at most `window` ahead, and give them in the order they were asked for."""
    ahead: deque[tuple[ShardTask, Future[Prepared | Failure]]] = deque()
    for task, path in work:
        ahead.append((task, pool.submit(prepare, path)))
        if len(ahead) > window:
            first, future = ahead.popleft()
            yield first, future.result()
    while ahead:
        first, future = ahead.popleft()
        yield first, future.result()


def _batches(images: Iterable[Prepared | Failure], batch_size: int) -> Iterator[tuple[list[Prepared], list[Failure]]]:
    """Full batches of good images, the last one short, each with the failures met on the way."""
    batch: list[Prepared] = []
    failures: list[Failure] = []
    for image in images:
        if isinstance(image, Failure):
            failures.append(image)
        else:
            batch.append(image)
        if len(batch) == batch_size:
            yield batch, failures
            batch, failures = [], []
    if batch or failures:
        yield batch, failures


def _padded(batch: Sequence[Prepared], batch_size: int) -> npt.NDArray[np.uint8]:
    """The pixels as one array, filled up with zeros: every call has the same shape, so nothing is recompiled."""
    pixels = np.zeros((batch_size, *batch[0].decoded.pixels.shape), np.uint8)
    for position, image in enumerate(batch):
        pixels[position] = image.decoded.pixels
    return pixels
