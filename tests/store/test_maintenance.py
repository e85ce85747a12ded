import json
import os
import tempfile
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import open_store
from store.errors import DamagedStore, NotAStore
from store.files.local import LocalFiles
from store.maintenance import Repair, collect_garbage, repair, verify
from tests.store.build import BROKEN, Image, SmallStore, edit_json, features_of, flip_bit, make_images

IMAGES = {
    **make_images("a.png", "b.png", "c.png", "d.png", label="cat"),
    "e.png": Image(BROKEN),
    "line\nbreak.png": Image(),
}
ROWS = [path for path in sorted(IMAGES) if path != "e.png"]


@pytest.fixture
def filled(any_small):
    """Three shards of two images; the last has a failure."""
    any_small.update(IMAGES)
    return any_small


def assert_reads_right(small, images=IMAGES):
    rows = sorted(path for path, image in images.items() if image.content != BROKEN)
    x, table = open_store(small.folder.root).arrays()
    assert table["path"].to_pylist() == rows
    np.testing.assert_array_equal(x, features_of(images, rows, small.info.outputs[0]))


# verify


def test_a_finished_store_is_sound(filled):
    found = verify(filled.folder)
    assert found.sound
    assert (found.images, found.rows, found.failures, found.pending, found.shards) == (6, 5, 1, 0, 3)


def test_an_unfinished_store_is_sound_and_pending(any_small):
    any_small.update(IMAGES, stop_after=1)
    found = verify(any_small.folder)
    assert found.sound
    assert (found.images, found.rows, found.failures, found.pending, found.shards) == (6, 2, 0, 4, 1)


def test_a_new_store_is_sound_and_empty(small):
    found = verify(small.folder)
    assert found.sound
    assert (found.images, found.rows, found.failures, found.pending, found.shards) == (0, 0, 0, 0, 0)


def test_shards_of_older_plans_are_verified_too(filled):
    first = filled.snapshot.plan
    filled.update({**IMAGES, "new.png": Image()})
    assert verify(filled.folder).shards == 4
    filled.folder.path("data/" + filled.snapshot.records[f"{first.name}/0"].shard).unlink()
    (damage,) = verify(filled.folder).damage
    assert damage.shard == f"{first.name}/0"


def test_verifying_changes_nothing(filled):
    flip_bit(filled.shard_file(filled.snapshot.plan, 0), -1)
    before = filled.files()
    verify(filled.folder)
    assert filled.files() == before


def flipped(small, plan):
    path = small.shard_file(plan, 1)
    flip_bit(path, len(path.read_bytes()) // 2)


def truncated(small, plan):
    path = small.shard_file(plan, 1)
    path.write_bytes(path.read_bytes()[:-1])


def deleted(small, plan):
    small.shard_file(plan, 1).unlink()


def unreadable_record(small, plan):
    path = small.record_file(plan, 1)
    path.write_bytes(path.read_bytes()[:-3])


def misnamed_record(small, plan):
    edit_json(small.record_file(plan, 1), index=2)


def other_recipe(small, plan):
    edit_json(small.record_file(plan, 1), fingerprint="f" * 64)


def row_missing_in_record(small, plan):
    path = small.record_file(plan, 1)
    edit_json(path, rows=json.loads(path.read_text())["rows"][:1])


def row_twice_in_record(small, plan):
    path = small.record_file(plan, 1)
    rows = json.loads(path.read_text())["rows"]
    edit_json(path, rows=[*rows, rows[0]])


def another_digest_in_record(small, plan):
    path = small.record_file(plan, 1)
    rows = json.loads(path.read_text())["rows"]
    edit_json(path, rows=[[rows[0][0], "0" * 64, *rows[0][2:]], rows[1]])


def row_missing_in_shard(small, plan):
    small.commit(plan, 1, IMAGES, ["c.png"])


def row_twice_in_shard(small, plan):
    small.commit(plan, 1, IMAGES, ["c.png", "d.png", "c.png"])


def row_and_failure_at_once(small, plan):
    failure = {"path": "c.png", "code": "decode", "message": ""}
    edit_json(small.record_file(plan, 1), failures=[failure])


def another_shards_file(small, plan):
    other = small.snapshot.records[f"{plan.name}/0"]
    edit_json(small.record_file(plan, 1), shard=other.shard, shard_bytes=other.shard_bytes)


def junk_under_its_own_digest(small, plan):
    import hashlib

    name = f"{hashlib.sha256(b'junk').hexdigest()}.{small.folder.names('data')[0].partition('.')[2]}"
    small.folder.create(f"data/{name}", b"junk")
    edit_json(small.record_file(plan, 1), shard=name, shard_bytes=4)


DAMAGES = {
    flipped: "is not the bytes that gave it its name",
    truncated: "bytes, expected",
    deleted: "is missing",
    unreadable_record: "is not valid JSON",
    misnamed_record: "says it is attempt",
    other_recipe: "another recipe's fingerprint",
    row_missing_in_record: "a shard has 2 rows, its record names 1",
    row_twice_in_record: "a shard has 2 rows, its record names 3",
    another_digest_in_record: "differ in the images' SHA-256",
    row_missing_in_shard: "'d.png' is 0 times in its shard",
    row_twice_in_shard: "'c.png' is 2 times in its shard",
    row_and_failure_at_once: "'c.png' is 2 times in its shard",
    another_shards_file: "does not hold the rows its record names",
    junk_under_its_own_digest: "cannot be read",
}
every_damage = pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)


