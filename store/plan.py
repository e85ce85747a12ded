"""The plan: the sorted listing of images, and for each the shard that has it or will.

An image is either to be computed in one of this plan's own numbered shards, or an older shard has it already. A shard is
known by its key, `<plan>/<index>`: the name of the plan that computed it, and its number there.

Pure: the same listing, shard keys and number give the same plan, whatever the machine. The number is that of the file
in view/ that names the plan, so that no later plan of a store can be an earlier one: else a file that changes twice and
keeps its length would meet its own first plan, whose shard is committed already. A plan is a pyarrow table with one
row per image:

    path, label, split, group   the row's name, and how the folder or the listing describes it
    size                        bytes of the source file when it was listed
    shard                       the number of this plan's own shard that will have the image, or null
    held_by                     the key of the older shard that has the image already, or null
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

from store.errors import DamagedStore, shortage

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
"""A listing's columns: `size` in bytes, `time` of modification in ns; -1 where unknown."""

DESCRIPTION = ["path", "label", "split", "group"]
"""The columns of a plan that describe an image."""

_SCHEMA = pa.schema(
    [
        *(LISTING_SCHEMA.field(name) for name in (*DESCRIPTION, "size")),
        ("shard", pa.int32()),
        ("held_by", pa.dictionary(pa.int32(), pa.string())),
    ]
)
_KEY = r"^[0-9a-f]{64}/(0|[1-9][0-9]{0,9})$"
_ROWS_PER_BYTE = 64  # far above what paths that differ compress to

_IMAGES_PER_SHARD = b"stillframe.shard_rows"
_NUMBER = b"stillframe.number"
_RETRY = b"stillframe.retry"

SHARD_BYTES = 128 * 2**20
MAX_SHARD_ROWS = 4096


