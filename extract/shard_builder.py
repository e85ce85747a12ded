"""One shard task, the unit of all work: a plan's shard, from its images to its commit record.

The pipeline fills a `ShardBuilder`; `commit` turns it into one immutable shard and one record. Both may
happen twice at once, on any machines: the first record to be published is the one that counts.
"""

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from extract.images.augment import altered_views
from extract.images.decode import BadImage, Decoded, DecodePolicy, decode
from extract.progress import Clock
from extract.runtimes import Computed
from extract.sources.reading import Images
from store.errors import UsageError
from store.files.base import Files
from store.formats import Shard
from store.formats.base import ROW_SCHEMA
from store.plan import DESCRIPTION, LISTING_SCHEMA
from store.recipe import Augmentation, Output
from store.records import CommitRecord, Failure, Row, ShardSlot, StoreInfo, failure_table, row_table
from store.writer import ShardContent, StoreWriter

LARGEST = {dtype: float(np.finfo(dtype).max) for dtype in ("float16", "float32")}
"""The largest value of each stored type."""


@dataclass(frozen=True)
class ShardTask:
    """Shard `index` of a plan: `rows` has path, label, split and group of its images; `attempt` counts from 1.

    Each image gives so many `views`, each of them a row of the shard.
    """

    plan: str
    index: int
    attempt: int
    rows: pa.Table
    views: int = 1

    @property
    def paths(self) -> list[str]:
        """The images' row names, in order."""
        return list(self.rows["path"].to_pylist())


def listed_task(paths: Sequence[str], index: int = 0, views: int = 1) -> ShardTask:
    """A task for paths of no plan: without labels, and never committed."""
    nothing = [None] * len(paths)
    schema = pa.schema([LISTING_SCHEMA.field(name) for name in DESCRIPTION])
    columns = {"path": list(paths), "label": nothing, "split": nothing, "group": nothing}
    return ShardTask("", index, 1, pa.table(columns, schema=schema), views)


@dataclass(frozen=True)
class PreparedView:
    """A view of an image, ready to be computed: its pixels, and what its row will say of the source."""

    row: Row
    decoded: Decoded
    view: int = 0


class ImagePreparer:
    """Reads and decodes images, called by several threads at once.

    Args:
        images: where they are.
        policy: how they become pixels.
        workers: how many may decode at a time.
        clock: takes the time.
        augmentation: which altered views they have; None for none.
    """

    def __init__(
        self,
        images: Images,
        policy: DecodePolicy,
        workers: int,
        clock: Clock,
        augmentation: Augmentation | None = None,
    ) -> None:
        self.threads = max(workers, images.at_once)
        self._images = images
        self._policy = policy
        self._clock = clock
        self._augmentation = augmentation
        self._decoding = threading.BoundedSemaphore(workers)

    def __call__(self, path: str) -> list[PreparedView] | Failure:
        """The views of an image, the unaltered one first; whatever is wrong with it becomes a Failure."""
        source = None
        try:
            with self._clock.busy("read"):
                source = self._images.read(path)
            with self._decoding, self._clock.busy("decode"):
                decoded = decode(source.data, self._policy)
                altered = altered_views(decoded.pixels, self._augmentation, source.sha256) if self._augmentation else []
        except BadImage as error:
            if source is None:
                return Failure(path, error.code, error.message, "", *self._images.size_and_time(path))
            return Failure(path, error.code, error.message, source.sha256, len(source.data), source.time)
        row = Row(path, source.sha256, len(source.data), source.time)
        views = [decoded, *(replace(decoded, pixels=pixels) for pixels in altered)]
        return [PreparedView(row, view, number) for number, view in enumerate(views)]