@every_damage
def test_damage_is_found_and_said_of_its_shard_alone(filled, damage):
    plan = filled.snapshot.plan
    damage(filled, plan)
    found = verify(filled.folder)
    assert not found.sound
    assert {one.shard for one in found.damage} == {f"{plan.name}/1"}
    assert any(DAMAGES[damage] in one.message for one in found.damage)
    assert found.images == found.rows + found.failures + found.pending == 6


def test_all_damage_is_found_at_once(filled):
    plan = filled.snapshot.plan
    deleted(filled, plan)
    flip_bit(filled.shard_file(plan, 0), 5)
    filled.record_file(plan, 2).write_bytes(b"")
    assert {one.shard for one in verify(filled.folder).damage} == {f"{plan.name}/{index}" for index in range(3)}


@pytest.mark.parametrize("name", ["store.json", "view/1.json", "plan"])
def test_where_nothing_can_be_judged_the_store_is_damaged(filled, name):
    name = f"plan/{filled.snapshot.plan.name}.parquet" if name == "plan" else name
    filled.folder.path(name).write_bytes(b"{")
    for look in (verify, collect_garbage):
        before = filled.files()
        with pytest.raises(DamagedStore) as caught:
            look(filled.folder)
        assert caught.value.exit_code == 4
        assert filled.files() == before


@pytest.mark.parametrize("look", [verify, repair, collect_garbage])
def test_what_is_no_store_is_left_alone(tmp_path, look):
    (tmp_path / "tmp").mkdir()
    (tmp_path / "tmp" / "mine").write_bytes(b"mine")
    with pytest.raises(NotAStore):
        look(LocalFiles(tmp_path))
    assert (tmp_path / "tmp" / "mine").read_bytes() == b"mine"


# repair

NOTHING = Repair((), ())


@every_damage
def test_after_repair_and_another_run_the_store_is_right_again(filled, damage):
    plan = filled.snapshot.plan
    damage(filled, plan)
    repair(filled.folder)
    found = verify(filled.folder)
    assert found.sound
    assert (found.pending, found.shards) == (2, 2)
    filled.update(IMAGES)
    found = verify(filled.folder)
    assert found.sound
    assert (found.rows, found.failures, found.pending) == (5, 1, 0)
    assert filled.snapshot.plan.name == plan.name
    assert_reads_right(filled)


@every_damage
def test_repair_adds_one_attempt_and_changes_no_record_or_sound_shard(filled, damage):
    plan = filled.snapshot.plan
    damage(filled, plan)
    before = filled.files()
    attempts = sum(name.startswith(f"commit/{plan.name}/000001.") for name in before)
    found = repair(filled.folder).withdrawn
    after = filled.files()
    added = f"commit/{plan.name}/000001.{attempts + 1}.json"
    assert set(after) - set(before) == {added}
    withdrawal = json.loads(after[added])
    assert withdrawal["withdrawn"] == "; ".join(one.message for one in found)
    assert withdrawal["rows"] == []
    kept = {name: data for name, data in before.items() if name in after}
    assert kept == {name: data for name, data in after.items() if name != added}
    removed = set(before) - set(after)
    assert len(removed) == (damage in (flipped, truncated))
    assert all(name.startswith("data/") for name in removed)


def test_repairing_a_sound_store_changes_nothing(filled):
    before = filled.files()
    assert repair(filled.folder) == NOTHING
    assert filled.files() == before


def test_repairing_twice_withdraws_once(filled):
    deleted(filled, filled.snapshot.plan)
    assert len(repair(filled.folder).withdrawn) == 1
    before = filled.files()
    assert repair(filled.folder) == NOTHING
    assert filled.files() == before


def test_a_damaged_shard_of_an_older_plan_is_computed_in_a_new_one(filled):
    first = filled.snapshot.plan
    images = {**IMAGES, "new.png": Image()}
    filled.update(images)
    filled.folder.path("data/" + filled.snapshot.records[f"{first.name}/0"].shard).unlink()
    repair(filled.folder)
    assert verify(filled.folder).pending == 2
    filled.update(images)
    assert verify(filled.folder).sound
    assert verify(filled.folder).pending == 0
    assert_reads_right(filled, images)


