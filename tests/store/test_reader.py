import pickle
import tempfile
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from store import open_store
from store.errors import DamagedStore, NotAStore, UsageError
from store.formats.base import ROW_SCHEMA
from tests.store.build import (
    BROKEN,
    SPATIAL,
    VECTOR,
    Image,
    SmallStore,
    edit_json,
    feature_of,
    features_of,
    flip_bit,
    make_images,
)

IMAGES = {
    **make_images(*(f"cat/{number}.png" for number in range(7)), label="cat", split="train"),
    **make_images(*(f"dog/{number}.png" for number in range(4)), label="dog", split="test"),
    "odd\n猫\\\\.png": Image(),
}


@pytest.fixture
def filled(any_small):
    any_small.update(IMAGES)
    return any_small


def opened(small):
    return open_store(small.folder.root)


# Row mapping, after any history

histories = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from([f"{number:02d}.png" for number in range(9)]),
            st.builds(
                Image,
                content=st.sampled_from(["first", "second", "third", BROKEN]),
                label=st.sampled_from([None, "cat", "dog"]),
                split=st.sampled_from([None, "train", "test"]),
            ),
            max_size=9,
        ),
        st.integers(1, 4),  # images per shard
        st.none() | st.integers(0, 2),  # interrupted after this number of shards
    ),
    min_size=1,
    max_size=4,
)


def check_rows(small, expected, images):
    """Every way to read the store gives just the `expected` paths, sorted, each with its own features and label."""
    features = opened(small)
    (output,) = small.info.outputs
    tensor = features_of(images, expected, output)
    assert len(features) == len(expected)
    x, rows = features.arrays()
    assert rows["path"].to_pylist() == expected
    assert rows.to_pylist() == features.table().to_pylist()
    assert rows.schema == ROW_SCHEMA
    assert x.dtype == np.dtype(output.dtype)
    np.testing.assert_array_equal(x, tensor)
    for name in ("label", "split", "group", "sha256"):
        assert rows[name].to_pylist() == [getattr(images[path], name) for path in expected]
    batches = list(features.batches(2))
    assert [path for _, part in batches for path in part["path"].to_pylist()] == expected
    assert all(np.array_equal(x, features_of(images, part["path"].to_pylist(), output)) for x, part in batches)
    lazy = features.to_dask(chunk_rows=3)
    assert (lazy.shape, lazy.dtype) == (tensor.shape, tensor.dtype)
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), tensor)
    for split in {images[path].split for path in expected} - {None}:
        chosen = [path for path in expected if images[path].split == split]
        x, rows = features.arrays(split=split)
        assert rows["path"].to_pylist() == chosen
        np.testing.assert_array_equal(x, features_of(images, chosen, output))


@settings(max_examples=25)
@given(st.sampled_from([("hdf5", SPATIAL), ("parquet", VECTOR)]), histories)
def test_every_image_has_its_own_features_after_any_history(kind, history):
    shard_format, output = kind
    with tempfile.TemporaryDirectory() as folder:
        small = SmallStore(folder, (output,), shard_format)
        for images, images_per_shard, stop_after in history:
            kept = {
                row["path"]
                for row in small.snapshot.committed_images().to_pylist()
                if row["path"] in images and row["sha256"] == images[row["path"]].sha256
            }
            before = small.snapshot
            done = small.snapshot.records.keys()
            plan = small.update(images, images_per_shard, stop_after)
            fresh = [index for index in range(plan.shard_count) if f"{plan.name}/{index}" not in done][:stop_after]
            committed = {path for index in fresh for path in plan.shard_images(index)["path"].to_pylist()}
            present = sorted(path for path in kept | committed if images[path].content != BROKEN)
            check_rows(small, present, images)
            assert opened(small).complete == (kept | committed == set(images))
            if before.plan is not None and plan.name == before.plan.name:
                assert small.snapshot.number == before.number
        small.update(images)
        check_rows(small, sorted(path for path in images if images[path].content != BROKEN), images)
        assert small.snapshot.counts().pending == 0


def test_an_image_that_changes_twice_is_read_anew_twice(small):
    for content in ("first", "second", "third", "second"):
        images = {"a.png": Image(content), "b.png": Image("first")}
        small.update(images)
        check_rows(small, ["a.png", "b.png"], images)


def test_relabelling_computes_nothing_and_shows_at_once(filled):
    shards = filled.folder.names("data")
    images = {path: Image(image.content, "other", "validation", "g") for path, image in IMAGES.items()}
    filled.update(images)
    check_rows(filled, sorted(images), images)
    assert filled.folder.names("data") == shards
    assert opened(filled).arrays(split="validation")[1]["label"].unique().to_pylist() == ["other"]