class ShardBuilder:
    """What a task has come to so far: stored rows and their tensors, and failures.

    A value that float16 cannot hold is never stored as infinity: its image becomes a failure, with all of its views.
    """

    def __init__(self, task: ShardTask, outputs: Sequence[Output]) -> None:
        self.task = task
        self.failures: list[Failure] = []
        self._outputs = outputs
        self._rows: list[Row] = []
        self._sizes: list[tuple[int, int]] = []
        self._refused: set[str] = set()
        most = len(task.rows) * task.views
        self._tensors = {output.name: np.empty((most, *output.shape), output.dtype) for output in outputs}

    def add(self, images: Sequence[PreparedView], computed: Computed) -> list[Failure]:
        """Take in computed views, those of an image one after the other, also across calls.

        Returns:
            The images that had to be refused, which are kept as failures too.
        """
        refused = []
        for position, image in enumerate(images):
            row = image.row
            if row.path in self._refused:
                continue
            problem = _problem([float(column[position]) for column in computed.largest], self._outputs)
            if problem is not None:
                refused.append(Failure(row.path, *problem, row.sha256, row.size, row.time))
                self._refuse(image)
                continue
            if image.view == 0:
                self._rows.append(row)
                self._sizes.append((image.decoded.width, image.decoded.height))
            for output, tensor in zip(self._outputs, computed.tensors, strict=True):
                self._tensors[output.name][self._place(image.view)] = tensor[position]
        self.failures += refused
        return refused

    def _place(self, view: int) -> int:
        """The row of the last image's view."""
        return (len(self._rows) - 1) * self.task.views + view

    def _refuse(self, image: PreparedView) -> None:
        """Let go of an image: what was taken in of it will be written over."""
        self._refused.add(image.row.path)
        if image.view > 0:
            self._rows.pop()
            self._sizes.pop()

    @property
    def rows(self) -> Sequence[Row]:
        """The stored images, in shard order."""
        return self._rows

    def shard(self) -> Shard:
        """The rows and tensors collected."""
        described = {path: position for position, path in enumerate(self.task.paths)}
        table = self.task.rows.take(pa.array([described[row.path] for row in self._rows], pa.int64()))
        views, count = self.task.views, len(self._rows)
        columns = {
            **{name: table[name] for name in ("path", "label", "split", "group")},
            "width": pa.array([width for width, _ in self._sizes], pa.int32()),
            "height": pa.array([height for _, height in self._sizes], pa.int32()),
            "sha256": pa.array([row.sha256 for row in self._rows], pa.string()),
        }
        images = pa.table(columns).take(np.repeat(np.arange(count), views))
        rows = images.append_column("view", [np.tile(np.arange(views, dtype=np.int16), count)])
        rows = rows.select(ROW_SCHEMA.names).cast(ROW_SCHEMA).combine_chunks()
        return Shard(rows, {name: tensor[: count * views] for name, tensor in self._tensors.items()})

    def content(self) -> ShardContent:
        """What is to be committed."""
        return ShardContent(self.shard(), row_table(self.rows), failure_table(self.failures))


def _problem(largest: Sequence[float], outputs: Sequence[Output]) -> tuple[str, str] | None:
    """Failure code and message of an image whose tensors, of these largest magnitudes, cannot be stored."""
    for value, output in zip(largest, outputs, strict=True):
        if not math.isfinite(value):
            return "not_finite", f"the network gave NaN or infinity in {output.name}"
        if value > LARGEST[output.dtype]:
            message = f"{output.name} reaches {value:.4g}, more than {output.dtype} holds; extract with --dtype float32"
            return f"{output.dtype}_range", message
    return None


def refuse_range(failures: Sequence[Failure]) -> None:
    """Raise UsageError if any of these, the run's first, is a value out of float16's range."""
    for failure in failures:
        if failure.code == "float16_range":
            raise UsageError(f"{failure.path}: {failure.message}, into a new store")


def commit(folder: Files, info: StoreInfo, collection: ShardBuilder, environment: Mapping[str, str]) -> CommitRecord:
    """Publish the shard, then its record; see `StoreWriter.commit`."""
    task = collection.task
    slot = ShardSlot(task.plan, task.index, task.attempt)
    return StoreWriter(folder, info).commit(slot, collection.content(), environment)


def encoded_bytes(info: StoreInfo, collection: ShardBuilder) -> int:
    """How many bytes the shard would take in the store; it is checked as for one, and not written."""
    return len(StoreWriter.encode(collection.content(), info))
