"""Looking after a store: verify reads everything back, repair takes damaged shards back, gc deletes what nothing needs."""

import hashlib
import time
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from store.errors import DamagedStore
from store.files.base import Files
from store.formats import get_format
from store.records import CommitRecord, CurrentPlan, StoreInfo
from store.snapshot import Snapshot, load_snapshot
from store.writer import StoreWriter


@dataclass(frozen=True)
class Damage:
    """One thing that is not what it should be: the shard `<plan>/<index>` it concerns, and what is wrong."""

    shard: str
    message: str


@dataclass(frozen=True)
class Verification:
    """What `verify` found. `images` = `rows` / `views` + `failures` + `pending` always holds."""

    images: int
    rows: int
    failures: int
    pending: int
    views: int
    shards: int
    damage: tuple[Damage, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing is damaged; the store may still be unfinished."""
        return not self.damage


def verify(folder: Files) -> Verification:
    """Read every shard that the current plan refers to and check bytes, rows, shapes and sums.

    Raises:
        NotAStore: the folder is no store.
        DamagedStore: store.json, the view or the plan is damaged, so nothing else can be judged.
    """
    snapshot = load_snapshot(folder)
    damage = [Damage(_key(name), f"{name}: {message}") for name, message in snapshot.damaged_records.items()]
    for key, record in snapshot.records.items():
        damage += [Damage(key, message) for message in _shard_damage(folder, snapshot.info, record)]
    damage += _misplaced(snapshot)
    counts = snapshot.counts()
    return Verification(
        images=counts.images,
        rows=counts.rows,
        failures=counts.failures,
        pending=counts.pending,
        views=snapshot.info.recipe.views,
        shards=len(snapshot.records),
        damage=tuple(damage),
    )


def _key(name: str) -> str:
    _, plan_name, file_name = name.split("/")
    return f"{plan_name}/{int(file_name.split('.')[0])}"


def _shard_damage(folder: Files, info: StoreInfo, record: CommitRecord) -> list[str]:
    if record.fingerprint != info.recipe.fingerprint:
        return [f"the record of shard {record.index} has another recipe's fingerprint"]
    if len(record.rows) == 0:
        return []
    name = f"data/{record.shard}"
    try:
        data = folder.read(name)
    except FileNotFoundError:
        return [f"{name} is missing"]
    if len(data) != record.shard_bytes:
        return [f"{name} has {len(data):,} bytes, expected {record.shard_bytes:,}"]
    if hashlib.sha256(data).hexdigest() != record.shard.partition(".")[0]:
        return [f"{name} is not the bytes that gave it its name"]
    form, expected = get_format(info.shard_format), record.shard_rows(info.recipe.views)
    try:
        rows = form.rows(data)
        lengths = {len(form.tensor(data, output)) for output in info.outputs}
    except DamagedStore as error:
        return [f"{name}: {error}"]
    if not all(rows[column].equals(expected[column]) for column in ("path", "view")) or lengths != {len(rows)}:
        return [f"{name} does not hold the rows its record names"]
    if not rows["sha256"].equals(expected["sha256"]):
        return [f"{name} and its record differ in the images' SHA-256"]
    return []


def _misplaced(snapshot: Snapshot) -> list[Damage]:
    """Images that a committed shard ought to hold and does not, or holds twice."""
    damage = []
    for share in snapshot.shares:
        assert snapshot.plan is not None
        paths = snapshot.plan.rows["path"].take(share.plan_positions)
        counts = share.record.images["path"].combine_chunks().value_counts()
        times = (
            counts.field("counts").take(pc.index_in(paths, value_set=counts.field("values"))).fill_null(0).to_numpy()
        )
        damage += [
            Damage(share.key, f"{paths[at].as_py()!r} stands {times[at]} times in its shard, expected once")
            for at in np.flatnonzero(times != 1)
        ]
    return damage


def repair(folder: Files) -> list[Damage]:
    """Withdraw every damaged shard, so that the next `extract run` computes its images again; returns what was found.

    A withdrawal is a commit record too, one attempt higher: nothing that was published is changed. Only a
    data file whose bytes are wrong is deleted, for its name belongs to the right ones.
    """
    snapshot = load_snapshot(folder)
    writer = StoreWriter(folder, snapshot.info)
    found = verify(folder).damage
    for key in dict.fromkeys(damage.shard for damage in found):
        reasons = "; ".join(damage.message for damage in found if damage.shard == key)
        writer.withdraw(snapshot.next_slot(key), reasons)
        record = snapshot.records.get(key)
        if record is not None and record.shard:
            _remove_unless_intact(folder, record.shard)
    return list(found)


def _remove_unless_intact(folder: Files, shard: str) -> None:
    try:
        data = folder.read(f"data/{shard}")
    except FileNotFoundError:
        return
    if hashlib.sha256(data).hexdigest() != shard.partition(".")[0]:
        folder.remove(f"data/{shard}")


@dataclass(frozen=True)
class Collected:
    """What `gc` deleted, or would: names within the store, and their bytes together (`size`)."""

    names: tuple[str, ...]
    size: int


def collect_garbage(folder: Files, min_age: float = 3600.0, dry_run: bool = False) -> Collected:
    """Delete what the current view does not need: temporary files, shards, plans, views and records of older plans.

    Args:
        folder: the store.
        min_age: seconds; younger files stay, for a run may be about to commit them.
        dry_run: delete nothing, only say what would be.
    """
    snapshot = load_snapshot(folder)
    needed = {f"data/{record.shard}" for record in snapshot.records.values() if record.shard}
    needed |= {CurrentPlan.file(snapshot.number)}
    holding_plans: set[str] = set()
    if snapshot.plan is not None:
        needed.add(snapshot.plan.file)
        holders = snapshot.plan.holders().unique().to_pylist()
        holding_plans = {holder.partition("/")[0] for holder in holders}
    candidates = [f"{top}/{name}" for top in ("tmp", "data", "plan", "view") for name in folder.names(top)]
    for plan_name in folder.names("commit"):
        if plan_name not in holding_plans:
            candidates += [f"commit/{plan_name}/{name}" for name in folder.names(f"commit/{plan_name}")]
    oldest = int((time.time() - min_age) * 1e9)
    names, size = [], 0
    for name in candidates:
        if name in needed:
            continue
        status = folder.status(name)
        if status is None or status.modified > oldest:  # another process may have taken its temporary file away
            continue
        names.append(name)
        size += status.size
        if not dry_run:
            folder.remove(name)
    return Collected(tuple(names), size)
