"""The loop: threads read and decode ahead, networks have several calls running, threads write behind.

    paths -> decoding threads -> batches -> running calls  -> shard builders -> writing thread -> results

The loop's own thread moves images from one stage to the next and otherwise sleeps until the stage that is behind
catches up. Those waits are the phases that a run reports, because they are where its time went. The stages do not stop
at the end of a shard: the next shard's images are decoded and computed while the last one is collected, compressed and
published. Memory holds the decoded window and two shards.

Several networks may take their images from one pass: each is a `Lane` with stages of its own behind the decoding
threads, which load an image once for all lanes that need it. What a lane computes does not depend on the others.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from extract.images.loader import CopiedImage, Loaded, LoadedView
from extract.monitor import Clock, Monitor
from extract.runtimes.base import Pending, Runtime
from extract.shard_builder import ImageGroup, ShardBuilder
from extract.signals import stopped_early
from store.formats.base import Packed
from store.image_records import Failure
from store.recipe import Output
from store.tensors import Tensor
from store.writer import ShardContent

Group = TypeVar("Group", bound=ImageGroup)
Group_contra = TypeVar("Group_contra", bound=ImageGroup, contravariant=True)
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

_LEAST_WINDOW = 64  # views decoded ahead: some ten megabytes, enough to cover short stalls of either side


class Loader(Protocol):
    """Where one lane's images come from; see `extract.images.loader.ImageLoader`."""

    threads: int
    """How many threads call `load`."""

    def load(self, path: str, clock: Clock, /) -> Loaded:
        """The views of an image, or its features, or why there are none."""
        ...


class PassLoader(Protocol):
    """Where the images of several lanes come from; see `extract.images.loader.SharedLoader`."""

    @property
    def threads(self) -> int:
        """How many threads call `load`."""
        ...

    def load(self, path: str, needed: Sequence[int], clock: Clock, /) -> Sequence[Loaded]:
        """What each of the lanes at these positions gets of an image."""
        ...


class Sink(Protocol[Group_contra, Result_co]):
    """Receives the shards that the loop fills."""

    @property
    def outputs(self) -> Sequence[Output]:
        """The columns of features."""
        ...

    def check(self, refused: Sequence[Failure], /) -> None:
        """Look at the images of a computed batch whose values cannot be stored; raise to end the loop."""
        ...

    def pack(self, tensor: Tensor, /) -> Packed | None:
        """Prepare rows of an output that will not change, while others are computed; called by writing threads."""
        ...

    def finish(self, group: Group_contra, content: ShardContent, /) -> Result_co:
        """Take a shard; called by one thread, in order, while the next shard is computed."""
        ...


@dataclass
class _Batch(Generic[Group]):
    """Views of one group that are computed together, what else was met on the way, and whether it is the group's last."""

    group: Group
    images: list[LoadedView] = field(default_factory=list)
    copied: list[CopiedImage] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    last: bool = False

    def add(self, image: LoadedView | CopiedImage | Failure) -> None:
        match image:
            case LoadedView():
                self.images.append(image)
            case CopiedImage():
                self.copied.append(image)
            case Failure():
                self.failures.append(image)

    def full(self, size: int) -> bool:
        """Whether it has as many views as are computed together, or as many features."""
        return max(len(self.images), len(self.copied)) >= size


@dataclass(frozen=True, eq=False)
class Lane(Generic[Group, Result]):
    """What one network computes: which groups of images, and where their shards go."""

    groups: Iterable[Group]
    runtime: Runtime
    sink: Sink[Group, Result]


@dataclass(frozen=True)
class _Alone:
    """The loader of a pass for one lane, which may need an image twice."""

    loader: Loader

    @property
    def threads(self) -> int:
        return self.loader.threads

    def load(self, path: str, needed: Sequence[int], clock: Clock) -> Sequence[Loaded]:
        return [self.loader.load(path, clock)] * len(needed)


def run_pipeline(
    groups: Iterable[Group], loader: Loader, runtime: Runtime, sink: Sink[Group, Result], monitor: Monitor
) -> Iterator[Result]:
    """Load, compute and finish groups of images in order, and give what `sink` makes of each; see `run_lanes`."""
    for _, result in run_lanes([Lane(groups, runtime, sink)], _Alone(loader), monitor):
        yield result


def run_lanes(
    lanes: Sequence[Lane[Group, Result]], loader: PassLoader, monitor: Monitor
) -> Iterator[tuple[int, Result]]:
    """Run lanes in one pass over their images, and give each result with its lane's position.

    Args:
        lanes: one alone may have its paths in any order, and repeat them. Several must each have theirs in ascending
            order, so that an image is loaded once for all that need it.
        loader: where the images come from.
        monitor: observes the loop and stops it.

    Raises:
        StoppedEarly: `monitor.stop` was set; groups in progress are dropped, those before them are finished.
        EnvironmentFailure: an image cannot be read now, or a sink cannot be written to.
    """
    decoders = ThreadPoolExecutor(loader.threads, "decode")
    writers = ThreadPoolExecutor(len(lanes), "write")
    monitor.clock.start()
    try:
        with ExitStack() as stack:
            stages = [stack.enter_context(_Stages(lane, writers, monitor)) for lane in lanes]
            for number, group, image in _load_ahead(lanes, loader, decoders, monitor.clock):
                for result in stages[number].add(group, image):
                    yield number, result
            for number, last in enumerate(stages):
                for result in last.end():
                    yield number, result
    finally:
        decoders.shutdown(wait=True, cancel_futures=True)
        writers.shutdown(wait=True)


