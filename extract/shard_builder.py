"""From computed images to a shard of a store: collecting rows, tensors and failures, and committing them."""

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from extract.images.loader import CopiedImage, LoadedView
from extract.monitor import Clock
from extract.runtimes.base import Computed
from store.errors import UsageError
from store.formats import get_format
from store.formats.base import ROW_SCHEMA, Packed, Shard
from store.image_records import Failure, Row, failure_table, row_table
from store.plan import DESCRIPTION, LISTING_SCHEMA
from store.recipe import Output
from store.records import SECONDS, CommitRecord, ShardSlot
from store.tensors import Tensor
from store.writer import ShardContent, StoreWriter

_PACKED_BYTES = 2 * 2**20  # of a tensor that are packed at a time

Pack = Callable[[Tensor], Future[Packed | None]]
"""Begins to pack rows of a tensor for the store, and gives them once they are; see `store.formats.base.Format.pack`."""

LARGEST = {dtype: float(np.finfo(dtype).max) for dtype in ("float16", "float32")}
"""The largest value of each stored type."""


@dataclass(frozen=True, eq=False)
class ImageGroup:
    """Images that are collected into one shard. `rows` has path, label, split and group; each image gives `views` rows."""

    rows: pa.Table
    views: int = 1

    @property
    def paths(self) -> list[str]:
        """The images' row names, in order."""
        return list(self.rows["path"].to_pylist())


@dataclass(frozen=True, eq=False, kw_only=True)
class ShardTask(ImageGroup):
    """The images of one shard of a plan, and the slot it is to be committed in."""

    slot: ShardSlot


def unlabelled(paths: Sequence[str], views: int = 1) -> ImageGroup:
    """A group of images that are in no plan: without label, split and group."""
    schema = pa.schema([LISTING_SCHEMA.field(name) for name in DESCRIPTION])
    columns = {**{name: [None] * len(paths) for name in DESCRIPTION}, "path": list(paths)}
    return ImageGroup(pa.table(columns, schema=schema), views)


class ShardBuilder:
    """The rows, tensors and failures of a group so far.

    A value that the stored type cannot hold is never stored as infinity: its image becomes a failure, with all views.

    Args:
        group: the images to collect.
        outputs: the columns of features.
        pack: packs tensors as they arrive, so that the shard takes little more once it is complete; None for later.
    """

    def __init__(self, group: ImageGroup, outputs: Sequence[Output], pack: Pack | None = None) -> None:
        self._group = group
        self._outputs = outputs
        self._pack = pack
        self._packing: dict[str, list[Future[Packed | None]]] = {output.name: [] for output in outputs}
        self._packed_rows = 0
        self._failures: list[Failure] = []
        self._rows: list[Row] = []
        self._sizes: list[tuple[int, int]] = []
        self._refused: set[str] = set()
        self._copied: list[CopiedImage] = []
        capacity = len(group.rows) * group.views
        self._tensors = {output.name: np.empty((capacity, *output.shape), output.dtype) for output in outputs}

    def fail(self, failures: Sequence[Failure]) -> None:
        """Add images that could not be loaded."""
        self._failures += failures

    def copy(self, images: Sequence[CopiedImage]) -> None:
        """Add images whose features are known. They are written from the end, since computed rows still come
        at the front.
        """
        for image in images:
            self._copied.append(image)
            start = (len(self._group.rows) - len(self._copied)) * self._group.views
            for output in self._outputs:
                self._tensors[output.name][start : start + self._group.views] = image.known.tensors[output.name]

    def add(self, images: Sequence[LoadedView], computed: Computed) -> list[Failure]:
        """Add computed views; the views of an image follow each other, also across calls.

        Returns:
            The images whose values cannot be stored. They are added as failures.
        """
        refused = []
        for position, image in enumerate(images):
            row = image.row
            if row.path in self._refused:
                continue
            problem = _storage_problem([float(column[position]) for column in computed.largest], self._outputs)
            if problem is not None:
                refused.append(Failure(row.path, *problem, row.sha256, row.size, row.time))
                self._drop(image)
                continue
            if image.view == 0:
                self._rows.append(row)
                self._sizes.append((image.decoded.width, image.decoded.height))
            target = (len(self._rows) - 1) * self._group.views + image.view
            for output, tensor in zip(self._outputs, computed.tensors, strict=True):
                self._tensors[output.name][target] = tensor[position]
        self._failures += refused
        self._pack_rows(complete=False)
        return refused

    def _pack_rows(self, complete: bool) -> None:
        """Begin to pack the computed rows that are not, if they are enough, or if all rows are there."""
        if self._pack is None:
            return
        views = self._group.views
        # The last image may yet be dropped for one of its other views.
        ready = len(self._rows) * views if complete or views == 1 else max(0, len(self._rows) - 1) * views
        start, count = self._packed_rows, ready - self._packed_rows
        if count <= 0 or (not complete and count * self._row_bytes < _PACKED_BYTES):
            return
        for name, tensor in self._tensors.items():
            self._packing[name].append(self._pack(tensor[start:ready]))
        self._packed_rows = ready

    @property
    def _row_bytes(self) -> int:
        return sum(tensor[:1].nbytes for tensor in self._tensors.values())

    def _drop(self, image: LoadedView) -> None:
        """Remove an image; the next one overwrites the tensors of its earlier views."""
        self._refused.add(image.row.path)
        if image.view > 0:
            self._rows.pop()
            self._sizes.pop()

    def complete(self) -> None:
        """All images are there: begin to pack what is left."""
        self._pack_rows(complete=True)

    def _packed(self, copied: int) -> dict[str, Packed]:
        """The outputs all of whose rows were packed. Where features were copied, they are packed as a whole later."""
        packed: dict[str, Packed] = {}
        for name, parts in self._packing.items():
            found = [part.result() for part in parts]
            if found and not copied and None not in found:
                packed[name] = [row for part in found for row in part or ()]
        return packed

    def content(self) -> ShardContent:
        """Everything collected. To be called once: it moves rows."""
        copied = self._copied[::-1]  # as their tensors are ordered
        rows = self._rows + [image.row for image in copied]
        sizes = self._sizes + [(image.known.width, image.known.height) for image in copied]
        tensors = {name: self._joined(name) for name in self._tensors}
        shard = Shard(self._row_columns(rows, sizes), tensors, self._packed(len(copied)))
        return ShardContent(shard, row_table(rows), failure_table(self._failures), len(copied))

    def _joined(self, name: str) -> Tensor:
        """An output's tensors, computed ones and then copied ones, without the gap that failures leave between them."""
        tensor, views = self._tensors[name], self._group.views
        start, count = len(self._rows) * views, len(self._copied) * views
        if count and start + count < len(tensor):
            tensor[start : start + count] = tensor[len(tensor) - count :]
        return tensor[: start + count]

    def _row_columns(self, rows: Sequence[Row], sizes: Sequence[tuple[int, int]]) -> pa.Table:
        positions = {path: position for position, path in enumerate(self._group.paths)}
        described = self._group.rows.take(pa.array([positions[row.path] for row in rows], pa.int64()))
        views, count = self._group.views, len(rows)
        columns = {
            **{name: described[name] for name in DESCRIPTION},
            "width": pa.array([width for width, _ in sizes], pa.int32()),
            "height": pa.array([height for _, height in sizes], pa.int32()),
            "sha256": pa.array([row.sha256 for row in rows], pa.string()),
        }
        images = pa.table(columns).take(np.repeat(np.arange(count), views))
        table = images.append_column("view", [np.tile(np.arange(views, dtype=np.int16), count)])
        return table.select(ROW_SCHEMA.names).cast(ROW_SCHEMA).combine_chunks()


