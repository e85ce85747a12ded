"""A store at one moment: what it is, the current plan, and the commit records of the shards that the plan refers to.

Readers trust commit records alone. A file in data/ that no record names does not exist.
"""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from store.errors import DamagedStore
from store.files.base import INFO, Files
from store.image_records import FAILURES, ROWS
from store.json_values import MOST_BYTES
from store.plan import Plan, plan_file
from store.records import MOST_RECORD_BYTES, CommitRecord, CurrentPlan, ShardSlot, StoreInfo
from store.suggestions import naming_store

_CURRENT_NAME = re.compile(r"([1-9][0-9]*)\.json")
_RECORD_NAME = re.compile(r"([0-9]{6}|[1-9][0-9]{6,})\.([1-9][0-9]*)\.json")

COMMITTED = pa.schema([*ROWS, ("failed", pa.bool_()), ("shard_key", pa.dictionary(pa.int32(), pa.string()))])
"""A committed image: what its record has of it, whether it failed, and the key of its shard, `<plan>/<index>`."""


@dataclass(frozen=True)
class ShardImages:
    """The images of the current plan that are in one committed shard, or should be.

    `plan_positions` are their positions in the plan, ascending; `image_positions` those in `record.images`, -1 where the
    record lacks the image.
    """

    key: str
    record: CommitRecord
    plan_positions: npt.NDArray[np.int64]
    image_positions: npt.NDArray[np.int64]

    @property
    def committed(self) -> npt.NDArray[np.bool_]:
        """A mask of the images that the record has, as rows or as failures."""
        return self.image_positions >= 0

    @property
    def stored(self) -> npt.NDArray[np.bool_]:
        """A mask of the images that are rows of the shard."""
        return self.committed & ~self.failed

    @property
    def failed(self) -> npt.NDArray[np.bool_]:
        """A mask of the images that are failures."""
        return self.image_positions >= len(self.record.rows)


@dataclass(frozen=True)
class ShardRows:
    """The rows of one shard that belong to the current plan.

    `numbers` are plan position * views + view, which order all rows of a store; `shard_positions` (ascending) are the
    rows' positions in the shard.
    """

    record: CommitRecord
    numbers: npt.NDArray[np.int64]
    shard_positions: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """Images of the current plan, rows of those that are stored, and images that failed or are still to be computed.

    A stored image has one row per view: `images` = `rows` / views + `failures` + `pending`.
    """

    images: int
    rows: int
    failures: int
    pending: int


