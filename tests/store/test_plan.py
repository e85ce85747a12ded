import hashlib
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from store.errors import DamagedStore
from store.plan import (
    LISTING_SCHEMA,
    MAX_SHARD_ROWS,
    SHARD_BYTES,
    Plan,
    automatic_images_per_shard,
    make_plan,
    plan_is_current,
)
from tests.store.build import Image, keys_of, make_images, make_listing

labels = st.none() | st.sampled_from(["cat", "dog"])
image_sets = st.dictionaries(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=6),
    st.builds(Image, label=labels, split=labels, group=labels),
    max_size=12,
)


def plan_of(images, keys, images_per_shard, number=0):
    listing = make_listing(images)
    return make_plan(listing, keys_of(listing, keys), images_per_shard, number)


def is_current(plan, images, keys, uncommitted):
    listing = make_listing(images)
    return plan_is_current(plan, listing, keys_of(listing, keys), uncommitted)


@st.composite
def planned(draw, min_size=0):
    """Images, which of them are in an older shard, and images per shard."""
    images = draw(image_sets.filter(lambda images: len(images) >= min_size))
    older = st.sampled_from([f"{letter * 64}/{number}" for letter in "ab" for number in range(2)])
    keys = {path: draw(older) for path in images if draw(st.booleans())}
    return images, keys, draw(st.integers(1, 5))


@given(planned())
@example(({}, {}, 1))
def test_every_image_occurs_once_with_an_older_shard_or_one_of_the_plan(case):
    images, keys, images_per_shard = case
    plan = plan_of(images, keys, images_per_shard)
    assert plan.rows["path"].to_pylist() == sorted(images)
    for row in plan.rows.to_pylist():
        assert row["held_by"] == keys.get(row["path"])
        assert (row["shard"] is None) == (row["path"] in keys)
        image = images[row["path"]]
        assert (row["label"], row["split"], row["group"]) == (image.label, image.split, image.group)


@given(planned())
@example(({}, {}, 1))
def test_shards_are_numbered_from_zero_and_filled_in_order(case):
    images, keys, images_per_shard = case
    plan = plan_of(images, keys, images_per_shard)
    shards = [plan.shard_images(index)["path"].to_pylist() for index in range(plan.shard_count)]
    pending = [path for path in sorted(images) if path not in keys]
    assert [path for shard in shards for path in shard] == pending
    assert plan.own_image_count == len(pending)
    assert all(len(shard) == images_per_shard for shard in shards[:-1])
    assert all(1 <= len(shard) <= images_per_shard for shard in shards[-1:])
    assert plan.shard_images(plan.shard_count)["path"].to_pylist() == []


@given(planned())
def test_shard_keys_name_the_older_shard_or_the_plans_own(case):
    images, keys, images_per_shard = case
    plan = plan_of(images, keys, images_per_shard)
    own = {
        path: f"{plan.name}/{index}"
        for index in range(plan.shard_count)
        for path in plan.shard_images(index)["path"].to_pylist()
    }
    assert plan.shard_keys().to_pylist() == [{**own, **keys}[path] for path in sorted(images)]


@given(planned())
def test_the_same_listing_gives_the_same_bytes(case):
    images, keys, images_per_shard = case
    plan = plan_of(images, keys, images_per_shard)
    again = plan_of(dict(reversed(images.items())), dict(reversed(keys.items())), images_per_shard)
    assert plan.data == again.data
    assert plan.name == hashlib.sha256(plan.data).hexdigest()


def test_bytes_do_not_depend_on_how_a_listing_lies_in_memory():
    listing = make_listing(make_images(*(f"{number:07d}.png" for number in range(5000)), label="cat"))
    pieces = pa.concat_tables([listing.slice(0, 1), listing.slice(1, 2000), listing.slice(2001)])
    assert make_plan(listing, pa.nulls(5000), 100).data == make_plan(pieces, pa.nulls(5000), 100).data


def test_two_views_never_have_the_same_plan():
    # A file that changes twice and keeps its length gives the same listing, and nothing is keys, both times.
    images = make_images("a.png")
    assert plan_of(images, {}, 10, number=1).name != plan_of(images, {}, 10, number=2).name


@given(planned())
def test_a_plan_read_back_is_the_plan_that_was_written(case):
    images, keys, images_per_shard = case
    plan = plan_of(images, keys, images_per_shard, number=7)
    read = Plan.from_bytes(plan.name, plan.data)
    assert read.rows.to_pylist() == plan.rows.to_pylist()
    assert (read.images_per_shard, read.number, read.name, read.data) == (images_per_shard, 7, plan.name, plan.data)
    assert read.shard_keys().to_pylist() == plan.shard_keys().to_pylist()


