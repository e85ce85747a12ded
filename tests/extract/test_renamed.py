"""Images that the store has under another name: their features are copied, whatever shard has them."""

import sys
import time
from io import BytesIO

import numpy as np
import pillow_heif
import pytest
from PIL import Image

import extract.dry_run
import extract.resolve
from extract import extract as extract_images
from extract.dry_run import dry_run
from extract.request import RunOptions
from extract.summary import RunResult
from extract.text import format_dry_run, format_run
from store import open_store
from store.errors import UsageError
from store.files.local import LocalFiles
from store.known import find_known
from store.maintenance import collect_garbage
from tests.stub import StubRuntime, load_stub, make_images

STUB = {"backbone": "mobilenet_v2", "weights": "random", "image_size": (16, 16), "max_bad": 1, "shard_rows": 4}


@pytest.fixture
def loads():
    """One entry for each time the network was loaded."""
    return []


@pytest.fixture
def computed(monkeypatch, loads):
    """The number of views that the network has computed."""
    views = []

    class Counting(StubRuntime):
        def start(self, images):
            views.extend(images)
            return super().start(images)

    def load(spec, reporter=None):
        loads.append(spec)
        _, digest = load_stub(spec)
        return Counting(spec.dtype, spec.batch_size), digest

    monkeypatch.setattr(extract.resolve, "load_runtime", load)
    return views


def features_by_name(out):
    features, rows = open_store(out).arrays()
    return dict(zip(rows["path"].to_pylist(), features, strict=True))


def rename(data, old="dog", new="hound"):
    (data / old).rename(data / new)


@pytest.mark.parametrize("options", [{}, {"format": "parquet"}, {"augment": 2}], ids=["hdf5", "parquet", "views"])
def test_a_renamed_class_computes_nothing(data, out, computed, options):
    extract_images(data, out, **STUB, **options)
    before = open_store(out).arrays()
    rename(data)
    computed.clear()
    result = extract_images(data, out, **STUB, **options)
    assert computed == []
    assert (result.images, result.computed, result.reused, result.copied) == (12, 0, 12, 6)
    features, rows = open_store(out).arrays()
    assert np.array_equal(features, before[0])
    assert [path.replace("hound", "dog") for path in rows["path"].to_pylist()] == before[1]["path"].to_pylist()
    assert set(rows["label"].to_pylist()) == {"cat", "hound"}
    assert rows.select(["width", "height", "sha256", "view"]).equals(
        before[1].select(["width", "height", "sha256", "view"])
    )
    assert open_store(out).verify().sound


def test_all_images_may_be_renamed_and_none_lost_without_prune(data, out, computed):
    extract_images(data, out, **STUB)
    rename(data)
    rename(data, "cat", "lion")
    computed.clear()
    result = extract_images(data, out, **STUB)
    assert (result.copied, result.computed, computed) == (12, 0, [])
    for path in sorted((data / "lion").iterdir())[:4] + sorted((data / "hound").iterdir())[:3]:
        path.unlink()
    data.rename(data.with_name("photos"))
    rename(data.with_name("photos"), "lion", "puma")
    with pytest.raises(UsageError, match=r"7 of the 12 stored images are not in .*photos, under any name: .*--prune"):
        extract_images(data.with_name("photos"), out, **STUB)
    assert extract_images(data.with_name("photos"), out, prune=True, **STUB).images == 5


def test_images_that_are_renamed_are_not_counted_among_the_lost(tmp_path, computed):
    data, out = tmp_path / "data", tmp_path / "store"
    data.mkdir()
    for number in range(8):
        (data / f"{number}.png").write_bytes(b"x" * (number + 1))  # another size each
    extract_images(data, out, **STUB)
    for number in range(5):
        (data / f"{number}.png").unlink()
    for number in range(5, 8):
        (data / f"{number}.png").rename(data / f"renamed{number}.png")
    with pytest.raises(UsageError, match="5 of the 8 stored images are not in"):
        extract_images(data, out, **STUB)


def test_no_network_is_loaded_where_all_features_are_copied(data, out, computed, loads):
    extract_images(data, out, **STUB)
    rename(data)
    loads.clear()
    result = extract_images(data, out, **STUB)
    assert (result.copied, result.computed, loads) == (6, 0, [])
    copied = [record for record in open_store(out).snapshot.records.values() if record.copied]
    assert [record.environment.keys() & {"runtime", "batch_size", "device"} for record in copied] == [set(), set()]
    assert open_store(out).verify().sound


def test_the_network_is_loaded_once_an_image_of_the_same_size_is_another_one(data, out, computed, loads):
    extract_images(data, out, **STUB)
    rename(data)
    file = data / "hound" / "00003.png"
    pixels = 255 - np.asarray(Image.open(file))
    size = file.stat().st_size
    Image.fromarray(pixels).save(file, compress_level=0)
    assert file.stat().st_size == size
    loads.clear()
    computed.clear()
    result = extract_images(data, out, **STUB)
    assert (result.copied, result.computed, len(computed), len(loads)) == (5, 1, 1, 1)
    assert np.array_equal(features_by_name(out)["hound/00003.png"], StubRuntime().compute(pixels[None])[0].astype("f2"))
    assert result.computed_by != ()
    assert open_store(out).verify().sound