def _storage_problem(largest: Sequence[float], outputs: Sequence[Output]) -> tuple[str, str] | None:
    """Failure code and message of an image whose tensors, with these largest magnitudes, cannot be stored."""
    for value, output in zip(largest, outputs, strict=True):
        if not math.isfinite(value):
            return "not_finite", f"the network gave NaN or infinity in {output.name}"
        if value > LARGEST[output.dtype]:
            message = f"{output.name} reaches {value:.4g}, more than {output.dtype} holds; extract with --dtype float32"
            return f"{output.dtype}_range", message
    return None


@dataclass
class StoreSink:
    """Commits shards to a store, each with what it was computed with and the seconds by the loop's clock since the one
    before it.

    With `new_store`, the first batch may still show that the stored type does not fit. Where one pass fills several
    `stores`, seconds cannot be attributed to one of them and are not recorded.
    """

    writer: StoreWriter
    outputs: Sequence[Output]
    environment: Callable[[], Mapping[str, str]]
    clock: Clock
    new_store: bool = False
    stores: int = 1
    _checked: bool = field(default=False, init=False)
    _since: float = field(default=0.0, init=False)

    def check(self, refused: Sequence[Failure]) -> None:
        """Refuse a new store whose first batch has values outside the range of float16.

        Raises:
            UsageError: the first batch has such values.
        """
        if self.new_store and not self._checked:
            for failure in refused:
                if failure.code == "float16_range":
                    raise UsageError(f"{failure.path}: {failure.message}, into a new store")
        self._checked = True

    def pack(self, tensor: Tensor) -> Packed | None:
        """Compress rows, read them back and compare them."""
        info = self.writer.info
        return get_format(info.shard_format).pack(tensor, info.compression)

    def finish(self, task: ShardTask, content: ShardContent) -> CommitRecord:
        """Commit a shard; the record that counts may be another process's."""
        began, self._since = self._since, self.clock.elapsed
        seconds = {SECONDS: f"{max(0.0, self._since - began):.3f}"} if self.stores == 1 else {}
        return self.writer.commit(task.slot, content, {**self.environment(), **seconds})