def automatic_images_per_shard(row_bytes: int, views: int = 1) -> int:
    """How many images of `views` rows each a shard takes: about 128 MB decoded, and at most 4,096 rows.

    The cap keeps a shard of small vectors to a minute or so of work, because a killed run loses the shard in progress.
    """
    return max(1, min(SHARD_BYTES // max(1, row_bytes), MAX_SHARD_ROWS) // views)


def plan_file(name: str) -> str:
    """The file name within a store of the plan `name`."""
    return f"plan/{name}.parquet"


@dataclass(frozen=True)
class Plan:
    """A plan. Its name is the SHA-256 of its Parquet bytes; `number` is that of the file in view/ that names it.

    `retry` says that it was made to try failed images again.
    """

    rows: pa.Table
    images_per_shard: int
    number: int = 0
    retry: bool = False

    @cached_property
    def data(self) -> bytes:
        """The content of plan/<name>.parquet."""
        sink = io.BytesIO()
        metadata = {_IMAGES_PER_SHARD: str(self.images_per_shard), _NUMBER: str(self.number)}
        if self.retry:
            metadata[_RETRY] = "1"
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
            raise DamagedStore(f"{plan_file(name)} is damaged: run `store repair`")
        try:
            table = _read_table(data)
            metadata = table.schema.metadata or {}
            rows, images, number = table.replace_schema_metadata(None), metadata[_IMAGES_PER_SHARD], metadata[_NUMBER]
            plan = cls(rows, int(images), int(number), _RETRY in metadata)
            problem = _inconsistency(plan)
        except (OSError, LookupError, ValueError, pa.ArrowException) as error:
            raise shortage(error) or DamagedStore(
                f"{plan_file(name)} cannot be read ({error}): run `store repair`"
            ) from error
        if problem:
            raise DamagedStore(f"{plan_file(name)} {problem}: run `store repair`")
        # Another pyarrow may write other bytes: name and bytes are those that were read.
        plan.__dict__.update(data=data, name=name)
        return plan

    @cached_property
    def shard_count(self) -> int:
        """The number of shards that this plan computes; they are numbered from 0."""
        return int(pc.max(self.rows["shard"]).as_py() or 0) + 1 if self.own_image_count else 0

    def shard_length(self, index: int) -> int:
        """The number of images in one of this plan's own shards."""
        return max(0, min(self.images_per_shard, self.own_image_count - index * self.images_per_shard))

    @property
    def own_image_count(self) -> int:
        """How many images this plan's own shards have, committed or not."""
        return len(self.rows) - int(self.rows["shard"].null_count)

    @cached_property
    def _own_positions(self) -> npt.NDArray[np.int64]:
        """Positions of the images that this plan's own shards have."""
        return np.flatnonzero(self.rows["shard"].is_valid().to_numpy())

    def shard_images(self, index: int) -> pa.Table:
        """The plan's rows for one of its own shards, in order."""
        positions = self._own_positions[index * self.images_per_shard : (index + 1) * self.images_per_shard]
        if len(positions) == 0:
            return self.rows.slice(0, 0)
        first, last = positions[0], positions[-1]
        # The stretch is cut out first: taking from several chunks copies them all, for every shard.
        return self.rows.slice(first, last - first + 1).take(positions - first)

    def shard_keys(self) -> pa.DictionaryArray:
        """For each image the key of the shard that has it, or will."""
        held_by = self.rows["held_by"].unify_dictionaries().combine_chunks()
        older = held_by.dictionary
        own = pa.array([f"{self.name}/{index}" for index in range(self.shard_count)], pa.string())
        shards = pc.add(self.rows["shard"], pa.scalar(len(older), pa.int32())).combine_chunks()
        return pa.DictionaryArray.from_arrays(pc.coalesce(held_by.indices, shards), pa.concat_arrays([older, own]))


def _read_table(data: bytes) -> pa.Table:
    """The table of a plan's bytes, which are what gave it its name and may yet be anyone's."""
    with pq.ParquetFile(pa.BufferReader(data)) as file:
        rows = file.metadata.num_rows
        if rows > len(data) * _ROWS_PER_BYTE:
            raise ValueError(f"it claims {rows:,} rows in {len(data):,} bytes")
        return file.read()


def _inconsistency(plan: Plan) -> str:
    """How a plan that was read differs from all that `make_plan` makes; empty if it does not."""
    rows = plan.rows
    if rows.schema != _SCHEMA:
        return f"has the columns {rows.schema.to_string()!r}, expected {_SCHEMA.to_string()!r}"
    if plan.images_per_shard < 1 or plan.number < 0:
        return f"has {plan.images_per_shard} images per shard and the number {plan.number}, expected 1 or more"
    if rows["path"].null_count or not _all_distinct(rows["path"]):
        return "names an image twice or not at all, expected each once"
    shard, held_by = rows["shard"], rows["held_by"]
    if not pc.all(pc.xor(shard.is_valid(), held_by.is_valid()), min_count=0).as_py():
        return "has an image in two shards or in none, expected one"
    if not np.array_equal(shard.drop_null().to_numpy(), np.arange(plan.own_image_count) // plan.images_per_shard):
        return f"does not fill its shards in order, {plan.images_per_shard:,} images each"
    keys = pc.unique(held_by.drop_null().cast(pa.string()))
    if not pc.all(pc.match_substring_regex(keys, _KEY), min_count=0).as_py():
        return "has an image in a shard whose key is not <sha256>/<number>"
    return ""


def _all_distinct(paths: pa.ChunkedArray) -> bool:
    """Whether no path is there twice. Paths in ascending order, as they usually are, show it without a table of them."""
    ascending = pc.all(pc.less(paths.slice(0, max(0, len(paths) - 1)), paths.slice(1)), min_count=0).as_py()
    return bool(ascending or pc.count_distinct(paths).as_py() == len(paths))


def make_plan(
    listing: pa.Table, shard_keys: pa.Array, images_per_shard: int, number: int = 0, retry: bool = False
) -> Plan:
    """The plan for a sorted listing: images with a shard key stay in that shard, the others fill new shards in order.

    Args:
        listing: LISTING_SCHEMA.
        shard_keys: for each image the key of the older shard that has it, or null.
        images_per_shard: how many images a new shard takes.
        number: that of the file in view/ that will name the plan.
        retry: whether it is made to try failed images again.
    """
    pending = shard_keys.is_null().to_numpy(zero_copy_only=False)
    numbers = (np.cumsum(pending) - 1) // images_per_shard
    rows = listing.select([*DESCRIPTION, "size"])
    rows = rows.append_column("shard", pa.chunked_array([pa.array(numbers, pa.int32(), mask=~pending)]))
    held_by = shard_keys.cast(pa.string()).dictionary_encode()  # in order of first use, however it came
    return Plan(rows.append_column("held_by", pa.chunked_array([held_by])), images_per_shard, number, retry)


def plan_is_current(plan: Plan, listing: pa.Table, shard_keys: pa.Array, uncommitted: Collection[int]) -> bool:
    """Whether `plan` states all there is to do for a listing, given the numbers of its own `uncommitted` shards.

    It does if it has the same images with the same descriptions, if each committed image is in the shard that the plan
    names, and if the images that are in no shard are just those of the uncommitted ones. `shard_keys` are those of the
    listing's images, as for `make_plan`.
    """
    if not plan.rows.select(DESCRIPTION).equals(listing.select(DESCRIPTION)):
        return False
    pending = pc.is_in(plan.rows["shard"], value_set=pa.array(uncommitted, pa.int32()))
    planned = pc.if_else(pending, pa.scalar(None, pa.string()), plan.shard_keys().cast(pa.string()))
    return bool(planned.equals(pa.chunked_array([shard_keys.cast(pa.string())])))
