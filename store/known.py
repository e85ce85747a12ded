"""Features that a store has already, by the content of their images: an image under a new name need not be computed.

A renamed image is a new row, for rows are known by their paths. Its bytes are those of a row of an older shard, often of
one that the current plan does not refer to any more, because the old name is gone.
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from store.errors import DamagedStore
from store.files.base import Files
from store.formats import get_format
from store.json_values import MOST_BYTES
from store.recipe import Output
from store.records import CommitRecord, CurrentPlan, StoreInfo
from store.snapshot import Snapshot, latest_slots, load_plan, load_record
from store.tensors import Tensor

KNOWN = pa.schema({"sha256": pa.string(), "size": pa.int64(), "shard": pa.string(), "position": pa.int32()})
"""A stored image: the SHA-256 and the number of its bytes, the file in data/ that has it, and its position among the images
there."""

_SHARDS = 2  # whose rows, and whose features if they are not larger than usual, are kept in memory
_SMALL = 160 * 2**20  # bytes of a shard's features; of larger shards single rows are read


def find_known(files: Files, snapshot: Snapshot) -> pa.Table:
    """The stored images (KNOWN) that have the size of one which the current plan computes, and so perhaps its bytes.

    The shards of the previous plan count too: after a renaming, the current one may not refer to them.
    """
    if snapshot.plan is None:
        return KNOWN.empty_table()
    pending = snapshot.plan.rows.filter(snapshot.plan.rows["shard"].is_valid())
    sizes = pc.unique(pending.filter(pc.greater(pending["size"], 0))["size"])
    records = records_to_copy_from(files, snapshot)
    return pa.concat_tables([KNOWN.empty_table(), *(_of_size(record, sizes) for record in records)])


def records_to_copy_from(files: Files, snapshot: Snapshot) -> list[CommitRecord]:
    """The records of the current plan's shards, and of those of the previous plan."""
    previous = find_previous(files, snapshot)
    return [*snapshot.records.values(), *(previous.records if previous else ())]


@dataclass(frozen=True)
class PreviousPlan:
    """The plan before the current one: its name, and the records of those of its shards that the current one does not need."""

    name: str
    records: tuple[CommitRecord, ...]


def find_previous(files: Files, snapshot: Snapshot) -> PreviousPlan | None:
    """The plan before the current one; None if there was none, or `gc` was there."""
    if snapshot.number < 2:
        return None
    try:
        name = CurrentPlan.from_bytes(files.read_small(CurrentPlan.file(snapshot.number - 1), MOST_BYTES)).plan
        keys = set(load_plan(files, name).shard_keys().unique().to_pylist()) - snapshot.shard_keys
        slots = [slot for name in {key.partition("/")[0] for key in keys} for slot in latest_slots(files, name)]
        return PreviousPlan(name, tuple(load_record(files, slot) for slot in slots if slot.key in keys))
    except (DamagedStore, FileNotFoundError):
        return None


def _of_size(record: CommitRecord, sizes: pa.Array) -> pa.Table:
    rows = record.rows
    positions = pa.array(np.arange(len(rows), dtype=np.int32))
    shard = pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(rows), np.int8)), [record.shard]).cast(pa.string())
    table = pa.table([rows["sha256"], rows["size"], shard, positions], schema=KNOWN)
    return table.filter(pc.is_in(rows["size"], value_set=sizes))


@dataclass(frozen=True)
class KnownImage:
    """What a store has of an image: its size in pixels, and for each output the tensors of its views (views, *shape)."""

    width: int
    height: int
    tensors: Mapping[str, Tensor]


class KnownFeatures:
    """Looks features up by the SHA-256 of an image's bytes; several threads may ask at once.

    Args:
        files: the store's.
        info: what the store holds.
        known: KNOWN.
    """

    def __init__(self, files: Files, info: StoreInfo, known: pa.Table) -> None:
        self._files = files
        self._info = info
        self._format = get_format(info.shard_format)
        self._known = known.combine_chunks()
        self._numbers = {sha256: number for number, sha256 in enumerate(known["sha256"].to_pylist())}
        self._rows: OrderedDict[str, pa.Table] = OrderedDict()
        self._features: OrderedDict[tuple[str, str], Tensor] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, sha256: str) -> KnownImage | None:
        """What the store has of the image with these bytes; None if that is nothing, or cannot be read any more."""
        if sha256 not in self._numbers:
            return None
        number = self._numbers[sha256]
        shard, position = self._known["shard"][number].as_py(), self._known["position"][number].as_py()
        try:
            with self._lock:
                return self._read(shard, position, sha256)
        except (DamagedStore, OSError, IndexError):  # copying is optional: the image is computed then
            return None

    def _read(self, shard: str, position: int, sha256: str) -> KnownImage | None:
        views = self._info.recipe.views
        rows = self._rows_of(shard)
        first = rows.slice(position * views, 1).to_pylist()[0]
        if (first["sha256"], first["view"]) != (sha256, 0):
            return None
        at = np.arange(position * views, (position + 1) * views)
        tensors = {output.name: self._tensor(shard, output, at, len(rows)) for output in self._info.outputs}
        return KnownImage(first["width"], first["height"], tensors)

    def _rows_of(self, shard: str) -> pa.Table:
        if shard not in self._rows:
            self._rows[shard] = self._format.rows(self._files.local_copy(f"data/{shard}"))
            if len(self._rows) > _SHARDS:
                self._rows.popitem(last=False)
        self._rows.move_to_end(shard)
        return self._rows[shard]

    def _tensor(self, shard: str, output: Output, at: npt.NDArray[np.int64], rows: int) -> Tensor:
        """Features at these positions of a shard, which has that many rows in all."""
        path, key = self._files.local_copy(f"data/{shard}"), (shard, output.name)
        if rows * int(np.prod(output.shape)) * np.dtype(output.dtype).itemsize > _SMALL:
            return self._format.tensor(path, output, at)
        if key not in self._features:
            self._features[key] = self._format.tensor(path, output)
            if len(self._features) > _SHARDS * len(self._info.outputs):
                self._features.popitem(last=False)
        self._features.move_to_end(key)
        return self._features[key][at]
