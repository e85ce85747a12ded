"""Maintenance: verify reads everything back, repair withdraws damaged shards, gc deletes what nothing needs."""

import hashlib
import time
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from store.errors import DamagedStore
from store.files.base import COPY, INFO, NETWORKS, Files, NotARegularFile
from store.files.digest import digest_in
from store.formats import get_format
from store.json_values import MOST_BYTES
from store.known import find_previous
from store.plan import plan_file
from store.progress import SILENT, Reporter
from store.quantization import network_file, require_stored_network
from store.rebuild import rebuild
from store.records import CommitRecord, CurrentPlan, StoreInfo
from store.snapshot import Snapshot, is_latest, load_snapshot
from store.suggestions import suggest
from store.writer import StoreWriter


@dataclass(frozen=True)
class Damage:
    """Something that is not as it was written: what is wrong, and the key of the shard, `<plan>/<index>`, if it is in one."""

    shard: str
    message: str


# Verify


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


def verify(files: Files, reporter: Reporter = SILENT) -> Verification:
    """Read every shard that the current plan refers to and check bytes, rows, shapes and sums.

    Raises:
        NotAStore: the folder is not a store.
        DamagedStore: store.json, the newest file in view/ or its plan is damaged, so nothing else can be checked.
    """
    snapshot = load_snapshot(files)
    counts = snapshot.counts()
    return Verification(
        images=counts.images,
        rows=counts.rows,
        failures=counts.failures,
        pending=counts.pending,
        views=snapshot.info.recipe.views,
        shards=len(snapshot.records),
        damage=(*_copy_damage(files), *_network_damage(files, snapshot.info), *_find_damage(files, snapshot, reporter)),
    )


def _copy_damage(files: Files) -> list[Damage]:
    if files.status(COPY) is None:
        return []
    with suppress(DamagedStore):  # longer than a store.json may be
        if files.read_small(COPY, MOST_BYTES) == files.read_small(INFO, MOST_BYTES):
            return []
    return [Damage("", f"{COPY} is not the same as {INFO}")]


def _network_damage(files: Files, info: StoreInfo) -> list[Damage]:
    if info.recipe.quantization is None:
        return []
    try:
        require_stored_network(files, info.recipe.quantization.network)
    except DamagedStore as error:
        return [Damage("", str(error))]
    return []


def _find_damage(files: Files, snapshot: Snapshot, reporter: Reporter = SILENT) -> list[Damage]:
    """Everything that is wrong with the records and shards of a snapshot."""
    damage = [Damage(_shard_key(name), f"{name}: {message}") for name, message in snapshot.damaged_records.items()]
    with reporter.step("verifying shards", len(snapshot.records)) as progress:
        for key, record in snapshot.records.items():
            damage += [Damage(key, message) for message in _shard_damage(files, snapshot.info, record)]
            progress.advance(1, 0)
    return damage + _misplaced_images(snapshot)


def _shard_key(record_file: str) -> str:
    _, plan_name, name = record_file.split("/")
    return f"{plan_name}/{int(name.split('.')[0])}"


def _shard_damage(files: Files, info: StoreInfo, record: CommitRecord) -> list[str]:
    if record.fingerprint != info.recipe.fingerprint:
        return [f"the record of shard {record.index} has another recipe's fingerprint"]
    if len(record.rows) == 0:
        return []
    name = f"data/{record.shard}"
    status = files.status(name)
    if status is None:
        return [f"{name} is missing"]
    if status.size != record.shard_bytes:
        return [f"{name} has {status.size:,} bytes, expected {record.shard_bytes:,}"]
    try:
        data = files.read(name)
    except FileNotFoundError:  # since just now
        return [f"{name} is missing"]
    if not _has_name(data, record.shard):
        return [f"{name} is not the bytes that gave it its name"]
    return _content_damage(name, data, info, record)


def _content_damage(name: str, data: bytes, info: StoreInfo, record: CommitRecord) -> list[str]:
    """How a shard file whose bytes are intact differs from its record."""
    shard_format, expected = get_format(info.shard_format), record.expected_rows(info.recipe.views)
    try:
        rows = shard_format.rows(data, len(expected))
        for output in info.outputs:
            shard_format.tensor(data, output, count=len(expected))
    except DamagedStore as error:
        return [f"{name}: {error}"]
    if not all(rows[column].equals(expected[column]) for column in ("path", "view")):
        return [f"{name} does not hold the rows its record names"]
    if not rows["sha256"].equals(expected["sha256"]):
        return [f"{name} and its record differ in the images' SHA-256"]
    return []


def _misplaced_images(snapshot: Snapshot) -> list[Damage]:
    """Images that a committed shard should have once, and has not, or more often."""
    damage: list[Damage] = []
    if snapshot.plan is None:
        return damage
    for shard in snapshot.shard_images:
        paths = snapshot.plan.rows["path"].take(shard.plan_positions)
        found = shard.record.images["path"].combine_chunks().value_counts()
        counts = found.field("counts").take(pc.index_in(paths, value_set=found.field("values"))).fill_null(0).to_numpy()
        damage += [
            Damage(shard.key, f"{paths[at].as_py()!r} is {counts[at]} times in its shard, expected once")
            for at in np.flatnonzero(counts != 1)
        ]
    return damage


def _has_name(data: bytes, shard: str) -> bool:
    """Whether these are the bytes that gave a shard file its name."""
    return hashlib.sha256(data).hexdigest() == digest_in(shard)


# Repair


