"""Rebuilding the files that a store is read by: store.json, and which plan is the current one.

store.json and its copy replace each other. Where the newest file in view/ is damaged, the plan that it named is found by
its number. Where that plan is gone too, a plan of all committed images is made from the commit records and the shards:
it has every row that the store has, perhaps also images that were removed from the data meanwhile, and lacks what was
not computed yet; the next `extract run` compares it with the data as always.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from store.errors import DamagedStore, EnvironmentFailure, StillframeError
from store.files.base import COPY, INFO, Files
from store.formats import get_format
from store.json_values import MOST_BYTES
from store.plan import DESCRIPTION, LISTING_SCHEMA, Plan, make_plan
from store.records import CommitRecord, CurrentPlan, StoreInfo
from store.shard_file import read_shard
from store.snapshot import current_numbers, latest_slots, load_plan, load_record
from store.writer import StoreWriter


def rebuild(files: Files) -> list[str]:
    """Rebuild what is damaged or missing of store.json and the current plan; returns a sentence for each file rebuilt.

    Raises:
        NotAStore: the folder is not a store.
        DamagedStore: store.json is damaged and there is no sound copy of it.
    """
    return [*_rebuild_info(files), *_rebuild_current(files)]  # the second needs the first


def _rebuild_info(files: Files) -> list[str]:
    copy = _sound_info(files, COPY)  # first, for it is created second: a store that is being created has no copy yet
    info = _sound_info(files, INFO)
    writer = StoreWriter(files)
    if info is None and copy is not None:
        writer.restore(INFO, copy)
        return [f"{INFO} was damaged or missing: it is rebuilt from {COPY}"]
    if info is None:
        files.require_store()
        StoreInfo.from_bytes(files.read_small(INFO, MOST_BYTES))  # says what is wrong
    elif files.status(COPY) is not None and _sound_info(files, COPY) != info:
        writer.restore(COPY, info)
        return [f"{COPY} was damaged: it is rebuilt from {INFO}"]
    return []


def _sound_info(files: Files, name: str) -> bytes | None:
    """The bytes of store.json or its copy; None if it is missing, damaged or not for this version to read."""
    try:
        data = files.read_small(name, MOST_BYTES)
        StoreInfo.from_bytes(data)
    except FileNotFoundError:
        return None
    except EnvironmentFailure:  # nothing is known of the file
        raise
    except StillframeError:
        return None
    return data


def _rebuild_current(files: Files) -> list[str]:
    """See `rebuild`; nothing that is published is replaced, a new file in view/ counts instead."""
    numbers = current_numbers(files)
    newest = numbers[-1] if numbers else 0
    if not newest and not files.names("commit"):
        return []  # a new store
    current = _sound_current(files, newest)
    if current is not None and _sound_plan(files, current.plan) is not None:
        return []
    data = _newest_data(files, numbers)
    plans = [plan for name in _plan_names(files) if (plan := _sound_plan(files, name)) is not None]
    lost = current is not None and bool(files.names(f"commit/{current.plan}"))
    plan = None if lost else _plan_of_number(files, plans, newest)
    if plan is not None:
        return _make_current(files, plan, max(newest, plan.number) + 1, data)
    plan_numbers = dict.fromkeys(_plan_names(files), newest)  # of those that cannot be read
    plan_numbers |= {plan.name: plan.number for plan in plans}
    plan_numbers |= {current.plan: newest} if current is not None else {}
    return _publish(files, _plan_of_records(files, plan_numbers, newest + 1), data)


def _newest_data(files: Files, numbers: list[int]) -> str:
    """Where the images were, as the newest file in view/ that can be read says; empty if there is none."""
    for number in reversed(numbers):
        if (current := _sound_current(files, number)) is not None:
            return current.data
    return ""


def _plan_of_number(files: Files, plans: list[Plan], number: int) -> Plan | None:
    """The plan of that number, or of the highest one for 0; of several, the one that became current has commits."""
    number = number or max((plan.number for plan in plans), default=0)
    named = [plan for plan in plans if plan.number == number]
    return max(named, key=lambda plan: (len(files.names(f"commit/{plan.name}")), plan.name), default=None)


def _make_current(files: Files, plan: Plan, number: int, data: str) -> list[str]:
    if not StoreWriter(files).make_current(plan.name, number, data):
        return []
    return ["the newest file in view/ was damaged or missing: the plan that it named is the current one again"]


def _publish(files: Files, plan: Plan, data: str) -> list[str]:
    if not StoreWriter(files).publish_plan(plan, data):
        return []
    return [
        f"the current plan was damaged or missing: a new one has the {len(plan.rows):,} images that the commit records "
        "have; labels are those of the shards"
    ]


def _plan_names(files: Files) -> list[str]:
    return [name.removesuffix(".parquet") for name in files.names("plan") if name.endswith(".parquet")]


def _sound_current(files: Files, number: int) -> CurrentPlan | None:
    try:
        return CurrentPlan.from_bytes(files.read_small(CurrentPlan.file(number), MOST_BYTES))
    except (DamagedStore, FileNotFoundError):
        return None


def _sound_plan(files: Files, name: str) -> Plan | None:
    try:
        return load_plan(files, name)
    except DamagedStore:
        return None


@dataclass(frozen=True)
class _Committed:
    """A record, and what orders it among others: the number of its plan (0 if unknown), and when it was written."""

    plan_number: int
    written: int
    record: CommitRecord


def _plan_of_records(files: Files, plan_numbers: Mapping[str, int], number: int) -> Plan:
    """A plan of all committed images; of an image that several shards have, the newest record counts.

    Args:
        files: the store.
        plan_numbers: by its name, the number of each plan of which it is known.
        number: that of the new plan.
    """
    info = StoreWriter(files).info
    found = sorted(_committed(files, plan_numbers), key=lambda one: (one.plan_number, one.written), reverse=True)
    tables = [_described(files, info, one.record) for one in found]
    images = pa.concat_tables([_IMAGES.empty_table(), *tables]).combine_chunks()
    paths = images["path"].combine_chunks()
    images = images.take(pc.index_in(pc.unique(paths), value_set=paths)).sort_by("path").combine_chunks()
    size = max((len(one.record.images) for one in found), default=1)
    return make_plan(images.select(LISTING_SCHEMA.names), images["shard_key"].combine_chunks(), size, number)


def _committed(files: Files, plan_numbers: Mapping[str, int]) -> Iterator[_Committed]:
    """Every record that can be read and is not withdrawn, the highest attempts alone."""
    for plan_name in files.names("commit"):
        for slot in latest_slots(files, plan_name):
            try:
                record = load_record(files, slot)
            except DamagedStore:
                continue
            status = files.status(slot.file)
            if not record.withdrawn:
                yield _Committed(plan_numbers.get(plan_name, 0), status.modified if status else 0, record)


_IMAGES = pa.schema([*LISTING_SCHEMA, ("shard_key", pa.string())])


def _described(files: Files, info: StoreInfo, record: CommitRecord) -> pa.Table:
    """The images of a record as a listing has them, and the key of its shard; labels are those in the shard."""
    images = record.images
    described = _descriptions(files, info, record)
    at = pc.index_in(images["path"], value_set=described["path"])
    columns = {name: described[name].take(at) for name in DESCRIPTION if name != "path"}
    key = pa.array([record.slot.key] * len(images), pa.string())
    columns |= {"path": images["path"], "size": images["size"], "time": images["time"], "shard_key": key}
    return pa.table(columns).select(_IMAGES.names).cast(_IMAGES)


def _descriptions(files: Files, info: StoreInfo, record: CommitRecord) -> pa.Table:
    """Path, label, split and group of a shard's rows; none of a shard that cannot be read."""
    empty = pa.schema([LISTING_SCHEMA.field(name) for name in DESCRIPTION]).empty_table()
    if not record.shard:
        return empty
    count = len(record.rows) * info.recipe.views
    try:
        rows = read_shard(files, record, lambda path: get_format(info.shard_format).rows(path, count))
    except DamagedStore:
        return empty
    return rows.filter(pc.equal(rows["view"], 0)).select(DESCRIPTION)