@dataclass(frozen=True)
class Snapshot:
    """A store at one moment.

    Attributes:
        info: what store.json says.
        number: that of the newest file in view/; 0 in a store without one.
        current: what that file says.
        plan: the plan that it names.
        records: by shard key, the record of the highest attempt of each shard that the plan refers to, unless withdrawn.
        attempts: by shard key, the number of that attempt, also of withdrawn and unreadable ones. A run that computes a
            shard because it is not in `records` publishes the next one, and so at most one of several does.
        damaged_records: by the file name of an unreadable record, what is wrong with it.
    """

    info: StoreInfo
    number: int = 0
    current: CurrentPlan | None = None
    plan: Plan | None = None
    records: Mapping[str, CommitRecord] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    damaged_records: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def shard_keys(self) -> frozenset[str]:
        """The keys of all shards that the plan refers to, committed or not."""
        return frozenset(self.plan.shard_keys().unique().to_pylist()) if self.plan else frozenset()

    @cached_property
    def shard_images(self) -> list[ShardImages]:
        """The plan's images in each committed shard."""
        if self.plan is None:
            return []
        paths = self.plan.rows["path"].combine_chunks()
        shard_keys = self.plan.shard_keys()
        numbers = shard_keys.indices.to_numpy()
        keys = shard_keys.dictionary.to_pylist()
        by_shard = np.argsort(numbers, kind="stable")
        bounds = np.searchsorted(numbers[by_shard], np.arange(len(keys) + 1))
        shards = []
        for key, start, stop in zip(keys, bounds[:-1], bounds[1:], strict=True):
            record = self.records.get(key)
            if record is not None:
                positions = by_shard[start:stop]
                found = pc.index_in(paths.take(positions), value_set=record.images["path"]).fill_null(-1)
                shards.append(ShardImages(key, record, positions, found.to_numpy().astype(np.int64)))
        return shards

    def committed_images(self) -> pa.Table:
        """Every image of the current plan that is committed, as a row or as a failure: COMMITTED, in plan order."""
        if self.plan is None:
            return COMMITTED.empty_table()
        images = [shard.record.images.take(shard.image_positions[shard.committed]) for shard in self.shard_images]
        positions = _joined([shard.plan_positions[shard.committed] for shard in self.shard_images])
        empty = COMMITTED.empty_table().drop_columns("shard_key")
        table = pa.concat_tables([empty, *images])
        if np.any(np.diff(positions) < 0):  # else a store of ten million images would be copied twice
            order = np.argsort(positions)
            table, positions = table.combine_chunks().take(order), positions[order]
        return table.append_column("shard_key", self.plan.shard_keys().take(positions))

    def committed_shards(self) -> list[ShardRows]:
        """The stored rows, shard by shard, in the order in which the plan first has a row of each."""
        shards = []
        for shard in self.shard_images:
            plan_positions = shard.plan_positions[shard.stored]
            image_positions = shard.image_positions[shard.stored]
            order = np.argsort(image_positions)
            if len(order):
                numbers, shard_positions = (
                    all_views(positions[order], self.info.recipe.views)
                    for positions in (plan_positions, image_positions)
                )
                shards.append(ShardRows(shard.record, numbers, shard_positions))
        return sorted(shards, key=lambda shard: int(shard.numbers.min()))

    def failures(self) -> pa.Table:
        """The images of the current plan that gave no row: FAILURES, in plan order."""
        tables = [
            shard.record.failures.take(shard.image_positions[shard.failed] - len(shard.record.rows))
            for shard in self.shard_images
        ]
        positions = _joined([shard.plan_positions[shard.failed] for shard in self.shard_images])
        return pa.concat_tables([FAILURES.empty_table(), *tables]).combine_chunks().take(np.argsort(positions))

    def uncommitted_shards(self) -> list[int]:
        """The numbers of the current plan's own shards that have no record yet."""
        if self.plan is None:
            return []
        name = self.plan.name
        return [index for index in range(self.plan.shard_count) if f"{name}/{index}" not in self.records]

    def withdrawn_shards(self) -> list[int]:
        """Those of them whose newest record withdraws what was committed."""
        name = self.plan.name if self.plan else ""
        uncommitted = self.uncommitted_shards()
        newest = {index: self.attempts[key] for index in uncommitted if (key := f"{name}/{index}") in self.attempts}
        return [
            index
            for index, attempt in newest.items()
            if ShardSlot(name, index, attempt).file not in self.damaged_records
        ]

    def next_slot(self, key: str) -> ShardSlot:
        """Where a shard's next attempt is to be published, as a commit or as a withdrawal."""
        plan_name, _, index = key.partition("/")
        return ShardSlot(plan_name, int(index), self.attempts.get(key, 0) + 1)

    def counts(self) -> Counts:
        """How many images are stored, failed and pending."""
        images = len(self.plan.rows) if self.plan else 0
        committed = sum(int(shard.committed.sum()) for shard in self.shard_images)
        stored = sum(int(shard.stored.sum()) for shard in self.shard_images)
        return Counts(images, stored * self.info.recipe.views, committed - stored, images - committed)


def all_views(images: npt.NDArray[np.int64], views: int) -> npt.NDArray[np.int64]:
    """The positions of the rows of images, given by position: image i has i * views and on, the unaltered view first."""
    return (images[:, None] * views + np.arange(views)).ravel()