@dataclass(frozen=True)
class Repair:
    """What `repair` did: the files that it `rebuilt`, a sentence each, and the damage whose shards it has `withdrawn`; and
    what is `lost`, because nothing else has it.
    """

    rebuilt: tuple[str, ...]
    withdrawn: tuple[Damage, ...]
    lost: tuple[Damage, ...] = ()


def repair(files: Files) -> Repair:
    """Rebuild what the store can be read by, and withdraw damaged shards, so that `extract run` computes them again.

    A withdrawal is a commit record too, one attempt higher: nothing that was published is changed. Only a
    data file whose bytes are wrong is deleted, for its name belongs to the right ones.

    Raises:
        NotAStore: the folder is not a store.
        DamagedStore: store.json is damaged and there is no sound copy of it.
    """
    rebuilt = rebuild(files)
    snapshot = load_snapshot(files)
    withdrawn = _withdraw(StoreWriter(files, snapshot.info), snapshot, _find_damage(files, snapshot))
    for key in dict.fromkeys(damage.shard for damage in withdrawn):
        record = snapshot.records.get(key)
        if record is not None and record.shard:
            _remove_unless_intact(files, record.shard)
    return Repair(tuple(rebuilt), tuple(withdrawn), tuple(_network_damage(files, snapshot.info)))


def _withdraw(writer: StoreWriter, snapshot: Snapshot, found: list[Damage]) -> list[Damage]:
    """Withdraw the shards with damage; returns that of those where no other process was first."""
    withdrawn = []
    for key in dict.fromkeys(damage.shard for damage in found):
        damage = [one for one in found if one.shard == key]
        if writer.withdraw(snapshot.next_slot(key), "; ".join(one.message for one in damage)):
            withdrawn += damage
    return withdrawn


def _remove_unless_intact(files: Files, shard: str) -> None:
    name = f"data/{shard}"
    try:
        data = files.read(name)
    except (FileNotFoundError, NotARegularFile):
        return
    if not _has_name(data, shard):
        # A run may have published the right bytes and a record since.
        files.remove_unless(name, lambda: name in _needed(load_snapshot(files)))


# gc


@dataclass(frozen=True)
class Collected:
    """What `gc` deleted, or would delete: names within the store, and their bytes together (`size`)."""

    names: tuple[str, ...]
    size: int


def collect_garbage(files: Files, min_age: float = 3600.0, dry_run: bool = False) -> Collected:
    """Delete what the current plan does not need: temporary files, shards, and older plans with their records.

    Args:
        files: the store.
        min_age: seconds; younger files stay, for a run may be about to commit them.
        dry_run: delete nothing, only find what would be deleted.

    Raises:
        NotAStore: the folder is not a store.
        DamagedStore: a record or the plan cannot be read, so it is unknown which shards are needed.
    """
    needed = _NeededFiles(files)
    oldest = int((time.time() - min_age) * 1e9)
    names, size = [], 0
    for name in _unneeded(files, needed):
        status = files.status(name)
        if status is None or status.modified > oldest:  # None: another process deleted its temporary file
            continue
        if dry_run or _remove(files, name, needed):
            names.append(name)
            size += status.size
    return Collected(tuple(names), size)


def _remove(files: Files, name: str, needed: "_NeededFiles") -> bool:
    if name.startswith(
        ("data/", f"{NETWORKS}/", "plan/")
    ):  # named by their content: a run may be about to publish one again
        return files.remove_unless(name, lambda: name in needed.now())
    files.remove(name)
    return True


def _unneeded(files: Files, needed: "_NeededFiles") -> list[str]:
    """Every file but those of the current plan."""
    found = [f"{top}/{name}" for top in ("tmp", "data", NETWORKS, "plan", "view") for name in files.names(top)]
    for plan_name in files.names("commit"):
        if plan_name not in needed.plans:
            found += [f"commit/{plan_name}/{name}" for name in files.names(f"commit/{plan_name}")]
    names = needed.now()
    return [name for name in found if name not in names]


class _NeededFiles:
    """The files that the current plan needs; looked up again where something was published since.

    While it is unfinished, it needs those of the previous plan, which the features of renamed images are copied from.

    Raises (every method):
        DamagedStore: a record or the plan cannot be read.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self._read()

    def now(self) -> frozenset[str]:
        """Their names as of this moment."""
        if not is_latest(self._files, self._snapshot):
            self._read()
        return self._names

    def _read(self) -> None:
        self._snapshot = load_snapshot(self._files)
        if damaged := self._snapshot.damaged_records:
            name, message = next(iter(damaged.items()))
            raise DamagedStore(
                f"{name}: {message}; nothing is deleted before {suggest('store', 'repair', str(self._files))}"
            )
        self._names = _needed(self._snapshot)
        self.plans = {key.partition("/")[0] for key in self._snapshot.shard_keys}
        if self._snapshot.uncommitted_shards():  # whose images may be renamed ones of the previous plan
            self._keep_previous()

    def _keep_previous(self) -> None:
        previous = find_previous(self._files, self._snapshot)
        if previous is None:
            return
        self._names |= {CurrentPlan.file(self._snapshot.number - 1), plan_file(previous.name)}
        self._names |= {f"data/{record.shard}" for record in previous.records if record.shard}
        self.plans |= {record.plan for record in previous.records}


def _needed(snapshot: Snapshot) -> frozenset[str]:
    """The files that a snapshot refers to, but for the records."""
    names = {f"data/{record.shard}" for record in snapshot.records.values() if record.shard}
    if snapshot.info.recipe.quantization is not None:
        names.add(network_file(snapshot.info.recipe.quantization.network))
    if snapshot.plan is not None:
        names |= {CurrentPlan.file(snapshot.number), snapshot.plan.file}
    return frozenset(names)
