"""One shard task, the unit of all work: a plan's shard, from its images to its commit record.

The pipeline fills a `Collection`; `commit` turns it into one immutable shard and one record. Both may
happen twice at once, on any machines: the first record to be published is the one that counts.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from extract.decode import BadImage, Decoded, DecodePolicy, decode, read_source
from extract.progress import Clock
from store.errors import EnvironmentFailure, UsageError
from store.formats import Shard, check_round_trip, get_format
from store.formats.shard import ROW_SCHEMA
from store.names import file_path
from store.publish import Folder
from store.recipe import Output
from store.records import CommitRecord, Failure, Row, StoreInfo, failure_table, row_table
from store.snapshot import record_name


@dataclass(frozen=True)
class ShardTask:
    """Shard `index` of a plan: `rows` has path, label, split and group; `attempt` counts from 1."""

    plan: str
    index: int
    attempt: int
    rows: pa.Table

    @property
    def paths(self) -> list[str]:
        """The row names, in order."""
        return list(self.rows["path"].to_pylist())


@dataclass(frozen=True)
class Prepared:
    """An image ready to be computed: its pixels, and what its row will say of the source."""

    row: Row
    decoded: Decoded


def prepare(root: Path, path: str, policy: DecodePolicy, clock: Clock) -> Prepared | Failure:
    """Read and decode one image; whatever is wrong with it becomes a Failure."""
    source = None
    try:
        with clock.phase("read"):
            source = read_source(root / file_path(path))
        with clock.phase("decode"):
            decoded = decode(source.data, policy)
    except BadImage as error:
        if source is None:
            size, time = _size_and_time(root / file_path(path))
            return Failure(path, error.code, error.message, "", size, time)
        return Failure(path, error.code, error.message, source.sha256, len(source.data), source.time)
    return Prepared(Row(path, source.sha256, len(source.data), source.time), decoded)


def _size_and_time(path: Path) -> tuple[int, int]:
    """As a listing would give them, so that the next run sees whether anything changed."""
    try:
        status = path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


class Collection:
    """What a task has come to so far: stored rows and their tensors, and failures.

    Tensors are cast to the stored type here. A value that float16 cannot hold never becomes infinity: its
    image becomes a failure.
    """

    def __init__(self, task: ShardTask, outputs: Sequence[Output]) -> None:
        self.task = task
        self.failures: list[Failure] = []
        self._outputs = outputs
        self._rows: list[Row] = []
        self._sizes: list[tuple[int, int]] = []
        self._tensors = {output.name: np.empty((len(task.rows), *output.shape), output.dtype) for output in outputs}

    def add(self, images: Sequence[Prepared], tensors: Sequence[npt.NDArray[Any]]) -> list[Failure]:
        """Take in computed images; returns those that had to be refused, which are kept as failures too."""
        problems = [_problems(tensor, output) for tensor, output in zip(tensors, self._outputs, strict=True)]
        refused = []
        for position, image in enumerate(images):
            problem = next((column[position] for column in problems if position in column), None)
            if problem is not None:
                row = image.row
                refused.append(Failure(row.path, *problem, row.sha256, row.size, row.time))
                continue
            for output, tensor in zip(self._outputs, tensors, strict=True):
                self._tensors[output.name][len(self._rows)] = tensor[position]
            self._rows.append(image.row)
            self._sizes.append((image.decoded.width, image.decoded.height))
        self.failures += refused
        return refused

    @property
    def rows(self) -> Sequence[Row]:
        """The stored rows, in shard order."""
        return self._rows

    def shard(self) -> Shard:
        """The rows and tensors collected."""
        described = {path: position for position, path in enumerate(self.task.paths)}
        table = self.task.rows.take(pa.array([described[row.path] for row in self._rows], pa.int64()))
        count = len(self._rows)
        columns = {
            **{name: table[name] for name in ("path", "label", "split", "group")},
            "view": pa.array(np.zeros(count, np.int16)),
            "width": pa.array([width for width, _ in self._sizes], pa.int32()),
            "height": pa.array([height for _, height in self._sizes], pa.int32()),
            "sha256": pa.array([row.sha256 for row in self._rows], pa.string()),
        }
        rows = pa.table(columns, schema=ROW_SCHEMA).combine_chunks()
        return Shard(rows, {name: tensor[:count] for name, tensor in self._tensors.items()})


def _problems(tensor: npt.NDArray[Any], output: Output) -> dict[int, tuple[str, str]]:
    """For each image whose tensor cannot be stored: failure code and message."""
    axes = tuple(range(1, tensor.ndim))
    largest = np.max(np.abs(tensor), axis=axes)
    problems = {}
    for position in np.flatnonzero(~(largest <= np.finfo(output.dtype).max)):
        value = float(largest[position])
        if np.isfinite(value):
            message = f"{output.name} reaches {value:.4g}, more than {output.dtype} holds; extract with --dtype float32"
            problems[int(position)] = (f"{output.dtype}_range", message)
        else:
            problems[int(position)] = ("not_finite", f"the network gave NaN or infinity in {output.name}")
    return problems


def refuse_range(failures: Sequence[Failure]) -> None:
    """Raise UsageError if any of these, the run's first, is a value out of float16's range."""
    for failure in failures:
        if failure.code == "float16_range":
            raise UsageError(f"{failure.path}: {failure.message}, into a new store")


def commit(folder: Folder, info: StoreInfo, collection: Collection, environment: Mapping[str, str]) -> CommitRecord:
    """Publish the shard, then its record; returns the record that counts, which may be another process's.

    Raises:
        DamagedStore: the shard did not read back as it was written.
        EnvironmentFailure: it cannot be written.
    """
    task = collection.task
    name, size = _publish_shard(folder, info, collection.shard())
    record = CommitRecord(
        plan=task.plan,
        index=task.index,
        attempt=task.attempt,
        fingerprint=info.recipe.fingerprint,
        shard=name,
        shard_bytes=size,
        rows=row_table(collection.rows),
        failures=failure_table(collection.failures),
        environment=dict(environment),
    )
    record_file = record_name(task.plan, task.index, task.attempt)
    if folder.create(record_file, record.to_bytes()):
        return record
    return CommitRecord.from_bytes(folder.read(record_file))


def _publish_shard(folder: Folder, info: StoreInfo, shard: Shard) -> tuple[str, int]:
    """The shard file's name and size; nothing is written for a shard without rows."""
    if len(shard.rows) == 0:
        return "", 0
    form = get_format(info.shard_format)
    data = form.encode(shard, info.outputs, info.recipe.fingerprint)
    check_round_trip(form, data, shard, info.outputs)
    name = f"{hashlib.sha256(data).hexdigest()}.{form.suffix}"
    if not folder.create(f"data/{name}", data) and folder.read(f"data/{name}") != data:
        folder.remove(f"data/{name}")  # a damaged file under the name that belongs to these bytes
        if not folder.create(f"data/{name}", data):
            raise EnvironmentFailure(f"another process keeps writing data/{name}: run the same command again")
    return name, len(data)
