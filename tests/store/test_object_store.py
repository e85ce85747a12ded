"""Maintenance of a store in an object store that a real server answers for."""

import numpy as np
import pytest

from store import open_store
from store.files.base import COPY, INFO
from store.files.remote import RemoteFiles
from store.maintenance import collect_garbage, repair, verify
from store.records import ShardSlot
from tests.store.build import Image, SmallStore, features_of, make_images

IMAGES = make_images("a.png", "b.png", "c.png", label="cat")


@pytest.fixture
def remote(bucket):
    return SmallStore(RemoteFiles(f"{bucket}/store"))


def overwrite(remote, name, data):
    """Damage a file: what no part of the program does."""
    remote.folder.remove(name)
    remote.folder.create(name, data)


def assert_all_rows(remote, images):
    x, table = open_store(remote.folder.absolute).arrays()
    assert table["path"].to_pylist() == sorted(images)
    np.testing.assert_array_equal(x, features_of(images, sorted(images), remote.info.outputs[0]))


def test_what_is_not_needed_is_deleted(remote):
    remote.update(IMAGES)
    images = {path: Image("second", "cat") for path in IMAGES}
    plan = remote.update(images)
    stray = remote.leave_shard(make_images("x.png"), ["x.png"])
    collected = collect_garbage(remote.folder, min_age=-1)
    assert f"data/{stray}" in collected.names
    assert len(remote.folder.names("data")) == 2
    assert remote.folder.names("plan") == [f"{plan.name}.parquet"]
    assert verify(remote.folder).sound
    assert_all_rows(remote, images)


def test_the_records_are_looked_at_again_right_before_a_deletion(remote):
    plan = remote.update(IMAGES, stop_after=1)
    orphan = f"data/{remote.leave_shard(IMAGES, ['c.png'])}"

    class Late(RemoteFiles):
        def status(self, name):
            if name == orphan:
                remote.writer.commit(ShardSlot(plan.name, 1, 1), remote.content(IMAGES, ["c.png"]), {})
            return super().status(name)

    assert orphan not in collect_garbage(Late(remote.folder.url), min_age=-1).names
    assert verify(remote.folder).sound
    assert_all_rows(remote, IMAGES)


def test_damage_is_repaired(remote):
    plan = remote.update(IMAGES)
    shard = remote.snapshot.records[f"{plan.name}/0"].shard
    overwrite(remote, f"data/{shard}", b"rotten")
    overwrite(remote, INFO, b"{")
    overwrite(remote, plan.file, b"PAR1")
    assert {damage.shard for damage in repair(remote.folder).withdrawn} == {f"{plan.name}/0"}
    assert remote.folder.read(INFO) == remote.folder.read(COPY)
    remote.update(IMAGES)
    assert verify(remote.folder).sound
    assert_all_rows(remote, IMAGES)