def test_repair_never_deletes_outside_the_store(filled):
    victim = filled.folder.root.parent / "notes.txt"
    victim.write_bytes(b"mine")
    plan = filled.snapshot.plan
    edit_json(filled.record_file(plan, 1), shard="../../notes.txt", shard_bytes=4)
    repair(filled.folder)
    assert victim.read_bytes() == b"mine"
    assert filled.snapshot.uncommitted_shards() == [1]


# gc

OLD = 2 * 3600.0


def age(small, seconds=OLD):
    """Make every file that much older."""
    then = time.time() - seconds
    for path in small.folder.root.rglob("*"):
        os.utime(path, (then, then))


def test_a_store_without_waste_loses_nothing(filled):
    age(filled)
    before = filled.files()
    assert collect_garbage(filled.folder).names == ()
    assert filled.files() == before


def test_what_the_current_view_does_not_need_is_deleted(filled):
    first = filled.snapshot.plan
    gone = filled.shard_file(first, 0).name
    images = {path: image for path, image in IMAGES.items() if path not in ("a.png", "b.png")}
    filled.update({**images, "new.png": Image()})
    filled.folder.create("tmp/killed.part", b"half")
    stray = filled.leave_shard({"x.png": Image()}, ["x.png"])
    age(filled)
    before = filled.files()
    collected = collect_garbage(filled.folder)
    expected = {f"data/{gone}", f"data/{stray}", f"plan/{first.name}.parquet", "view/1.json", "tmp/killed.part"}
    assert set(collected.names) == expected
    assert collected.size == sum(len(before[name]) for name in expected)
    assert filled.files() == {name: data for name, data in before.items() if name not in expected}
    assert verify(filled.folder).sound
    assert_reads_right(filled, {**images, "new.png": Image()})


def test_records_of_plans_that_hold_nothing_any_more_are_deleted(filled):
    first = filled.snapshot.plan
    images = {path: Image("second") for path in IMAGES}
    filled.update(images)
    age(filled)
    collect_garbage(filled.folder)
    assert filled.folder.names(f"commit/{first.name}") == []
    assert len(filled.folder.names("data")) == 3
    assert verify(filled.folder).pending == 0
    assert_reads_right(filled, images)


def test_young_files_stay_for_a_run_may_be_about_to_need_them(filled):
    filled.folder.create("tmp/running.part", b"half")
    filled.leave_shard({"x.png": Image()}, ["x.png"])
    before = filled.files()
    assert collect_garbage(filled.folder).names == ()
    age(filled, 100)
    assert collect_garbage(filled.folder).names == ()
    assert filled.files() == before
    assert len(collect_garbage(filled.folder, min_age=60).names) == 2


def test_a_dry_run_says_the_same_and_deletes_nothing(filled):
    filled.update({path: Image("second") for path in IMAGES})
    age(filled)
    before = filled.files()
    announced = collect_garbage(filled.folder, dry_run=True)
    assert filled.files() == before
    assert announced.names
    assert collect_garbage(filled.folder) == announced


def test_a_file_that_another_process_takes_away_meanwhile_is_passed_over(filled, monkeypatch):
    names = LocalFiles.names

    def and_one_more(self, folder):
        return [*names(self, folder), "gone.part"] if folder == "tmp" else names(self, folder)

    monkeypatch.setattr(LocalFiles, "names", and_one_more)
    assert collect_garbage(filled.folder, min_age=0).names == ()


def test_damage_is_not_swept_away(filled):
    # An older plan whose only record is unreadable: its images are damaged, and gc must not make them look undone.
    images = {**IMAGES, "new.png": Image()}
    first = filled.snapshot.plan
    filled.update(images)
    for index in range(3):
        filled.record_file(first, index).write_bytes(b"{")
    before = verify(filled.folder)
    age(filled)
    files = filled.files()
    with pytest.raises(DamagedStore, match=r"is not valid JSON.* nothing is deleted before `store repair"):
        collect_garbage(filled.folder)
    assert filled.files() == files
    assert verify(filled.folder) == before
    assert len(before.damage) == 3


@settings(max_examples=15)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abcdef"),
            st.builds(Image, content=st.sampled_from(["first", "second", BROKEN])),
            min_size=1,
        ),
        min_size=1,
        max_size=4,
    ),
    st.none() | st.integers(0, 1),
)
def test_collecting_at_any_time_takes_nothing_from_a_store(history, stop_after):
    with tempfile.TemporaryDirectory() as folder:
        small = SmallStore(folder)
        for images in history[:-1]:
            small.update(images)
        small.update(history[-1], stop_after=stop_after)
        before, committed = verify(small.folder), small.snapshot.committed_images()
        collect_garbage(small.folder, min_age=-1)
        assert collect_garbage(small.folder, min_age=-1).names == ()
        assert verify(small.folder) == before
        assert before.sound
        assert small.snapshot.committed_images() == committed
        small.update(history[-1])
        assert_reads_right(small, history[-1])
