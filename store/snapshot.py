"""A store as it stands at one moment: its info, the current plan, and the commit records that plan refers to.

Readers trust commit records alone. What lies in data/ without a record does not exist.
"""

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
from store.plan import Plan, plan_file
from store.records import FAILURES, ROWS, CommitRecord, CurrentPlan, ShardSlot, StoreInfo

_VIEW_NAME = re.compile(r"([1-9][0-9]*)\.json")
_RECORD_NAME = re.compile(r"([0-9]{6,})\.([1-9][0-9]*)\.json")


HELD = pa.schema([*ROWS, ("failed", pa.bool_()), ("holder", pa.dictionary(pa.int32(), pa.string()))])
"""What a store knows of a committed image: what its record says, and the shard that took it in, `<plan>/<index>`."""


@dataclass(frozen=True)
class Share:
    """The images of the current plan that one committed shard holds, or should.

    `plan_positions` are theirs in the plan, ascending; `image_positions` those in `record.images`, -1 where the
    record lacks the image.
    """

    key: str
    record: CommitRecord
    plan_positions: npt.NDArray[np.int64]
    image_positions: npt.NDArray[np.int64]

    @property
    def committed(self) -> npt.NDArray[np.bool_]:
        """Which of the images the record has, as rows or as failures."""
        return self.image_positions >= 0

    @property
    def stored(self) -> npt.NDArray[np.bool_]:
        """Which of the images are rows of the shard."""
        return self.committed & ~self.failed

    @property
    def failed(self) -> npt.NDArray[np.bool_]:
        """Which of the images are failures."""
        return self.image_positions >= len(self.record.rows)


@dataclass(frozen=True)
class Place:
    """The rows of one shard that the current plan shows.

    `numbers` are plan position * views + view, which order all rows of a store; `shard_positions` (ascending) is where
    they stand in the shard.
    """

    record: CommitRecord
    numbers: npt.NDArray[np.int64]
    shard_positions: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Snapshot:
    """`records` maps `<plan>/<index>` to the highest attempt of each shard that the plan refers to, unless withdrawn.

    `attempts` has the number of that attempt, withdrawn and unreadable ones too: whoever computes a shard because it is
    not in this snapshot publishes the next one, and so at most one of several does.
    `damaged_records` maps the file name of an unreadable record to what is wrong with it.
    """

    info: StoreInfo
    number: int = 0
    current: CurrentPlan | None = None
    plan: Plan | None = None
    records: Mapping[str, CommitRecord] = field(default_factory=dict)
    attempts: Mapping[str, int] = field(default_factory=dict)
    damaged_records: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def shares(self) -> list[Share]:
        """What the committed shards hold of the plan."""
        if self.plan is None:
            return []
        paths = self.plan.rows["path"].combine_chunks()
        holders = self.plan.holders()
        numbers = holders.indices.to_numpy()
        keys = holders.dictionary.to_pylist()
        by_shard = np.argsort(numbers, kind="stable")
        bounds = np.searchsorted(numbers[by_shard], np.arange(len(keys) + 1))
        shares = []
        for key, start, stop in zip(keys, bounds[:-1], bounds[1:], strict=True):
            record = self.records.get(key)
            if record is not None:
                positions = by_shard[start:stop]
                found = pc.index_in(paths.take(positions), value_set=record.images["path"]).fill_null(-1)
                shares.append(Share(key, record, positions, found.to_numpy().astype(np.int64)))
        return shares

    def held(self) -> pa.Table:
        """Every image of the current plan that is committed, as a row or as a failure: HELD, in plan order."""
        if self.plan is None:
            return HELD.empty_table()
        images = [share.record.images.take(share.image_positions[share.committed]) for share in self.shares]
        positions = _joined([share.plan_positions[share.committed] for share in self.shares])
        order = np.argsort(positions)
        table = pa.concat_tables([HELD.empty_table().drop_columns("holder"), *images]).combine_chunks().take(order)
        return table.append_column("holder", self.plan.holders().take(positions[order]))

    def places(self) -> list[Place]:
        """The stored rows, shard by shard, in the order in which the plan first shows a row of each."""
        places = []
        for share in self.shares:
            plan_positions = share.plan_positions[share.stored]
            image_positions = share.image_positions[share.stored]
            order = np.argsort(image_positions)
            if len(order):
                numbers, shard_positions = (
                    all_views(positions[order], self.info.recipe.views)
                    for positions in (plan_positions, image_positions)
                )
                places.append(Place(share.record, numbers, shard_positions))
        return sorted(places, key=lambda place: int(place.numbers.min()))

    def failures(self) -> pa.Table:
        """The images of the current plan that gave no row: FAILURES, in plan order."""
        tables = [
            share.record.failures.take(share.image_positions[share.failed] - len(share.record.rows))
            for share in self.shares
        ]
        positions = _joined([share.plan_positions[share.failed] for share in self.shares])
        return pa.concat_tables([FAILURES.empty_table(), *tables]).combine_chunks().take(np.argsort(positions))

    def uncommitted_shards(self) -> list[int]:
        """The numbers of the current plan's own shards that have no record yet."""
        if self.plan is None:
            return []
        name = self.plan.name
        return [index for index in range(self.plan.shard_count) if f"{name}/{index}" not in self.records]

    def next_slot(self, key: str) -> ShardSlot:
        """What a shard, `<plan>/<index>`, is to be committed or withdrawn as: its next attempt."""
        plan_name, _, index = key.partition("/")
        return ShardSlot(plan_name, int(index), self.attempts.get(key, 0) + 1)

    def counts(self) -> "Counts":
        """See `Counts`."""
        images = len(self.plan.rows) if self.plan else 0
        committed = sum(int(share.committed.sum()) for share in self.shares)
        stored = sum(int(share.stored.sum()) for share in self.shares)
        return Counts(images, stored * self.info.recipe.views, committed - stored, images - committed)