def _load_ahead(
    lanes: Sequence[Lane[Group, Result]], loader: PassLoader, pool: ThreadPoolExecutor, clock: Clock
) -> Iterator[tuple[int, Group, Loaded]]:
    """Loaded images in order, each once for every lane that needs it: the lane's position, the group, the image."""
    window: deque[tuple[list[tuple[int, Group]], Future[Sequence[Loaded]]]] = deque()

    def first() -> Iterator[tuple[int, Group, Loaded]]:
        takers, future = window.popleft()
        with clock.waiting("decode"):
            images = future.result()
        for (number, group), image in zip(takers, images, strict=True):
            yield number, group, image

    for path, takers in _joined(lanes):
        window.append((takers, pool.submit(loader.load, path, [number for number, _ in takers], clock)))
        views = max(group.views for _, group in takers)
        views_in_flight = max(lane.runtime.batch_size * lane.runtime.in_flight for lane in lanes)
        most_views = max(_LEAST_WINDOW, 2 * views_in_flight)
        if len(window) > max(2 * loader.threads, most_views // views):
            yield from first()
    while window:
        yield from first()


def _joined(lanes: Sequence[Lane[Group, Result]]) -> Iterator[tuple[str, list[tuple[int, Group]]]]:
    """Each path with the positions and groups of all lanes that need it; all lanes' paths are ascending."""

    def needed(number: int, groups: Iterable[Group]) -> Iterator[tuple[str, int, Group]]:
        for group in groups:
            for path in group.paths:
                yield path, number, group

    streams = [needed(number, lane.groups) for number, lane in enumerate(lanes)]
    merged = heapq.merge(*streams, key=lambda image: image[:2])
    for path, same in itertools.groupby(merged, key=lambda image: image[0]):
        yield path, [(number, group) for _, number, group in same]


class _Stages(Generic[Group, Result]):
    """The stages of one lane behind the decoding threads. Everything stays in order.

    Inside a `with`: however it ends, no call is left running, so that the runtime can be used again.
    """

    def __init__(self, lane: Lane[Group, Result], writer: ThreadPoolExecutor, monitor: Monitor) -> None:
        self._runtime = lane.runtime
        self._sink = lane.sink
        self._writer = writer
        self._monitor = monitor
        self._batch: _Batch[Group] | None = None
        self._running: deque[tuple[_Batch[Group], Pending | None]] = deque()
        self._builder: ShardBuilder | None = None
        self._writing: Future[Result] | None = None

    def __enter__(self) -> "_Stages[Group, Result]":
        return self

    def __exit__(self, *_: object) -> None:
        for _batch, pending in self._running:
            if pending is not None:
                with suppress(Exception):  # an earlier error is on its way to the caller
                    pending.result()

    def add(self, group: Group, loaded: Loaded) -> Iterator[Result]:
        """Take the next image; gives the result of a group that was finished meanwhile."""
        if self._batch is not None and group is not self._batch.group:
            yield from self._start(self._batch, last=True)
        for image in loaded if isinstance(loaded, list) else [loaded]:
            if self._batch is not None and self._batch.full(self._runtime.batch_size):
                yield from self._start(self._batch)
            self._batch = self._batch or _Batch(group)
            self._batch.add(image)

    def end(self) -> Iterator[Result]:
        """Finish what is left."""
        if self._batch is not None:
            yield from self._start(self._batch, last=True)
        while self._running:
            yield from self._collect()
        if self._writing is not None:
            yield self._written(self._writing)
            self._monitor.clock.stop()

    def _start(self, batch: _Batch[Group], last: bool = False) -> Iterator[Result]:
        """Start to compute a batch while earlier ones are running; only a group's last one may be short."""
        self._batch = None
        batch.last = last
        if self._monitor.stop.is_set():
            raise stopped_early()
        if len(self._running) == self._runtime.in_flight:
            yield from self._collect()
        pixels = [image.decoded.pixels for image in batch.images]
        self._running.append((batch, self._runtime.start(pixels) if pixels else None))

    def _collect(self) -> Iterator[Result]:
        """Wait for the first batch that is running, and add it to its group's builder."""
        batch, pending = self._running.popleft()
        builder = self._builder = self._builder or ShardBuilder(batch.group, self._sink.outputs, self._pack)
        builder.fail(batch.failures)
        builder.copy(batch.copied)
        refused: list[Failure] = []
        if pending is not None:
            with self._monitor.clock.waiting("compute"):
                computed = pending.result()
            refused = builder.add(batch.images, computed)
            self._sink.check(refused)
        images = sum(image.view == 0 for image in batch.images) + len(batch.copied) + len(batch.failures)
        self._monitor.progress.advance(images, len(batch.failures) + len(refused))
        if batch.last:
            yield from self._write(batch.group, builder)

    def _write(self, group: Group, builder: ShardBuilder) -> Iterator[Result]:
        """Finish a shard on a writing thread while the next one is collected; gives the result of the one before."""
        builder.complete()
        before, self._builder = self._writing, None
        if before is not None:
            yield self._written(before)
        self._writing = self._writer.submit(_finish, self._sink, group, builder)

    def _pack(self, tensor: Tensor) -> Future[Packed | None]:
        return self._writer.submit(self._sink.pack, tensor)

    def _written(self, writing: Future[Result]) -> Result:
        with self._monitor.clock.waiting("write"):
            return writing.result()


def _finish(sink: Sink[Group, Result], group: Group, builder: ShardBuilder) -> Result:
    return sink.finish(group, builder.content())