def _joined(positions: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *positions])


def load_snapshot(files: Files, number: int | None = None) -> Snapshot:
    """Read a store's current state.

    Args:
        files: the store.
        number: that of a plan which was published just now and may not be the current one any more.

    Raises:
        NotAStore: the folder is not a store.
        DamagedStore: store.json, the newest file in view/ or its plan is damaged.
    """
    files.require_store()
    with naming_store(files):
        info = StoreInfo.from_bytes(files.read_small(INFO, MOST_BYTES))
        numbers = current_numbers(files)
        if not numbers:
            if files.names("commit"):
                raise DamagedStore("view/ is empty though shards are committed: run `store repair`")
            return Snapshot(info)
        number = number or numbers[-1]
        current = CurrentPlan.from_bytes(files.read_small(CurrentPlan.file(number), MOST_BYTES))
        return with_records(files, Snapshot(info, number, current, load_plan(files, current.plan)))


def load_plan(files: Files, name: str) -> Plan:
    """A plan by its name.

    Raises:
        DamagedStore: it is damaged or missing.
    """
    try:
        return Plan.from_bytes(name, files.read(plan_file(name)))
    except FileNotFoundError:
        raise DamagedStore(f"{plan_file(name)} is missing: run `store repair`") from None


def with_records(files: Files, snapshot: Snapshot) -> Snapshot:
    """The same plan with the commit records as they are now, whichever plan has become the current one."""
    if snapshot.plan is None:
        return snapshot
    records: dict[str, CommitRecord] = {}
    attempts: dict[str, int] = {}
    damaged: dict[str, str] = {}
    for slot in _slots_of(files, snapshot):
        attempts[slot.key] = slot.attempt
        try:
            record = load_record(files, slot)
        except DamagedStore as error:
            damaged[slot.file] = str(error)
            continue
        if not record.withdrawn:
            records[slot.key] = record
    return replace(snapshot, records=records, attempts=attempts, damaged_records=damaged)


def is_latest(files: Files, snapshot: Snapshot) -> bool:
    """Whether no plan, and no record of a shard that the plan refers to, was published since the snapshot was read."""
    numbers = current_numbers(files) or [0]
    attempts = {slot.key: slot.attempt for slot in _slots_of(files, snapshot)}
    return numbers[-1] == snapshot.number and attempts == snapshot.attempts


def _slots_of(files: Files, snapshot: Snapshot) -> list[ShardSlot]:
    """The highest attempts of the shards that a snapshot's plan refers to."""
    keys = snapshot.shard_keys
    slots = [latest_slots(files, plan_name) for plan_name in sorted({key.partition("/")[0] for key in keys})]
    return [slot for slot in itertools.chain(*slots) if slot.key in keys]


def load_record(files: Files, slot: ShardSlot) -> CommitRecord:
    """The record that was published for a slot.

    Raises:
        DamagedStore: it cannot be read, or it is another slot's.
    """
    record = CommitRecord.from_bytes(files.read_small(slot.file, MOST_RECORD_BYTES))
    if record.slot != slot:
        raise DamagedStore(f"says it is attempt {record.attempt} of {record.plan[:12]}…/{record.index}")
    return record


def current_numbers(files: Files) -> list[int]:
    """The numbers of the files in view/, ascending."""
    return sorted(int(found[1]) for found in map(_CURRENT_NAME.fullmatch, files.names("view")) if found)


def latest_slots(files: Files, plan_name: str) -> list[ShardSlot]:
    """For each shard of a plan that was ever committed, its highest attempt."""
    attempts: dict[int, int] = {}
    for name in files.names(f"commit/{plan_name}"):
        if found := _RECORD_NAME.fullmatch(name):
            index, attempt = int(found[1]), int(found[2])
            attempts[index] = max(attempts.get(index, 0), attempt)
    return [ShardSlot(plan_name, index, attempt) for index, attempt in attempts.items()]
