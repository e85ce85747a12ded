"""`store gc` against a run that commits, in that instant, a shard whose file has lain unused in the store."""

import threading

import pytest

from store.errors import DamagedStore
from store.files.base import INFO
from store.files.local import LocalFiles
from store.maintenance import collect_garbage, repair, verify
from store.plan import make_plan
from store.records import ShardSlot
from store.writer import StoreWriter
from tests.store.build import flip_bit, keys_of, make_images, make_info, make_listing

IMAGES = make_images("a.png", "b.png")
SECONDS = 20


class WriterFiles(LocalFiles):
    """A run's files: `record` is called around the publication of a record, with "before" and with "after"."""

    def __init__(self, root, record):
        super().__init__(root)
        self.record = record

    def create(self, name, data):
        if not name.startswith("commit/"):
            return super().create(name, data)
        self.record("before")
        created = super().create(name, data)
        self.record("after")
        return created


class CollectorFiles(LocalFiles):
    """Those of `store gc`: `aside` is called while a file is set aside, before it is asked for."""

    def __init__(self, root, aside=lambda: None):
        super().__init__(root)
        self.aside = aside

    def remove_unless(self, name, needed):
        def asked():
            self.aside()
            return needed()

        return super().remove_unless(name, asked)


@pytest.fixture
def orphan(small):
    """A store with a plan, and its one shard's file without a record; the file's name."""
    small.update(IMAGES, stop_after=0)
    return f"data/{small.leave_shard(IMAGES, sorted(IMAGES))}"


def commit(small, files):
    plan = small.snapshot.plan
    StoreWriter(files).commit(ShardSlot(plan.name, 0, 1), small.content(IMAGES, sorted(IMAGES)), {})


def assert_sound(small, orphan):
    assert small.folder.status(orphan) is not None
    found = verify(small.folder)
    assert found.sound
    assert (found.rows, found.pending) == (2, 0)
    assert small.folder.names("tmp") == []


def test_a_shard_deleted_right_before_its_record_is_published_again(small, orphan):
    collected = []

    def record(moment):
        if moment == "before":
            collected.append(collect_garbage(small.folder, min_age=-1))

    commit(small, WriterFiles(small.folder.root, record))
    assert collected[0].names == (orphan,)
    assert_sound(small, orphan)


@pytest.mark.parametrize("looks", ["while it is set aside", "after it is put back"])
def test_a_shard_whose_record_comes_while_it_is_set_aside_is_put_back(small, orphan, looks):
    ready, aside, recorded, looked, done = (threading.Event() for _ in range(5))

    def record(moment):
        if moment == "before":
            ready.set()
            assert aside.wait(SECONDS)
        else:
            recorded.set()
            if looks == "after it is put back":
                assert done.wait(SECONDS)

    def run():
        commit(small, WriterFiles(small.folder.root, record))
        looked.set()

    def set_aside():
        aside.set()
        assert recorded.wait(SECONDS)
        if looks == "while it is set aside":
            assert looked.wait(SECONDS)

    writer = threading.Thread(target=run)
    writer.start()
    assert ready.wait(SECONDS)
    collected = collect_garbage(CollectorFiles(small.folder.root, set_aside), min_age=-1)
    done.set()
    writer.join(SECONDS)
    assert orphan not in collected.names
    assert_sound(small, orphan)


def test_a_shard_that_is_recorded_before_gc_comes_to_it_is_not_touched(small, orphan):
    class Late(CollectorFiles):
        def status(self, name):
            if name == orphan:
                commit(small, small.folder)
            return super().status(name)

    assert orphan not in collect_garbage(Late(small.folder.root), min_age=-1).names
    assert_sound(small, orphan)


def test_a_file_is_put_back_if_the_records_cannot_be_read(small, orphan):
    def fail():
        raise OSError("the network is gone")

    with pytest.raises(OSError, match="the network is gone"):
        collect_garbage(CollectorFiles(small.folder.root, fail), min_age=-1)
    assert small.folder.status(orphan) is not None
    assert small.folder.names("tmp") == []


def test_a_file_set_aside_is_young_so_that_another_gc_leaves_it(small, orphan):
    inner = []

    def set_aside():
        (name,) = small.folder.names("tmp")
        age = small.folder.status(f"tmp/{name}").modified - before
        inner.append(age)

    before = small.folder.status(orphan).modified
    collect_garbage(CollectorFiles(small.folder.root, set_aside), min_age=-1)
    assert inner[0] >= 0


def test_a_plan_deleted_right_before_it_is_named_is_published_again(small):
    small.update(IMAGES)
    images = {**IMAGES, **make_images("c.png")}
    listing = make_listing(images)
    committed = {row["path"]: row["shard_key"] for row in small.snapshot.committed_images().to_pylist()}
    plan = make_plan(listing, keys_of(listing, committed), 2, 2)
    small.folder.create(plan.file, plan.data)

    class Files(LocalFiles):
        def create(self, name, data):
            if name == "view/2.json":
                assert plan.file in collect_garbage(small.folder, min_age=-1).names
            return super().create(name, data)

    assert StoreWriter(Files(small.folder.root)).publish_plan(plan, "/data")
    assert small.snapshot.plan.name == plan.name


def test_repair_deletes_no_shard_that_a_run_has_published_again(small):
    plan = small.update(IMAGES)
    path = small.shard_file(plan, 0)
    flip_bit(path, 50)

    class Files(LocalFiles):
        def remove_unless(self, name, needed):
            small.commit(plan, 0, IMAGES)  # replaces the damaged file
            return super().remove_unless(name, needed)

    repair(Files(small.folder.root))
    assert verify(small.folder).sound
    assert small.snapshot.counts().rows == 2


def test_a_slot_that_a_withdrawal_has_taken_gives_a_record_without_rows(small):
    small.update(IMAGES, stop_after=0)
    slot = ShardSlot(small.snapshot.plan.name, 0, 1)
    assert small.writer.withdraw(slot, "it is damaged")
    record = small.writer.commit(slot, small.content(IMAGES, sorted(IMAGES)), {})
    assert record.withdrawn == "it is damaged"
    assert len(record.rows) == len(record.failures) == 0


def test_repair_reports_only_what_it_withdrew_itself(small):
    plan = small.update(make_images("a.png", "b.png", "c.png", "d.png"))
    for index in range(2):
        flip_bit(small.shard_file(plan, index), 50)

    class Files(LocalFiles):
        def create(self, name, data):
            if name == ShardSlot(plan.name, 0, 2).file:
                assert small.writer.withdraw(ShardSlot(plan.name, 0, 2), "another process was first")
            return super().create(name, data)

    done = repair(Files(small.folder.root))
    assert {damage.shard for damage in done.withdrawn} == {f"{plan.name}/1"}
    assert small.snapshot.uncommitted_shards() == [0, 1]


def test_a_store_that_is_created_between_two_looks_is_a_store(tmp_path, monkeypatch):
    """store.json is created, then its copy: who looked for the first too early may see the second."""
    folder = LocalFiles(tmp_path / "store")

    def status(name, original=folder.status):
        if name == INFO and not folder.path(INFO).exists():
            StoreWriter(folder).create(make_info())
            return None
        return original(name)

    monkeypatch.setattr(folder, "status", status)
    assert folder.is_store()
    folder.path(INFO).unlink()
    monkeypatch.undo()
    with pytest.raises(DamagedStore, match=r"store.json is missing"):
        folder.is_store()
