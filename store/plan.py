"""The plan: the sorted listing of images, each row either to be computed in a numbered shard or held by an older one.

Pure: the same listing, holdings and number give the same plan, whatever the machine. The number is that of
the view it is made for, so that no later plan of a store can be an earlier one: else a file that changes
twice and keeps its length would meet its own first plan, whose shard is committed already. A plan is a
pyarrow table with one row an image:

    path, label, split, group   the row's name and what the folder or the listing says of it
    size                        bytes of the source file when it was listed
    shard                       the number of this plan's shard that will hold the row, or null
    held_by                     `<plan>/<index>`: the older shard that holds it already, or null
"""

import hashlib
import io
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from store.errors import DamagedStore

LISTING_SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "label": pa.string(),
        "split": pa.string(),
        "group": pa.string(),
        "size": pa.int64(),
        "time": pa.int64(),
    }
)
"""What a listing knows of each image: `size` in bytes, `time` of modification in ns; -1 where unknown."""

DESCRIPTION = ["path", "label", "split", "group"]
_SHARD_ROWS = b"stillframe.shard_rows"
_NUMBER = b"stillframe.number"

SHARD_BYTES = 128 * 2**20
MAX_SHARD_ROWS = 4096


def automatic_shard_rows(row_bytes: int, views: int = 1) -> int:
    """How many images a shard takes, each with that many rows: about 128 MB decoded, and at most 4,096 rows.

    The cap keeps a shard of small vectors to a minute or so of work, for a killed run loses the shard in hand.
    """
    return max(1, min(SHARD_BYTES // max(1, row_bytes), MAX_SHARD_ROWS) // views)


def plan_file(name: str) -> str:
    """The name within the store of the plan `name`."""
    return f"plan/{name}.parquet"


@dataclass(frozen=True)
class Plan:
    """A plan and its name, the SHA-256 of its Parquet bytes. `number` is that of the view it was made for."""

    rows: pa.Table
    shard_rows: int
    number: int = 0

    @cached_property
    def data(self) -> bytes:
        """The content of plan/<name>.parquet."""
        sink = io.BytesIO()
        metadata = {_SHARD_ROWS: str(self.shard_rows), _NUMBER: str(self.number)}
        table = self.rows.replace_schema_metadata(metadata)
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        return sink.getvalue()

    @cached_property
    def name(self) -> str:
        """SHA-256 of `data`."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def file(self) -> str:
        """The plan's file name within the store."""
        return plan_file(self.name)

    @classmethod
    def from_bytes(cls, name: str, data: bytes) -> "Plan":
        """The plan of that name.

        Raises:
            DamagedStore: the bytes are not those that gave the plan its name.
        """
        if hashlib.sha256(data).hexdigest() != name:
            raise DamagedStore(f"plan/{name}.parquet is damaged: restore it from a backup, or extract into a new store")
        table = pq.read_table(pa.BufferReader(data))
        metadata = table.schema.metadata or {}
        plan = cls(table.replace_schema_metadata(None), int(metadata[_SHARD_ROWS]), int(metadata[_NUMBER]))
        plan.__dict__.update(data=data, name=name)  # another pyarrow may write other bytes: keep those that were read
        return plan

    @cached_property
    def shard_count(self) -> int:
        """How many shards this plan computes; their numbers are 0 to this."""
        return int(pc.max(self.rows["shard"]).as_py() or 0) + 1 if self.pending_rows else 0

    def shard_length(self, index: int) -> int:
        """How many rows one of this plan's shards has."""
        return max(0, min(self.shard_rows, self.pending_rows - index * self.shard_rows))

    @property
    def pending_rows(self) -> int:
        """How many rows this plan's own shards have."""
        return len(self.rows) - int(self.rows["shard"].null_count)

    @cached_property
    def _pending(self) -> npt.NDArray[np.int64]:
        """Positions of the rows that this plan's own shards have."""
        return np.flatnonzero(self.rows["shard"].is_valid().to_numpy())

    def shard_paths(self, index: int) -> pa.Table:
        """The rows of one of this plan's shards, in order."""
        positions = self._pending[index * self.shard_rows : (index + 1) * self.shard_rows]
        if len(positions) == 0:
            return self.rows.slice(0, 0)
        first, last = positions[0], positions[-1]
        # The stretch is cut out first: taking from several chunks copies them all, for every shard.
        return self.rows.slice(first, last - first + 1).take(positions - first)

    def holders(self) -> pa.DictionaryArray:
        """For each row the shard that holds it, or will: `<plan>/<index>`."""
        held_by = self.rows["held_by"].unify_dictionaries().combine_chunks()
        older = held_by.dictionary
        own = pa.array([f"{self.name}/{index}" for index in range(self.shard_count)], pa.string())
        shards = pc.add(self.rows["shard"], pa.scalar(len(older), pa.int32())).combine_chunks()
        return pa.DictionaryArray.from_arrays(pc.coalesce(held_by.indices, shards), pa.concat_arrays([older, own]))


def make_plan(listing: pa.Table, holders: pa.Array, shard_rows: int, number: int = 0) -> Plan:
    """The plan for a sorted listing: rows with a holder, `<plan>/<index>`, stay there, the others fill new shards in order.

    Args:
        listing: LISTING_SCHEMA.
        holders: text or null for each row of the listing.
        shard_rows: how many rows a new shard takes.
        number: that of the view the plan is made for.
    """
    pending = holders.is_null().to_numpy(zero_copy_only=False)
    numbers = (np.cumsum(pending) - 1) // shard_rows
    rows = listing.select([*DESCRIPTION, "size"])
    rows = rows.append_column("shard", pa.chunked_array([pa.array(numbers, pa.int32(), mask=~pending)]))
    held_by = holders.cast(pa.string()).dictionary_encode()  # in order of first use, however it came
    return Plan(rows.append_column("held_by", pa.chunked_array([held_by])), shard_rows, number)


def stands(plan: Plan, listing: pa.Table, holders: pa.Array, uncommitted: Collection[int]) -> bool:
    """Whether `plan` still says all there is to do, given its own shards that are `uncommitted`.

    It does if it has the same images and labels, each held row where it says, and if the rows that are not
    held are just those of the uncommitted shards. `holders` are those of the listing's rows, as for `make_plan`.
    """
    if not plan.rows.select(DESCRIPTION).equals(listing.select(DESCRIPTION)):
        return False
    pending = pc.is_in(plan.rows["shard"], value_set=pa.array(uncommitted, pa.int32()))
    said = pc.if_else(pending, pa.scalar(None, pa.string()), plan.holders().cast(pa.string()))
    return bool(said.equals(pa.chunked_array([holders.cast(pa.string())])))
