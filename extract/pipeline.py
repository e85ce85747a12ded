"""The loop: threads read and decode ahead, the runtime has several calls running, one thread writes behind.

    paths -> decoding threads -> batches -> running calls  -> shard builders -> writing thread -> results

The loop's own thread moves images from one stage to the next and otherwise sleeps until the stage that is behind
catches up. Those waits are the phases that a run reports, because they are where its time went. The stages do not stop
at the end of a shard: the next shard's images are decoded and computed while the last one is collected, compressed and
published. Memory holds the decoded window and two shards.
"""

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from extract.clock import Clock
from extract.images.loader import CopiedImage, LoadedView
from extract.monitor import Monitor
from extract.runtimes.base import Computed, Pending, Runtime
from extract.shard_builder import ImageGroup, ShardBuilder
from extract.signals import stopped_early
from store.image_records import Failure
from store.progress import Progress
from store.recipe import Output
from store.writer import ShardContent

Group = TypeVar("Group", bound=ImageGroup)
Group_contra = TypeVar("Group_contra", bound=ImageGroup, contravariant=True)
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

_LEAST_WINDOW = 64  # views decoded ahead: some ten megabytes, enough to cover short stalls of either side

Loaded = list[LoadedView] | CopiedImage | Failure


class Loader(Protocol):
    """Where the loop's images come from; see `extract.images.loader.ImageLoader`."""

    threads: int
    """How many threads call `load`."""

    def load(self, path: str, clock: Clock, /) -> Loaded:
        """The views of an image, or its features, or why there are none."""
        ...


class Sink(Protocol[Group_contra, Result_co]):
    """Where the loop's shards go."""

    @property
    def outputs(self) -> Sequence[Output]:
        """The columns of features."""
        ...

    def check(self, refused: Sequence[Failure], /) -> None:
        """Look at the images of a computed batch whose values cannot be stored; raise to end the loop."""
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


def run_pipeline(
    groups: Iterable[Group], loader: Loader, runtime: Runtime, sink: Sink[Group, Result], monitor: Monitor
) -> Iterator[Result]:
    """Load, compute and finish groups of images in order, and give what `sink` makes of each.

    Raises:
        StoppedEarly: `monitor.stop` was set; groups in progress are dropped, those before them are finished.
        EnvironmentFailure: an image cannot be read now, or the sink cannot be written to.
    """
    decoders = ThreadPoolExecutor(loader.threads, "decode")
    writer = ThreadPoolExecutor(1, "write")
    monitor.clock.start()
    try:
        loaded = _load_ahead(_Window(decoders, loader, runtime), groups, monitor.clock)
        with closing(_compute(_batches(loaded, runtime), runtime, monitor)) as computed:
            yield from _write_behind(_collect(computed, sink, monitor.progress), sink, writer, monitor.clock)
    finally:
        decoders.shutdown(wait=True, cancel_futures=True)
        writer.shutdown(wait=True)


class _Window(Generic[Group]):
    """Images being loaded ahead of their turn."""

    def __init__(self, pool: ThreadPoolExecutor, loader: Loader, runtime: Runtime) -> None:
        self._pool = pool
        self._loader = loader
        self._views = max(_LEAST_WINDOW, 2 * runtime.batch_size * runtime.in_flight)
        self._images: deque[tuple[Group, Future[Loaded]]] = deque()

    def __len__(self) -> int:
        return len(self._images)

    def full(self, views: int) -> bool:
        """Whether enough images are being loaded, if each has this number of views."""
        return len(self._images) > max(2 * self._loader.threads, self._views // views)

    def add(self, group: Group, path: str, clock: Clock) -> None:
        self._images.append((group, self._pool.submit(self._loader.load, path, clock)))

    def first(self, clock: Clock) -> tuple[Group, Loaded]:
        """Wait for the image whose turn it is."""
        group, future = self._images.popleft()
        with clock.waiting("decode"):
            return group, future.result()


def _load_ahead(window: _Window[Group], groups: Iterable[Group], clock: Clock) -> Iterator[tuple[Group, Loaded]]:
    """Loaded images in the order of the groups."""
    for group in groups:
        for path in group.paths:
            window.add(group, path, clock)
            if window.full(group.views):
                yield window.first(clock)
    while len(window):
        yield window.first(clock)


def _batches(images: Iterable[tuple[Group, Loaded]], runtime: Runtime) -> Iterator[_Batch[Group]]:
    """Batches of one group each, with what else was met on the way; only a group's last batch may be short."""
    batch: _Batch[Group] | None = None
    for group, loaded in images:
        if batch is not None and group is not batch.group:
            batch.last = True
            yield batch
            batch = None
        for image in loaded if isinstance(loaded, list) else [loaded]:
            if batch is not None and batch.full(runtime.batch_size):
                yield batch
                batch = None
            batch = batch or _Batch(group)
            batch.add(image)
    if batch is not None:
        batch.last = True
        yield batch


def _compute(
    batches: Iterable[_Batch[Group]], runtime: Runtime, monitor: Monitor
) -> Generator[tuple[_Batch[Group], Computed | None]]:
    """Start each batch while earlier ones are running, and give them in order as they are done.

    However this ends, no call is left running, so that the runtime can be used again.
    """
    running: deque[tuple[_Batch[Group], Pending | None]] = deque()

    def first() -> tuple[_Batch[Group], Computed | None]:
        batch, pending = running.popleft()
        if pending is None:
            return batch, None
        with monitor.clock.waiting("compute"):
            return batch, pending.result()

    try:
        for batch in batches:
            if monitor.stop.is_set():
                raise stopped_early()
            if len(running) == runtime.in_flight:
                yield first()
            pixels = [image.decoded.pixels for image in batch.images]
            running.append((batch, runtime.start(pixels) if pixels else None))
        while running:
            yield first()
    finally:
        for _, pending in running:
            if pending is not None:
                with suppress(Exception):  # an earlier error is on its way to the caller
                    pending.result()


def _collect(
    computed: Iterable[tuple[_Batch[Group], Computed | None]], sink: Sink[Group, Result], progress: Progress
) -> Iterator[tuple[Group, ShardBuilder]]:
    """Each group's builder, once its last batch is in."""
    builder: ShardBuilder | None = None
    for batch, result in computed:
        builder = builder or ShardBuilder(batch.group, sink.outputs)
        builder.fail(batch.failures)
        builder.copy(batch.copied)
        refused: list[Failure] = []
        if result is not None:
            refused = builder.add(batch.images, result)
            sink.check(refused)
        images = sum(image.view == 0 for image in batch.images) + len(batch.copied) + len(batch.failures)
        progress.advance(images, len(batch.failures) + len(refused))
        if batch.last:
            yield batch.group, builder
            builder = None


def _write_behind(
    collected: Iterable[tuple[Group, ShardBuilder]],
    sink: Sink[Group, Result],
    writer: ThreadPoolExecutor,
    clock: Clock,
) -> Iterator[Result]:
    """Finish each shard on the writing thread while the next one is collected."""
    writing: Future[Result] | None = None

    def wait(future: Future[Result]) -> Result:
        with clock.waiting("write"):
            return future.result()

    for group, builder in collected:
        if writing is not None:
            yield wait(writing)
        writing = writer.submit(_finish, sink, group, builder)
    if writing is not None:
        result = wait(writing)
        clock.stop()
        yield result


def _finish(sink: Sink[Group, Result], group: Group, builder: ShardBuilder) -> Result:
    return sink.finish(group, builder.content())