def all_views(images: npt.NDArray[np.int64], views: int) -> npt.NDArray[np.int64]:
    """The rows of images, by position: those of image i are i * views and on, the unaltered view first."""
    return (images[:, None] * views + np.arange(views)).ravel()


def _joined(positions: Sequence[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    return np.concatenate([np.empty(0, np.int64), *positions])


@dataclass(frozen=True)
class Counts:
    """Images of the current plan, the rows of those that are stored, and images that failed or are not done yet.

    A stored image has one row a view: `images` = `rows` / views + `failures` + `pending`.
    """

    images: int
    rows: int
    failures: int
    pending: int


def load_snapshot(folder: Files, number: int | None = None) -> Snapshot:
    """Read a store's current state.

    Args:
        folder: the store.
        number: that of a plan that was published just now, which may not be the current one any more.

    Raises:
        NotAStore: the folder is none.
        DamagedStore: store.json, the current view or its plan is damaged.
    """
    folder.require_store()
    info = StoreInfo.from_bytes(folder.read(INFO))
    numbers = [int(view[1]) for view in map(_VIEW_NAME.fullmatch, folder.names("view")) if view]
    if not numbers:
        if folder.names("commit"):
            raise DamagedStore("view/ is empty though shards are committed: restore it from a backup, or extract anew")
        return Snapshot(info)
    number = number or max(numbers)
    current = CurrentPlan.from_bytes(folder.read(CurrentPlan.file(number)))
    try:
        plan = Plan.from_bytes(current.plan, folder.read(plan_file(current.plan)))
    except FileNotFoundError:
        raise DamagedStore(
            f"{plan_file(current.plan)} is missing: restore it from a backup, or extract into a new store"
        ) from None
    return with_records(folder, Snapshot(info, number, current, plan))


def with_records(folder: Files, snapshot: Snapshot) -> Snapshot:
    """The same plan with the commit records as they are now, whichever view has become the current one."""
    if snapshot.plan is None:
        return snapshot
    wanted = set(snapshot.plan.holders().unique().to_pylist())
    records: dict[str, CommitRecord] = {}
    attempts: dict[str, int] = {}
    damaged: dict[str, str] = {}
    for plan_name in sorted({key.partition("/")[0] for key in wanted}):
        for index, attempt in latest_attempts(folder, plan_name).items():
            key = f"{plan_name}/{index}"
            if key not in wanted:
                continue
            attempts[key] = attempt
            name = ShardSlot(plan_name, index, attempt).file
            try:
                record = CommitRecord.from_bytes(folder.read(name))
            except DamagedStore as error:
                damaged[name] = str(error)
                continue
            if (record.plan, record.index, record.attempt) != (plan_name, index, attempt):
                damaged[name] = f"says it is attempt {record.attempt} of {record.plan[:12]}…/{record.index}"
            elif not record.withdrawn:
                records[key] = record
    return replace(snapshot, records=records, attempts=attempts, damaged_records=damaged)


def latest_attempts(folder: Files, plan_name: str) -> dict[int, int]:
    """For each shard of a plan that was ever committed, its highest attempt."""
    attempts: dict[int, int] = {}
    for name in folder.names(f"commit/{plan_name}"):
        if record := _RECORD_NAME.fullmatch(name):
            index, attempt = int(record[1]), int(record[2])
            attempts[index] = max(attempts.get(index, 0), attempt)
    return attempts