def test_the_seconds_of_a_shard_leave_out_how_long_its_network_was_loaded(data, out, computed, loads, monkeypatch):
    extract_images(data, out, **STUB)
    before = set(open_store(out).snapshot.records)
    for file in (data / "dog").iterdir():  # each has the size of a stored image and is none
        Image.fromarray(255 - np.asarray(Image.open(file))).save(file, compress_level=0)
    quick = extract.resolve.load_runtime
    monkeypatch.setattr(extract.resolve, "load_runtime", lambda *given: (time.sleep(1), quick(*given))[1])
    loads.clear()
    assert (extract_images(data, out, **STUB).computed, len(loads)) == (6, 1)
    records = open_store(out).snapshot.records
    assert [0 <= records[slot].seconds < 0.9 for slot in records.keys() - before] == [True, True]


def test_new_images_and_failures_stand_beside_renamed_ones(data, out, computed):
    extract_images(data, out, **STUB)
    before = features_by_name(out)
    rename(data)
    make_images(data, 5, start=100, classes=("hound",))
    (data / "hound" / "00003.png").with_name("bad.png").write_bytes(b"no image" * 100)
    computed.clear()
    result = extract_images(data, out, **STUB)
    assert (len(computed), result.copied, result.computed, result.failures) == (5, 6, 6, 1)
    after = features_by_name(out)
    assert all(np.array_equal(after[path.replace("dog", "hound")], tensor) for path, tensor in before.items())
    assert len(after) == 17
    assert open_store(out).verify().sound


def test_a_copy_of_a_stored_image_is_not_computed(data, out, computed):
    extract_images(data, out, **STUB)
    (data / "cat" / "copy.png").write_bytes((data / "dog" / "00001.png").read_bytes())
    computed.clear()
    assert extract_images(data, out, **STUB).copied == 1
    assert computed == []
    stored = features_by_name(out)
    assert np.array_equal(stored["cat/copy.png"], stored["dog/00001.png"])


def test_a_dry_run_says_what_would_be_copied(data, out, computed, monkeypatch):
    extract_images(data, out, **STUB)
    rename(data)
    make_images(data, 3, start=100, classes=("hound",))
    options = RunOptions(data=data, out=out, **STUB)
    plan = dry_run(options)
    assert (plan.images, plan.to_compute, plan.to_copy, plan.shards) == (15, 3, 6, 3)
    assert "15 images, 3 to compute and 6 renamed ones to copy in 3 shards" in format_dry_run(plan)[0]
    monkeypatch.setattr(extract.dry_run, "_DIGESTS", 3)  # of nine images that have the size of stored ones
    assert dry_run(options).to_copy in (3, 6)
    extract_images(data, out, part=(0, 3), **STUB)
    rest = dry_run(options)
    assert rest.to_compute + rest.to_copy == 5


def test_garbage_collection_keeps_what_an_unfinished_run_would_copy(data, out, computed):
    extract_images(data, out, **STUB)
    rename(data)
    extract_images(data, out, part=(0, 2), **STUB)
    collect_garbage(LocalFiles(out), min_age=-1)
    computed.clear()
    assert extract_images(data, out, **STUB).copied > 0
    assert computed == []
    assert open_store(out).verify().sound
    deleted = collect_garbage(LocalFiles(out), min_age=-1).names
    assert any(name.startswith("data/") for name in deleted)
    assert open_store(out).verify().sound


def test_every_part_finds_what_was_renamed_though_the_first_one_made_the_plan(data, out, computed):
    extract_images(data, out, **STUB)
    rename(data)
    computed.clear()
    copied = [extract_images(data, out, part=(number, 2), **STUB).copied for number in range(2)]
    assert sorted(copied) == [2, 4]
    assert computed == []


def test_a_shard_that_is_gone_or_damaged_is_computed_again(data, out, computed):
    extract_images(data, out, **STUB)
    before = features_by_name(out)
    first, *_, last = sorted((out / "data").iterdir())
    first.unlink()
    last.write_bytes(b"damage")
    rename(data)
    rename(data, "cat", "lion")
    computed.clear()
    result = extract_images(data, out, prune=True, **STUB)
    assert (result.computed, result.copied) == (8, 4) == (len(computed), 12 - len(computed))
    after = features_by_name(out)
    assert all(
        np.array_equal(after[path.replace("dog", "hound").replace("cat", "lion")], tensor)
        for path, tensor in before.items()
    )


def test_images_of_other_sizes_are_not_even_looked_up(data, out, computed):
    extract_images(data, out, **STUB)
    (data / "cat" / "new.jpg").write_bytes(b"a size of its own")
    extract_images(data, out, **STUB)
    store = open_store(out)
    assert len(find_known(store.folder, store.snapshot)) == 0


def test_a_photo_that_needs_an_extra_is_decoded_once_that_is_there(data, out, computed, monkeypatch):
    sink = BytesIO()
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), "red")).save(sink)
    (data / "cat" / "photo.heic").write_bytes(sink.getvalue())
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pillow_heif", None)
        result = extract_images(data, out, **STUB)
    assert result.failures_by_code == {"needs_extra": 1}
    assert any("--retry-failed" in line for line in format_run(result))
    assert extract_images(data, out, retry_failed=True, **STUB).failures == 0


def test_what_was_copied_is_said_and_recorded(data, out, computed):
    extract_images(data, out, **STUB)
    rename(data)
    result: RunResult = extract_images(data, out, **STUB)
    assert "6 images are known under another name: their features are copied" in format_run(result)
    records = open_store(out).snapshot.records.values()
    assert sum(record.copied for record in records) == 6
