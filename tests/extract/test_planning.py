"""What is listed against what is stored: the same answer as image by image."""

import os
import tempfile
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import extract.planning
from extract.planning import Changes, find_update, possibly_changed
from extract.request import RunOptions
from extract.resolve import resolve
from extract.sources.base import Listing
from store.errors import UsageError
from tests.store.build import BROKEN, Image, SmallStore, make_images, make_listing


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def small(tmp_path):
    """An empty store of vectors."""
    return SmallStore(tmp_path / "store")


def listing_of(images, root, retimed=()):
    """A listing of `images`, whose contents are written under `root`; `retimed` ones have another time."""
    for path, image in images.items():
        (root / path).write_text(image.content)
    table = make_listing(images)
    times = [2 if path in retimed else 1 for path in table["path"].to_pylist()]
    return Listing(str(root), table.set_column(table.schema.get_field_index("time"), "time", pa.array(times)))


def expected_shard_keys(stored, images, retimed, options):
    """By path, for each image the store is to have, its shard key or None: one image after the other."""
    listed = sorted(images)
    asked = listed if options.limit is None else sorted({*listed[: options.limit], *stored})
    shard_keys = {}
    for path in asked:
        known = stored.get(path)
        changed = known and path in images and path in retimed and images[path].sha256 != known["sha256"]
        retried = known and known["failed"] and options.retry_failed
        shard_keys[path] = known["shard_key"] if known and not changed and not retried else None
    return shard_keys


paths = st.sampled_from([f"{letter}.png" for letter in "abcdefgh"])
image_sets = st.dictionaries(paths, st.builds(Image, st.sampled_from(["first", "second", BROKEN])), min_size=1)


@settings(max_examples=50, deadline=None)  # each example writes a store; disks vary
@given(
    st.lists(image_sets, min_size=1, max_size=2),
    image_sets,
    st.sets(paths),
    st.none() | st.integers(1, 5),
    st.booleans(),
    st.booleans(),
)
def test_each_image_is_kept_changed_or_new_as_if_it_were_alone(history, images, retimed, limit, retry_failed, finished):
    with tempfile.TemporaryDirectory() as folder:
        small = SmallStore(Path(folder) / "store")
        for before in history:
            small.update(before, stop_after=None if finished else 1)
        snapshot = small.snapshot
        stored = {row["path"]: row for row in snapshot.committed_images().to_pylist()}
        request = resolve(RunOptions(folder, small.folder.root, limit=limit, retry_failed=retry_failed, prune=True))
        update = find_update(snapshot, listing_of(images, Path(folder), retimed), request)
        expected = expected_shard_keys(stored, images, retimed, request.options)
        assert dict(zip(update.table["path"].to_pylist(), update.shard_keys.to_pylist(), strict=True)) == expected
        assert update.table["path"].to_pylist() == sorted(expected)
        kept = expected.keys() & stored.keys()
        changed = {path for path in kept & retimed & images.keys() if images[path].sha256 != stored[path]["sha256"]}
        assert update.changes == Changes(
            new=len(expected) - len(kept),
            changed=len(changed),
            gone=len(stored) - len(kept),
            kept=len(kept) - len(changed),
        )
        assert update.to_compute == list(expected.values()).count(None)


def test_a_finished_store_needs_no_plan_for_the_same_images(small, tmp_path):
    images = make_images("a.png", "b.png", "c.png")
    small.update(images)
    request = resolve(RunOptions(tmp_path, small.folder.root))
    assert not find_update(small.snapshot, listing_of(images, tmp_path, retimed={"a.png"}), request).needs_plan
    assert find_update(small.snapshot, listing_of({**images, "d.png": Image()}, tmp_path), request).needs_plan


def test_another_size_is_another_content_without_reading_the_file(small, tmp_path):
    images = make_images("a.png")
    small.update(images)
    listing = listing_of(images, tmp_path)
    longer = listing.table.set_column(listing.table.schema.get_field_index("size"), "size", pa.array([101]))
    (tmp_path / "a.png").unlink()
    update = find_update(
        small.snapshot, Listing(str(tmp_path), longer), resolve(RunOptions(tmp_path, small.folder.root))
    )
    assert update.changes == Changes(new=0, changed=1, gone=0, kept=0)


@pytest.mark.parametrize("limit", [None, 1])
def test_more_than_half_of_the_images_gone_is_refused_whatever_the_limit(small, tmp_path, limit):
    images = {f"{letter}.png": Image(letter) for letter in "abcd"}
    small.update(images)
    request = resolve(RunOptions(tmp_path, small.folder.root, limit=limit))
    half = {path: images[path] for path in ("a.png", "b.png")}
    assert find_update(small.snapshot, listing_of(half, tmp_path), request).changes.gone == (2 if limit is None else 0)
    with pytest.raises(UsageError, match="3 of the 4 stored images are not in"):
        find_update(small.snapshot, listing_of({"a.png": images["a.png"]}, tmp_path), request)


@settings(max_examples=60, deadline=None)  # each example writes a store; disks vary
@given(image_sets, image_sets)
def test_only_more_than_half_of_the_images_gone_in_name_and_content_is_refused(stored, images):
    with tempfile.TemporaryDirectory() as folder:
        small = SmallStore(Path(folder) / "store")
        small.update(stored)
        request = resolve(RunOptions(folder, small.folder.root))
        here = {images[path].sha256 for path in images.keys() - stored.keys()}
        here |= {stored[path].sha256 for path in images.keys() & stored.keys()}
        lost = [path for path in stored.keys() - images.keys() if stored[path].sha256 not in here]
        listing = listing_of(images, Path(folder))
        if len(lost) * 2 > len(stored):
            with pytest.raises(UsageError, match=f"of the {len(stored)} stored images are not in .* under any name"):
                find_update(small.snapshot, listing, request)
        else:
            assert find_update(small.snapshot, listing, request).changes.gone == len(stored.keys() - images.keys())


@pytest.mark.parametrize(("sizes", "expected"), [([101, 102], []), ([100, 102], ["x.png"])])
def test_only_files_that_have_the_size_of_a_missing_image_are_read(small, tmp_path, monkeypatch, sizes, expected):
    read = []

    def reading(files, names):
        for name in names:
            read.append(name)
            yield ""

    monkeypatch.setattr(extract.planning, "digests", reading)
    small.update({f"{letter}.png": Image(letter) for letter in "abcd"})
    listing = make_listing(make_images("x.png", "y.png"))
    listing = listing.set_column(listing.schema.get_field_index("size"), "size", pa.array(sizes))
    with pytest.raises(UsageError, match="4 of the 4 stored images are not in"):
        find_update(small.snapshot, Listing(str(tmp_path), listing), resolve(RunOptions(tmp_path, small.folder.root)))
    assert read == expected


@pytest.mark.parametrize(("whole_seconds", "changed"), [(True, [False, False, True]), (False, [True, True, True])])
def test_times_of_object_stores_are_compared_to_the_second(whole_seconds, changed):
    """Some servers list milliseconds and answer whole seconds: every image would be downloaded again by each run."""
    listed = pa.table(
        {"size": [5, 5, 5], "time": [1_700_000_000_123_000_000, 1_700_000_000_000_000_000, 9_000_000_000]}
    )
    stored = pa.table(
        {
            "size": [5, 5, 5],
            "time": [1_700_000_000_000_000_000, 1_700_000_000_999_000_000, 10_000_000_000],
            "sha256": ["a", "b", "c"],
        }
    )
    possible, unsure = possibly_changed(listed, stored, whole_seconds)
    assert possible.tolist() == unsure.tolist() == changed
