"""store.json, the newest file in view/ and the plan, damaged or missing, and what `repair` makes of it."""

import json
import tempfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import open_store
from store.errors import DamagedStore, NotAStore
from store.files.base import COPY, INFO
from store.maintenance import collect_garbage, repair, verify
from store.records import StoreInfo
from tests.store.build import BROKEN, Image, SmallStore, edit_json, features_of, flip_bit, make_images

IMAGES = {
    **make_images("a.png", "b.png", "c.png", label="cat", split="train"),
    "d.png": Image(BROKEN, "dog"),
    "e.png": Image("first", "dog", "test", "g"),
}
ROWS = [path for path in sorted(IMAGES) if path != "d.png"]


@pytest.fixture
def filled(any_small):
    any_small.update(IMAGES)
    return any_small


def damaged(path):
    path.write_bytes(path.read_bytes()[:-5])


def missing(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def flipped(path):
    flip_bit(path, path.stat().st_size // 2)


every_way = pytest.mark.parametrize("spoil", [damaged, missing, empty, flipped], ids=lambda spoil: spoil.__name__)


def assert_all_rows(small, images=IMAGES):
    rows = sorted(path for path, image in images.items() if image.content != BROKEN)
    x, table = open_store(small.folder.root).arrays()
    assert table["path"].to_pylist() == rows
    assert table["label"].to_pylist() == [images[path].label for path in rows]
    assert table["split"].to_pylist() == [images[path].split for path in rows]
    np.testing.assert_array_equal(x, features_of(images, rows, small.info.outputs[0]))


# store.json


def test_a_new_store_has_a_copy_of_store_json(small):
    assert small.folder.read(COPY) == small.folder.read(INFO)


def test_an_older_store_gets_its_copy_with_the_next_plan(small):
    small.folder.path(COPY).unlink()
    small.update(IMAGES)
    assert small.folder.read(COPY) == small.folder.read(INFO)


@every_way
def test_store_json_is_rebuilt_from_its_copy(filled, spoil):
    content = filled.folder.read(INFO)
    spoil(filled.folder.path(INFO))
    with pytest.raises(DamagedStore, match="run `store repair"):
        open_store(filled.folder.root)
    done = repair(filled.folder)
    assert done.rebuilt == ("store.json was damaged or missing: it is rebuilt from store.copy.json",)
    assert done.withdrawn == ()
    assert filled.folder.read(INFO) == content
    assert verify(filled.folder).sound
    assert_all_rows(filled)


@every_way
def test_the_copy_is_rebuilt_from_store_json(filled, spoil):
    spoil(filled.folder.path(COPY))
    found = verify(filled.folder)
    assert found.sound == (spoil is missing)  # as older stores have none
    done = repair(filled.folder)
    assert done.rebuilt == (() if spoil is missing else ("store.copy.json was damaged: it is rebuilt from store.json",))
    assert verify(filled.folder).sound


def test_a_folder_that_lost_its_store_json_is_no_free_folder(filled):
    filled.folder.path(INFO).unlink()
    with pytest.raises(DamagedStore, match=r"store\.json is missing: run `store repair"):
        filled.folder.require_free()


@every_way
def test_without_a_sound_copy_the_damage_is_said_and_nothing_is_changed(filled, spoil):
    spoil(filled.folder.path(INFO))
    spoil(filled.folder.path(COPY))
    before = filled.files()
    with pytest.raises(NotAStore if spoil is missing else DamagedStore):
        repair(filled.folder)
    assert filled.files() == before


def test_a_store_of_a_newer_version_is_not_repaired(filled):
    for name in (INFO, COPY):
        edit_json(filled.folder.path(name), version=3)
    before = filled.files()
    with pytest.raises(NotAStore, match="version 3"):
        repair(filled.folder)
    assert filled.files() == before


# view/


@every_way
def test_a_damaged_view_is_replaced_by_one_that_names_the_same_plan(filled, spoil):
    images = {**IMAGES, "b.png": Image("second", "cat", "train"), **make_images("x.png", label="new")}
    plan = filled.update(images)
    before = filled.files()
    spoil(filled.folder.path("view/2.json"))
    if spoil is missing:
        filled.folder.path("view/1.json").unlink()
    with pytest.raises(DamagedStore, match="store repair"):
        open_store(filled.folder.root)
    (said,) = repair(filled.folder).rebuilt
    assert "the plan that it named is the current one again" in said
    assert filled.snapshot.plan.name == plan.name
    assert verify(filled.folder).sound
    assert_all_rows(filled, images)
    assert filled.update(images).name == plan.name  # nothing to do
    assert all(filled.files()[name] == data for name, data in before.items() if not name.startswith("view/"))


def test_of_two_plans_of_one_number_the_one_with_commits_is_current_again(small):
    small.update(IMAGES)
    first = small.snapshot.plan
    other = SmallStore(small.folder.root.parent / "other")
    other.update(make_images("z.png"), stop_after=0)
    loser = other.snapshot.plan
    small.folder.create(loser.file, loser.data)
    damaged(small.folder.path("view/1.json"))
    repair(small.folder)
    assert small.snapshot.plan.name == first.name
    assert small.snapshot.current.data == ""


def test_where_the_images_were_is_kept_from_an_older_view(filled):
    filled.update({**IMAGES, **make_images("x.png")})
    damaged(filled.folder.path("view/2.json"))
    repair(filled.folder)
    assert filled.snapshot.current.data == "/data"


# plan/


@every_way
def test_a_damaged_plan_is_made_anew_from_the_records(filled, spoil):
    shards = filled.folder.names("data")
    spoil(filled.folder.path(filled.snapshot.plan.file))
    with pytest.raises(DamagedStore, match=r"run `store repair .+`"):
        open_store(filled.folder.root)
    (said,) = repair(filled.folder).rebuilt
    assert "a new one has the 5 images that the commit records have" in said
    found = verify(filled.folder)
    assert found.sound
    assert (found.images, found.rows, found.failures, found.pending) == (5, 4, 1, 0)
    assert_all_rows(filled)
    filled.update(IMAGES)  # labels of failures come back with the listing
    assert filled.folder.names("data") == shards
    assert filled.snapshot.plan.rows["label"].to_pylist() == [IMAGES[path].label for path in sorted(IMAGES)]


def test_of_an_image_in_two_shards_the_newest_counts(filled):
    images = {**IMAGES, "b.png": Image("second", "cat", "train")}
    plan = filled.update(images)
    damaged(filled.folder.path(plan.file))
    repair(filled.folder)
    assert_all_rows(filled, images)


def test_of_an_image_in_two_shards_of_plans_that_are_gone_the_record_written_later_counts(filled):
    import os

    first = filled.snapshot.plan
    images = {**IMAGES, "b.png": Image("second", "cat", "train")}
    second = filled.update(images)
    third = filled.update({**images, **make_images("x.png", label="cat", split="train")})
    for number, plan in enumerate((first, second)):
        filled.folder.path(plan.file).unlink()
        for path in filled.folder.path(f"commit/{plan.name}").iterdir():
            os.utime(path, (1e9 + number, 1e9 + number))
    damaged(filled.folder.path(third.file))
    repair(filled.folder)
    assert_all_rows(filled, {**images, **make_images("x.png", label="cat", split="train")})


def test_an_unfinished_store_without_its_plan_goes_on_after_repair(any_small):
    any_small.update(IMAGES, images_per_shard=2, stop_after=1)
    missing(any_small.folder.path(any_small.snapshot.plan.file))
    repair(any_small.folder)
    assert len(open_store(any_small.folder.root)) == 2
    any_small.update(IMAGES)
    assert verify(any_small.folder).sound
    assert_all_rows(any_small)


def test_view_and_plan_both_damaged(filled):
    damaged(filled.folder.path(filled.snapshot.plan.file))
    damaged(filled.folder.path("view/1.json"))
    repair(filled.folder)
    assert verify(filled.folder).sound
    assert_all_rows(filled)


def test_everything_small_damaged_at_once_and_a_shard_too(filled):
    plan = filled.snapshot.plan
    flip_bit(filled.shard_file(plan, 0), 50)
    for name in (INFO, plan.file, "view/1.json"):
        damaged(filled.folder.path(name))
    done = repair(filled.folder)
    assert len(done.rebuilt) == 2
    assert {damage.shard for damage in done.withdrawn} == {f"{plan.name}/0"}
    found = verify(filled.folder)
    assert found.sound
    assert found.pending == 2
    filled.update(IMAGES)
    assert_all_rows(filled)
    assert verify(filled.folder).pending == 0


def test_a_rebuilt_store_can_be_cleaned_up(filled):
    damaged(filled.folder.path(filled.snapshot.plan.file))
    damaged(filled.folder.path("view/1.json"))
    repair(filled.folder)
    collect_garbage(filled.folder, min_age=-1)
    assert verify(filled.folder).sound
    assert_all_rows(filled)
    assert filled.folder.names("view") == ["2.json"]


def test_repairing_twice_rebuilds_once(filled):
    damaged(filled.folder.path(filled.snapshot.plan.file))
    assert repair(filled.folder).rebuilt
    before = filled.files()
    assert repair(filled.folder).rebuilt == ()
    assert filled.files() == before


def test_a_store_without_anything_is_not_rebuilt(small):
    assert repair(small.folder).rebuilt == ()
    assert small.folder.names("view") == []


def test_what_is_rebuilt_is_what_was_written(filled):
    assert StoreInfo.from_bytes(filled.folder.read(COPY)) == filled.info
    assert json.loads(filled.folder.read(COPY))["digest"]


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
    st.sampled_from(["store.json", "view", "plan", "view and plan"]),
)
def test_after_any_history_repair_and_another_run_make_the_store_right(history, stop_after, what):
    with tempfile.TemporaryDirectory() as folder:
        small = SmallStore(folder)
        for images in history[:-1]:
            small.update(images)
        small.update(history[-1], stop_after=stop_after)
        snapshot = small.snapshot
        if "store.json" in what:
            damaged(small.folder.path(INFO))
        if "view" in what:
            damaged(small.folder.path(f"view/{snapshot.number}.json"))
        if "plan" in what:
            damaged(small.folder.path(snapshot.plan.file))
        assert repair(small.folder).rebuilt
        assert verify(small.folder).sound
        before = len(small.folder.names("data"))
        small.update(history[-1])
        assert verify(small.folder).pending == 0
        assert_all_rows(small, history[-1])
        if stop_after is None:
            assert len(small.folder.names("data")) == before  # nothing was computed again
