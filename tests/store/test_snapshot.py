import json
import shutil
import tempfile

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store.errors import DamagedStore, NotAStore
from store.files.local import LocalFiles
from store.image_records import FAILURES, ROWS, Failure
from store.plan import make_plan
from store.records import ShardSlot
from store.snapshot import COMMITTED, Counts, load_snapshot
from tests.store.build import BROKEN, Image, SmallStore, edit_json, make_images, make_listing

IMAGES = make_images("a.png", "b.png", "c.png", "d.png", "e.png", label="cat")


def rows_of(snapshot):
    return sorted(path for shard in snapshot.committed_shards() for path in shard.record.rows["path"].to_pylist())


def committed_by_path(snapshot):
    return {row["path"]: row for row in snapshot.committed_images().to_pylist()}


def test_a_new_store_has_neither_plan_nor_rows(small):
    snapshot = small.snapshot
    assert (snapshot.info, snapshot.number, snapshot.current, snapshot.plan) == (small.info, 0, None, None)
    assert (len(snapshot.committed_images()), len(snapshot.committed_shards()), len(snapshot.failures())) == (0, 0, 0)
    assert (snapshot.committed_images().schema, snapshot.failures().schema) == (COMMITTED, FAILURES)
    assert snapshot.uncommitted_shards() == []
    counts = snapshot.counts()
    assert (counts.images, counts.rows, counts.failures, counts.pending) == (0, 0, 0, 0)


def test_a_folder_that_is_no_store_is_refused(tmp_path):
    with pytest.raises(NotAStore):
        load_snapshot(LocalFiles(tmp_path))


def test_images_are_rows_failures_or_pending(small):
    images = {**IMAGES, "b.png": Image(BROKEN)}
    plan = small.update(images, stop_after=1)
    snapshot = small.snapshot
    counts = snapshot.counts()
    assert (counts.images, counts.rows, counts.failures, counts.pending) == (5, 1, 1, 3)
    assert snapshot.uncommitted_shards() == [1, 2]
    assert snapshot.committed_images().schema == COMMITTED
    same = {"size": 100, "time": 1, "shard_key": f"{plan.name}/0"}
    assert snapshot.committed_images().to_pylist() == [
        {"path": "a.png", "sha256": images["a.png"].sha256, "failed": False, **same},
        {"path": "b.png", "sha256": images["b.png"].sha256, "failed": True, **same},
    ]
    (failure,) = snapshot.failures().to_pylist()
    assert Failure(**failure) == Failure("b.png", "decode", "not an image", images["b.png"].sha256, 100, 1)


def test_places_lie_in_ascending_order_in_plan_and_shard(small):
    small.update(IMAGES, images_per_shard=4)
    small.update({path: image for path, image in IMAGES.items() if path != "b.png"})
    shards = small.snapshot.committed_shards()
    assert [shard.numbers.tolist() for shard in shards] == [[0, 1, 2], [3]]
    assert [shard.shard_positions.tolist() for shard in shards] == [[0, 2, 3], [0]]


def test_a_shard_of_failures_alone_needs_no_file(small):
    small.update({path: Image(BROKEN) for path in IMAGES})
    assert small.folder.names("data") == []
    assert small.snapshot.committed_shards() == []
    assert len(small.snapshot.failures()) == 5


def test_the_view_of_the_highest_number_counts(small):
    for number in range(1, 12):
        small.publish(make_plan(make_listing(make_images(f"{number}.png")), pa.nulls(1), 1, number))
    snapshot = small.snapshot
    assert snapshot.number == 11
    assert snapshot.plan.rows["path"].to_pylist() == ["11.png"]


@pytest.mark.parametrize("name", ["view/12.json~", "view/.13.json.swp", "view/014.json", "view/².json", "view/x.json"])
def test_other_files_beside_the_views_are_passed_over(small, name):
    small.update(IMAGES)
    small.folder.create(name, b"not ours")
    assert small.snapshot.number == 1


@pytest.mark.parametrize("name", ["000000.2.json.bak", "000000.2.json~", "0.2.json", "000000.json", "x.2.json"])
def test_other_files_beside_the_records_are_passed_over(small, name):
    plan = small.update(IMAGES)
    small.folder.create(f"commit/{plan.name}/{name}", b"not ours")
    assert small.attempts(plan.name) == {0: 1, 1: 1, 2: 1}
    assert small.snapshot.counts().rows == 5


def test_files_without_a_record_do_not_exist(small):
    plan = small.update(IMAGES, stop_after=1)
    small.leave_shard(IMAGES, ["c.png", "d.png"])
    assert len(small.folder.names("data")) == 2
    assert small.snapshot.counts().rows == 2
    assert small.snapshot.uncommitted_shards() == [1, 2]
    assert rows_of(small.snapshot) == ["a.png", "b.png"]
    assert f"{plan.name}/1" not in small.snapshot.records


def test_records_of_shards_that_the_plan_does_not_know_do_not_exist(small):
    plan = small.update(IMAGES)
    small.commit(plan, 7, IMAGES, ["a.png"])
    assert set(small.snapshot.records) == {f"{plan.name}/{index}" for index in range(3)}


def test_the_highest_attempt_counts(small):
    plan = small.update(IMAGES)
    for number in range(2, 12):
        images = {**IMAGES, "a.png": Image(f"attempt {number}")}
        assert small.commit(plan, 0, images).attempt == number
    assert small.attempts(plan.name) == {0: 11, 1: 1, 2: 1}
    assert committed_by_path(small.snapshot)["a.png"]["sha256"] == Image("attempt 11").sha256