# Batches


@settings(max_examples=15)
@given(st.integers(1, 8), st.integers(1, 14), st.integers(0, 2**32), st.sampled_from([None, "train", "test"]))
def test_shuffled_batches_give_each_row_once_with_its_features(images_per_shard, batch_size, seed, split):
    with tempfile.TemporaryDirectory() as folder:
        small = SmallStore(folder)
        small.update(IMAGES, images_per_shard)
        features = opened(small)
        batches = list(features.batches(batch_size, shuffle=True, seed=seed, split=split))
        paths = [path for _, rows in batches for path in rows["path"].to_pylist()]
        assert sorted(paths) == [path for path in sorted(IMAGES) if split in (None, IMAGES[path].split)]
        assert all(len(x) == len(rows) == batch_size for x, rows in batches[:-1])
        for x, rows in batches:
            np.testing.assert_array_equal(x, features_of(IMAGES, rows["path"].to_pylist(), VECTOR))


def order(features, **options):
    return [path for _, rows in features.batches(3, **options) for path in rows["path"].to_pylist()]


def test_the_same_seed_gives_the_same_order_and_another_seed_another(filled):
    features = opened(filled)
    orders = [order(features, shuffle=True, seed=seed) for seed in (1, 1, 2)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != order(features)
    assert order(opened(filled), shuffle=True, seed=1) == orders[0]


def test_batches_keep_few_shards_in_memory_and_read_each_once(filled, monkeypatch):
    import store.reader

    shard_format = store.reader.get_format(filled.info.shard_format)
    read = []
    tensor = type(shard_format).tensor

    def counted(self, source, *arguments):
        read.append(source)
        return tensor(self, source, *arguments)

    monkeypatch.setattr(type(shard_format), "tensor", counted)
    features = opened(filled)
    for _ in features.batches(3, shuffle=True):
        assert len(features._decoded) <= 4
    assert len(read) == len(set(read)) == len(filled.folder.names("data")) == 6


# What is asked for


def test_a_store_says_what_it_is(filled):
    features = opened(filled)
    (output,) = filled.info.outputs
    assert features.outputs == {"features": output}
    assert features.recipe == filled.info.recipe
    assert features.fingerprint == filled.info.recipe.fingerprint
    assert features.complete
    assert repr(features) == f"FeatureStore({str(filled.folder.root)!r}, 12 rows, outputs features)"
    assert features.verify().sound


def test_an_empty_store_reads_as_empty(any_small):
    (output,) = any_small.info.outputs
    features = opened(any_small)
    x, rows = features.arrays()
    assert (x.shape, x.dtype, len(rows), rows.schema) == ((0, *output.shape), np.dtype(output.dtype), 0, ROW_SCHEMA)
    assert list(features.batches(4, shuffle=True)) == []
    assert features.to_dask().compute().shape == (0, *output.shape)
    assert len(features) == 0
    assert not features.complete


def test_of_several_outputs_one_has_to_be_named(tmp_path):
    outputs = (SPATIAL, replace(VECTOR, name="pooled", pooling="none"))
    small = SmallStore(tmp_path / "store", outputs, "hdf5")
    small.update(IMAGES)
    features = opened(small)
    with pytest.raises(UsageError, match="choose one of features, pooled"):
        features.arrays()
    with pytest.raises(UsageError, match="no output 'other'"):
        features.to_dask("other")
    paths = sorted(IMAGES)
    for output in outputs:
        np.testing.assert_array_equal(features.arrays(output.name)[0], features_of(IMAGES, paths, output))
        batches = list(features.batches(5, output=output.name))
        np.testing.assert_array_equal(np.concatenate([x for x, _ in batches]), features_of(IMAGES, paths, output))


def test_a_split_that_is_not_there_is_refused_by_those_that_are(filled):
    with pytest.raises(UsageError, match="no rows of split 'validation': the store has test, train"):
        opened(filled).arrays(split="validation")
    with pytest.raises(UsageError, match="no rows of split 'val'"):
        next(opened(filled).batches(2, split="val"))


def test_a_store_without_splits_says_so(small):
    small.update(make_images("a.png"))
    with pytest.raises(UsageError, match="no splits"):
        opened(small).table("train")


def test_a_folder_without_a_store_is_refused(tmp_path):
    with pytest.raises(NotAStore):
        open_store(tmp_path / "nowhere")


def test_an_opened_store_stays_as_it_was_while_another_run_goes_on(small):
    small.update(IMAGES)
    features = opened(small)
    small.update({**IMAGES, "new.png": Image()})
    assert len(features) == len(IMAGES)
    assert len(opened(small)) == len(IMAGES) + 1
    assert "new.png" not in features.table()["path"].to_pylist()


def test_an_opened_store_can_be_sent_to_another_process(filled):
    features = opened(filled)
    next(features.batches(3))
    sent = pickle.loads(pickle.dumps(features))
    np.testing.assert_array_equal(sent.arrays()[0], features.arrays()[0])
    assert sent.table().equals(features.table())
    assert len(sent._decoded) == 0


def test_dask_computes_one_chunk_without_the_others(filled):
    lazy = opened(filled).to_dask(chunk_rows=5)
    assert lazy.numblocks[0] == 3
    (output,) = filled.info.outputs
    for index in (3, 4, 5):
        filled.shard_file(filled.snapshot.plan, index).unlink()
    first = lazy[:5].compute(scheduler="synchronous")
    np.testing.assert_array_equal(first, features_of(IMAGES, sorted(IMAGES)[:5], output))
    with pytest.raises(DamagedStore):
        lazy.compute(scheduler="synchronous")


# Damage


def readings(small):
    features = opened(small)
    yield "arrays", features.arrays
    yield "batches", lambda: list(opened(small).batches(4))
    yield "shuffled", lambda: list(opened(small).batches(4, shuffle=True))
    yield "dask", lambda: opened(small).to_dask().compute(scheduler="synchronous")


def assert_refused(small, but=()):
    for name, read in readings(small):
        if name not in but:
            with pytest.raises(DamagedStore):
                read()


def test_a_missing_shard_is_said_not_skipped(filled):
    plan = filled.snapshot.plan
    filled.shard_file(plan, 2).unlink()
    assert_refused(filled)
    with pytest.raises(DamagedStore, match=r"is missing: run `store repair .*`, then extract again"):
        opened(filled).table()


def test_a_truncated_shard_is_refused(filled):
    path = filled.shard_file(filled.snapshot.plan, 1)
    path.write_bytes(path.read_bytes()[:-20])
    assert_refused(filled)


def test_a_record_with_more_rows_than_its_shard_is_refused(filled):
    plan = filled.snapshot.plan
    name = filled.leave_shard(IMAGES, plan.shard_images(1)["path"].to_pylist()[:1])
    edit_json(filled.record_file(plan, 1), shard=name, shard_bytes=filled.folder.status(f"data/{name}").size)
    assert_refused(filled)


def test_a_record_of_other_rows_than_its_shards_is_refused(filled):
    plan = filled.snapshot.plan
    paths = plan.shard_images(1)["path"].to_pylist()
    name = filled.leave_shard(IMAGES, paths[::-1])
    edit_json(filled.record_file(plan, 1), shard=name, shard_bytes=filled.folder.status(f"data/{name}").size)
    assert_refused(filled, but=["dask"])  # which never reads the names


def test_a_flipped_bit_in_the_features_is_refused(any_small):
    from tests.store.test_formats import feature_bytes

    any_small.update(IMAGES)
    path = any_small.shard_file(any_small.snapshot.plan, 0)
    flip_bit(path, feature_bytes(any_small.info.shard_format, path.read_bytes())[-3])
    assert_refused(any_small)


def test_higher_attempts_win(filled):
    plan = filled.snapshot.plan
    images = {path: Image("second attempt", image.label, image.split) for path, image in IMAGES.items()}
    for index in range(plan.shard_count):
        filled.commit(plan, index, images)
    check_rows(filled, sorted(images), images)


def test_files_without_a_record_are_ignored(filled):
    filled.leave_shard({"x.png": Image()}, ["x.png"])
    filled.folder.create("data/junk", b"junk")
    check_rows(filled, sorted(IMAGES), IMAGES)


def test_text_columns_are_arrow_strings(filled):
    table = opened(filled).table()
    assert table.schema.field("label").type == pa.string()
    assert table["label"].num_chunks == 1


def test_features_of_different_images_differ():
    # What makes the comparisons above mean something.
    assert not np.array_equal(feature_of("a", Image("first"), VECTOR), feature_of("a", Image("second"), VECTOR))
    assert not np.array_equal(feature_of("a", Image("first"), VECTOR), feature_of("b", Image("first"), VECTOR))


@pytest.mark.parametrize("split", [None, "train"])
def test_labels_are_read_without_any_shard(filled, split):
    (filled.folder.root / "data").rename(filled.folder.root / "elsewhere")
    labels = opened(filled).labels(split)
    (filled.folder.root / "elsewhere").rename(filled.folder.root / "data")
    table = opened(filled).table(split)
    assert labels.equals(table.select(labels.column_names))
    assert set(table.column_names) - set(labels.column_names) == {"width", "height"}