@given(planned(min_size=3))
def test_a_plan_in_pieces_is_the_same_plan(case):
    """A plan of more than a million rows is read back in several pieces, each with a dictionary of its own."""
    images, keys, images_per_shard = case
    plan = plan_of(images, keys, images_per_shard)
    pieces = [plan.rows.slice(start, 2) for start in range(0, len(images), 2)]
    encoded = [pc.dictionary_encode(piece["held_by"].cast(pa.string())) for piece in pieces]
    rows = pa.concat_tables(
        piece.set_column(6, "held_by", held_by) for piece, held_by in zip(pieces, encoded, strict=True)
    )
    split = Plan(rows, images_per_shard)
    split.__dict__.update(name=plan.name)
    assert split.shard_keys().to_pylist() == plan.shard_keys().to_pylist()
    for index in range(plan.shard_count + 1):
        assert split.shard_images(index).to_pylist() == plan.shard_images(index).to_pylist()
    assert is_current(split, images, keys, range(plan.shard_count))


def test_a_damaged_plan_is_refused():
    plan = plan_of(make_images("a.png", "b.png"), {}, 1)
    for position in (0, len(plan.data) // 2, len(plan.data) - 1):
        flipped = bytearray(plan.data)
        flipped[position] ^= 1
        with pytest.raises(DamagedStore, match=plan.name):
            Plan.from_bytes(plan.name, bytes(flipped))
    with pytest.raises(DamagedStore):
        Plan.from_bytes(plan.name, plan.data[:-1])


# plan_is_current


def held_when_committed(plan, committed):
    """What a store holds once those of the plan's own shards are committed."""
    return {
        row["path"]: key
        for row, key in zip(plan.rows.to_pylist(), plan.shard_keys().to_pylist(), strict=True)
        if row["shard"] is None or row["shard"] in committed
    }


@st.composite
def partly_committed(draw, min_size=0):
    images, keys, images_per_shard = draw(planned(min_size))
    plan = plan_of(images, keys, images_per_shard)
    committed = {index for index in range(plan.shard_count) if draw(st.booleans())}
    uncommitted = [index for index in range(plan.shard_count) if index not in committed]
    return images, plan, held_when_committed(plan, committed), uncommitted


@given(partly_committed())
def test_a_plan_stands_whichever_of_its_shards_are_committed(case):
    images, plan, keys, uncommitted = case
    assert is_current(plan, images, keys, uncommitted)


@given(partly_committed(min_size=1), st.data())
def test_a_plan_falls_when_an_image_comes_goes_or_is_described_anew(case, data):
    images, plan, keys, uncommitted = case
    path = data.draw(st.sampled_from(sorted(images)))
    gone = {name: image for name, image in images.items() if name != path}
    assert not is_current(plan, gone, keys, uncommitted)
    assert not is_current(plan, {**images, path + "x" * 7: Image()}, keys, uncommitted)
    for field in ("label", "split", "group"):
        described = {**images, path: replace(images[path], **{field: "another"})}
        assert not is_current(plan, described, keys, uncommitted)


@given(partly_committed(min_size=1), st.data())
def test_a_plan_falls_when_a_held_image_changes_or_is_held_elsewhere(case, data):
    images, plan, keys, uncommitted = case
    assume(keys)
    path = data.draw(st.sampled_from(sorted(keys)))
    changed = {name: key for name, key in keys.items() if name != path}
    assert not is_current(plan, images, changed, uncommitted)
    assert not is_current(plan, images, {**keys, path: "c" * 64 + "/0"}, uncommitted)


def test_a_touched_file_does_not_fell_a_plan():
    listing = make_listing(make_images("a.png"))
    plan = make_plan(listing, pa.nulls(1), 1)
    later = listing.set_column(listing.schema.get_field_index("time"), "time", pa.array([99], pa.int64()))
    assert plan_is_current(plan, later, pa.array([f"{plan.name}/0"]), [])


# Sizes


@given(st.integers(0, 2**40))
def test_an_automatic_shard_takes_128_megabytes_but_one_row_at_least(row_bytes):
    rows = automatic_images_per_shard(row_bytes)
    assert 1 <= rows <= MAX_SHARD_ROWS
    assert rows == 1 or rows * row_bytes <= SHARD_BYTES
    assert rows == MAX_SHARD_ROWS or (rows + 1) * row_bytes > SHARD_BYTES


@pytest.mark.parametrize(
    ("paths", "sound"),
    [
        (["a", "b", "ä", "猫"], True),
        (["b", "a", "c"], True),
        (["a", "a", "b"], False),
        (["a", "b", "a"], False),
        (["b", "a", "b"], False),
        (["a"], True),
        ([], True),
    ],
)
def test_a_plan_names_each_image_once_in_whatever_order(paths, sound):
    listing = pa.Table.from_pylist([{"path": path, "size": 1, "time": 1} for path in paths], LISTING_SCHEMA)
    plan = make_plan(listing, pa.nulls(len(paths), pa.string()), 2)
    if sound:
        assert Plan.from_bytes(plan.name, plan.data).rows["path"].to_pylist() == paths
    else:
        with pytest.raises(DamagedStore, match="names an image twice"):
            Plan.from_bytes(plan.name, plan.data)
