"""A store as it stands at one moment: its info, the current plan, and the commit records that plan refers to.

Readers trust commit records alone. What lies in data/ without a record does not exist.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from store.errors import DamagedStore
from store.plan import Plan
from store.publish import INFO, Folder
from store.records import CommitRecord, Failure, Row, StoreInfo, View

_VIEW_NAME = re.compile(r"([1-9][0-9]*)\.json")
_RECORD_NAME = re.compile(r"([0-9]{6,})\.([1-9][0-9]*)\.json")


@dataclass(frozen=True, slots=True)
class Held:
    """Where a listed image stands: the shard that took it in, `<plan>/<index>`, and what came of it."""

    holder: str
    entry: Row | Failure

    @property
    def failed(self) -> bool:
        """Whether the image gave no row."""
        return isinstance(self.entry, Failure)


@dataclass(frozen=True)
class Place:
    """The rows of one shard that the current plan shows: positions in the plan, and in the shard (ascending)."""

    record: CommitRecord
    plan_positions: npt.NDArray[np.int64]
    shard_positions: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Snapshot:
    """`records` maps `<plan>/<index>` to the highest attempt, withdrawn ones left out.

    `damaged_records` maps the file name of an unreadable record to what is wrong with it.
    """

    info: StoreInfo
    number: int
    view: View | None
    plan: Plan | None
    records: Mapping[str, CommitRecord]
    damaged_records: Mapping[str, str]

    @cached_property
    def _shard_contents(self) -> dict[str, dict[str, int]]:
        """For each shard its paths: position of a row, or -1 - position of a failure."""
        contents = {}
        for key, record in self.records.items():
            contents[key] = {failure.path: -1 - index for index, failure in enumerate(record.failures)}
            contents[key].update({row.path: index for index, row in enumerate(record.rows)})
        return contents

    def _entries(self) -> Iterator[tuple[int, str, str, int]]:
        """Each committed row of the plan: position, path, holder, position in the shard (negative: of a failure)."""
        if self.plan is None:
            return
        contents = self._shard_contents
        paths = self.plan.rows["path"].to_pylist()
        for position, (path, holder) in enumerate(zip(paths, self.plan.holders().to_pylist(), strict=True)):
            inside = contents.get(holder, {}).get(path)
            if inside is not None:
                yield position, path, holder, inside

    def held(self) -> dict[str, Held]:
        """By path, every image of the current plan that is committed, as a row or as a failure."""
        found = {}
        for _, path, holder, inside in self._entries():
            record = self.records[holder]
            found[path] = Held(holder, record.rows[inside] if inside >= 0 else record.failures[-1 - inside])
        return found

    def places(self) -> list[Place]:
        """The stored rows, shard by shard, in the order in which the plan first meets each shard."""
        found: dict[str, list[tuple[int, int]]] = {}
        for position, _, holder, inside in self._entries():
            if inside >= 0:
                found.setdefault(holder, []).append((inside, position))
        places = []
        for holder, pairs in found.items():
            ordered = np.array(sorted(pairs), np.int64)
            places.append(Place(self.records[holder], ordered[:, 1], ordered[:, 0]))
        return places

    def failures(self) -> list[Failure]:
        """The images of the current plan that gave no row, in plan order."""
        return [self.records[holder].failures[-1 - inside] for _, _, holder, inside in self._entries() if inside < 0]

    def uncommitted_shards(self) -> list[int]:
        """The numbers of the current plan's own shards that have no record yet."""
        if self.plan is None:
            return []
        name = self.plan.name
        return [index for index in range(self.plan.shard_count) if f"{name}/{index}" not in self.records]

    def counts(self) -> "Counts":
        """How many images, rows, failures, and images without either."""
        images = len(self.plan.rows) if self.plan else 0
        insides = [inside for _, _, _, inside in self._entries()]
        rows = sum(inside >= 0 for inside in insides)
        return Counts(images, rows, len(insides) - rows, images - len(insides))


@dataclass(frozen=True)
class Counts:
    """Images of the current plan: with a row, failed, and not done yet."""

    images: int
    rows: int
    failures: int
    pending: int


def load_snapshot(folder: Folder) -> Snapshot:
    """Read a store's current state.

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
        return Snapshot(info, 0, None, None, {}, {})
    number = max(numbers)
    view = View.from_bytes(folder.read(f"view/{number}.json"))
    try:
        plan = Plan.from_bytes(view.plan, folder.read(f"plan/{view.plan}.parquet"))
    except FileNotFoundError:
        raise DamagedStore(
            f"plan/{view.plan}.parquet is missing: restore it from a backup, or extract into a new store"
        ) from None
    wanted = set(plan.holders().unique().to_pylist())
    records: dict[str, CommitRecord] = {}
    damaged: dict[str, str] = {}
    for plan_name in sorted({key.partition("/")[0] for key in wanted}):
        for index, attempt in latest_attempts(folder, plan_name).items():
            key = f"{plan_name}/{index}"
            if key not in wanted:
                continue
            name = record_name(plan_name, index, attempt)
            try:
                record = CommitRecord.from_bytes(folder.read(name))
            except DamagedStore as error:
                damaged[name] = str(error)
                continue
            if (record.plan, record.index, record.attempt) != (plan_name, index, attempt):
                damaged[name] = f"says it is attempt {record.attempt} of {record.plan[:12]}…/{record.index}"
            elif not record.withdrawn:
                records[key] = record
    return Snapshot(info, number, view, plan, records, damaged)


def latest_attempts(folder: Folder, plan_name: str) -> dict[int, int]:
    """For each shard of a plan that was ever committed, its highest attempt."""
    attempts: dict[int, int] = {}
    for name in folder.names(f"commit/{plan_name}"):
        if record := _RECORD_NAME.fullmatch(name):
            index, attempt = int(record[1]), int(record[2])
            attempts[index] = max(attempts.get(index, 0), attempt)
    return attempts


def record_name(plan_name: str, index: int, attempt: int) -> str:
    """The file name of a commit record."""
    return f"commit/{plan_name}/{index:06d}.{attempt}.json"