def test_a_withdrawn_shard_is_uncommitted_until_it_is_committed_again(small):
    plan = small.update(IMAGES)
    small.commit(plan, 1, IMAGES)
    edit_json(small.record_file(plan, 1, 2), shard="", shard_bytes=0, rows=[], withdrawn="for a test")
    assert small.snapshot.uncommitted_shards() == [1]
    assert small.snapshot.counts().pending == 2
    assert small.snapshot.damaged_records == {}
    small.commit(plan, 1, IMAGES)
    assert small.snapshot.uncommitted_shards() == []


def test_an_unreadable_record_is_set_apart_and_the_rest_stands(small):
    plan = small.update(IMAGES)
    small.record_file(plan, 1).write_bytes(b"{")
    snapshot = small.snapshot
    assert list(snapshot.damaged_records) == [ShardSlot(plan.name, 1, 1).file]
    assert snapshot.uncommitted_shards() == [1]
    assert snapshot.counts().rows == 3


@pytest.mark.parametrize("changed", [{"plan": "f" * 64}, {"index": 2}, {"attempt": 4}])
def test_a_record_under_another_records_name_is_damage(small, changed):
    plan = small.update(IMAGES)
    edit_json(small.record_file(plan, 1), **changed)
    (message,) = small.snapshot.damaged_records.values()
    assert message.startswith("says it is attempt")
    assert f"{plan.name}/1" not in small.snapshot.records


def test_held_rows_stay_in_the_shards_that_have_them(small):
    first = small.update(IMAGES)
    images = {**IMAGES, "b.png": Image("second"), "x.png": Image()}
    del images["e.png"]
    second = small.update(images)
    committed = committed_by_path(small.snapshot)
    assert {path: row["shard_key"] for path, row in committed.items()} == {
        "a.png": f"{first.name}/0",
        "b.png": f"{second.name}/0",
        "c.png": f"{first.name}/1",
        "d.png": f"{first.name}/1",
        "x.png": f"{second.name}/0",
    }
    assert committed["b.png"]["sha256"] == Image("second").sha256
    assert f"{first.name}/2" not in small.snapshot.records


def test_a_plan_that_is_missing_or_damaged_is_said(small):
    plan = small.update(IMAGES)
    path = small.folder.path(f"plan/{plan.name}.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedStore, match="is damaged"):
        load_snapshot(small.folder)
    path.unlink()
    with pytest.raises(DamagedStore, match="is missing"):
        load_snapshot(small.folder)


def test_a_damaged_view_is_said_and_older_ones_are_not_taken_instead(small):
    small.update(IMAGES)
    small.update({**IMAGES, "x.png": Image()})
    small.folder.path("view/2.json").write_bytes(b"{")
    with pytest.raises(DamagedStore, match="view"):
        load_snapshot(small.folder)


def test_a_copied_store_is_the_same_store(small, tmp_path):
    small.update(IMAGES)
    shutil.copytree(small.folder.root, tmp_path / "copy")
    copy = load_snapshot(LocalFiles(tmp_path / "copy"))
    assert copy.committed_images() == small.snapshot.committed_images()


def stored_images(small):
    """What a store holds, straight from its JSON files: for each image of the plan its record and where it stands."""
    plan = small.snapshot.plan
    found = []
    for row in plan.rows.to_pylist():
        name, index = (row["held_by"] or f"{plan.name}/{row['shard']}").split("/")
        attempt = small.attempts(name).get(int(index))
        record = json.loads(small.folder.read(ShardSlot(name, int(index), attempt).file)) if attempt else {}
        rows = {path: position for position, (path, *_) in enumerate(record.get("rows", []))}
        failures = {failure["path"]: failure for failure in record.get("failures", [])}
        if row["path"] in rows or row["path"] in failures:
            found.append((row["path"], record, rows.get(row["path"]), failures.get(row["path"])))
    return found


contents = st.sampled_from(["first", "second", BROKEN])
histories = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from("abcdefgh"), st.builds(Image, contents), min_size=1),
        st.integers(1, 4),
        st.none() | st.integers(0, 2),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=30)
@given(histories)
def test_columns_say_what_the_records_say_one_by_one(history):
    with tempfile.TemporaryDirectory() as folder:
        small = SmallStore(folder)
        for images, images_per_shard, stop_after in history:
            small.update(images, images_per_shard, stop_after)
            snapshot = small.snapshot
            committed, failures, shown = [], [], {}
            for path, record, position, failure in stored_images(small):
                values = record["rows"][position] if failure is None else [failure[name] for name in ROWS.names]
                key = f"{record['plan']}/{record['index']}"
                committed.append(
                    {**dict(zip(ROWS.names, values, strict=True)), "failed": failure is not None, "shard_key": key}
                )
                if failure is not None:
                    failures.append(failure)
                else:
                    shown.setdefault(key, []).append((position, path))
            assert snapshot.committed_images().to_pylist() == committed
            assert snapshot.failures().to_pylist() == failures
            paths = snapshot.plan.rows["path"].to_pylist()
            shards = {
                f"{shard.record.plan}/{shard.record.index}": [
                    (position, paths[at])
                    for position, at in zip(shard.shard_positions.tolist(), shard.numbers.tolist(), strict=True)
                ]
                for shard in snapshot.committed_shards()
            }
            assert list(shards.items()) == [(key, sorted(pairs)) for key, pairs in shown.items()]
            rows = len(committed) - len(failures)
            assert snapshot.counts() == Counts(len(paths), rows, len(failures), len(paths) - len(committed))


def test_record_names_sort_like_their_numbers():
    assert ShardSlot("p", 12, 3).file == "commit/p/000012.3.json"
    assert ShardSlot("p", 1_234_567, 1).file == "commit/p/1234567.1.json"
