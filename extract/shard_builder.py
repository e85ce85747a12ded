"""Collecting computed images into a shard: the rows that can be stored, their tensors, and the failures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from extract.images.loader import LoadedView
from extract.runtimes.base import Computed
from store.formats.base import ROW_SCHEMA, Shard
from store.plan import DESCRIPTION, LISTING_SCHEMA
from store.recipe import Output
from store.records import Failure, Row, failure_table, row_table
from store.writer import ShardContent

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
    """

    def __init__(self, group: ImageGroup, outputs: Sequence[Output]) -> None:
        self._group = group
        self._outputs = outputs
        self._failures: list[Failure] = []
        self._rows: list[Row] = []
        self._sizes: list[tuple[int, int]] = []
        self._refused: set[str] = set()
        capacity = len(group.rows) * group.views
        self._tensors = {output.name: np.empty((capacity, *output.shape), output.dtype) for output in outputs}

    def fail(self, failures: Sequence[Failure]) -> None:
        """Add images that could not be loaded."""
        self._failures += failures

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
        return refused

    def _drop(self, image: LoadedView) -> None:
        """Remove an image; the next one overwrites the tensors of its earlier views."""
        self._refused.add(image.row.path)
        if image.view > 0:
            self._rows.pop()
            self._sizes.pop()

    def content(self) -> ShardContent:
        """Everything collected."""
        return ShardContent(self._shard(), row_table(self._rows), failure_table(self._failures))

    def _shard(self) -> Shard:
        positions = {path: position for position, path in enumerate(self._group.paths)}
        described = self._group.rows.take(pa.array([positions[row.path] for row in self._rows], pa.int64()))
        views, count = self._group.views, len(self._rows)
        columns = {
            **{name: described[name] for name in DESCRIPTION},
            "width": pa.array([width for width, _ in self._sizes], pa.int32()),
            "height": pa.array([height for _, height in self._sizes], pa.int32()),
            "sha256": pa.array([row.sha256 for row in self._rows], pa.string()),
        }
        images = pa.table(columns).take(np.repeat(np.arange(count), views))
        rows = images.append_column("view", [np.tile(np.arange(views, dtype=np.int16), count)])
        rows = rows.select(ROW_SCHEMA.names).cast(ROW_SCHEMA).combine_chunks()
        return Shard(rows, {name: tensor[: count * views] for name, tensor in self._tensors.items()})


def _storage_problem(largest: Sequence[float], outputs: Sequence[Output]) -> tuple[str, str] | None:
    """Failure code and message of an image whose tensors, with these largest magnitudes, cannot be stored."""
    for value, output in zip(largest, outputs, strict=True):
        if not math.isfinite(value):
            return "not_finite", f"the network gave NaN or infinity in {output.name}"
        if value > LARGEST[output.dtype]:
            message = f"{output.name} reaches {value:.4g}, more than {output.dtype} holds; extract with --dtype float32"
            return f"{output.dtype}_range", message
    return None
