"""Stores that someone who means harm has made: refused, no other file is read, and memory is bounded."""

import hashlib
import io
import random
import shutil
import time
from dataclasses import replace

import h5py
import hdf5plugin
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store import open_store
from store.errors import DamagedStore, EnvironmentFailure, NotAStore
from store.formats import FORMATS
from store.formats.base import ROW_SCHEMA
from store.formats.hdf5_chunks import fletcher32
from store.maintenance import collect_garbage, repair, verify
from store.plan import Plan
from tests.attacks.hostile import edit_hdf5, little_memory, put_shard, raised
from tests.store.build import SPATIAL, SmallStore, edit_json, make_images, make_shard

IMAGES = make_images("a/1.png", "a/2.png", "b/3.png", "b/4.png", label="cat")
ROWS = len(IMAGES)


@pytest.fixture
def hdf5(tmp_path):
    """Four rows of (2, 3, 4), float16, in one HDF5 shard."""
    small = SmallStore(tmp_path / "store", (SPATIAL,), "hdf5")
    small.update(IMAGES, images_per_shard=ROWS)
    return small


@pytest.fixture
def parquet(small):
    """Four rows of five, float32, in one Parquet shard."""
    small.update(IMAGES, images_per_shard=ROWS)
    return small


# HDF5


def replaced(name, **dataset):
    def change(file):
        del file[name]
        file.create_dataset(name, **dataset)

    return change


def bomb(count):
    """A chunk that unpacks to that many bytes."""
    content = pa.Codec("zstd").compress(bytes(count), asbytes=True)
    return content + fletcher32(content).to_bytes(4, "little")


ABSURD = 2**40
HDF5_FEATURES = {
    "absurd rows": replaced("features", shape=(ABSURD, 2, 3, 4), dtype="f2", chunks=(1, 2, 3, 4)),
    "absurd width": replaced("features", shape=(ROWS, 2, 3, 2**30), dtype="f2", chunks=(1, 2, 3, 4)),
    "absurd type": replaced("features", shape=(ROWS, 2, 3, 4), dtype="S1000000"),
    "another filter": replaced("features", data=np.zeros((ROWS, 2, 3, 4), "f2"), chunks=(1, 2, 3, 4), **hdf5plugin.Blosc()),
    "a chunk that unpacks to a gigabyte": lambda file: file["features"].id.write_direct_chunk(
        (1, 0, 0, 0), bomb(2**30)
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", HDF5_FEATURES.values(), ids=HDF5_FEATURES)
def test_hostile_features_in_hdf5_are_refused(hdf5, change):
    edit_hdf5(hdf5, change)
    features = open_store(hdf5.folder.root)
    with little_memory():
        with pytest.raises(DamagedStore):
            features.arrays()
        assert not verify(hdf5.folder).sound
        repair(hdf5.folder)
    assert verify(hdf5.folder).pending == ROWS


HDF5_ROWS = {
    "absurd rows": [replaced(name, shape=(ABSURD,), dtype=h5py.string_dtype()) for name in ("path", "sha256")],
    "absurd numbers": [replaced("width", shape=(ABSURD,), dtype="i4")],
    "absurd type": [replaced("path", shape=(ROWS,), dtype="S2000000000")],
    "numbers of an absurd type": [replaced("view", shape=(ROWS,), dtype="V2000000000")],
}


@pytest.mark.parametrize("changes", HDF5_ROWS.values(), ids=HDF5_ROWS)
def test_hostile_rows_in_hdf5_are_refused(hdf5, changes):
    edit_hdf5(hdf5, lambda file: [change(file) for change in changes])
    with little_memory():
        with pytest.raises(DamagedStore):
            open_store(hdf5.folder.root).table()
        assert not verify(hdf5.folder).sound


@pytest.mark.parametrize("name", ["features", "path"])
@pytest.mark.parametrize("kind", ["link", "virtual"])
def test_a_shard_never_reads_another_file(hdf5, tmp_path, name, kind):
    secret = tmp_path / "secret.h5"
    shutil.copy(hdf5.shard_file(hdf5.snapshot.plan, 0), secret)

    def change(file):
        like = file[name]
        layout = h5py.VirtualLayout(like.shape, like.dtype)
        layout[:] = h5py.VirtualSource(str(secret), name, like.shape)
        del file[name]
        if kind == "link":
            file[name] = h5py.ExternalLink(str(secret), name)
        else:
            file.create_virtual_dataset(name, layout)

    edit_hdf5(hdf5, change)
    with pytest.raises(DamagedStore, match=f"column {name} "):
        open_store(hdf5.folder.root).arrays()
    assert not verify(hdf5.folder).sound


@pytest.mark.parametrize("bits", [60, pytest.param(None, marks=pytest.mark.slow)], ids=["some", "all"])
def test_a_shard_with_a_flipped_bit_and_the_right_digest_never_hangs(bits):
    """HDF5 itself loops for ever on one bit of the heap that has the texts, so that is read without it."""
    shard_format = FORMATS["hdf5"]
    data = shard_format.encode(make_shard(IMAGES, sorted(IMAGES), [SPATIAL]), [SPATIAL], "f")
    every = range(8 * len(data))
    slowest = 0.0
    for bit in every if bits is None else random.Random(0).sample(every, bits):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        start = time.monotonic()
        raised(lambda flipped=bytes(flipped): shard_format.rows(flipped, ROWS))
        raised(lambda flipped=bytes(flipped): shard_format.tensor(flipped, SPATIAL, count=ROWS))
        slowest = max(slowest, time.monotonic() - start)
    assert slowest < 5


def heap_of(data):
    """Where the heap with the texts begins in an HDF5 shard."""
    return data.index(b"GCOL")


HEAPS = {
    "an object of no size": lambda data, at: data[: at + 24] + bytes(8) + data[at + 32 :],
    "an object that is too large": lambda data, at: data[: at + 24] + b"\xff" * 8 + data[at + 32 :],
    "a heap that is too large": lambda data, at: data[: at + 8] + b"\xff" * 8 + data[at + 16 :],
    "a heap of no size": lambda data, at: data[: at + 8] + bytes(8) + data[at + 16 :],
    "another signature": lambda data, at: data[:at] + b"HEAP" + data[at + 4 :],
    "a number twice": lambda data, at: data[: at + 16] + b"\x02" + data[at + 17 :],
}


@pytest.mark.parametrize("change", HEAPS.values(), ids=HEAPS)
def test_a_heap_of_texts_that_is_not_one_is_refused(hdf5, change):
    data = hdf5.shard_file(hdf5.snapshot.plan, 0).read_bytes()
    put_shard(hdf5, change(data, heap_of(data)))
    with pytest.raises(DamagedStore, match="an HDF5 shard has"):
        open_store(hdf5.folder.root).table()


# Parquet


def parquet_of(table):
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd", max_rows_per_page=len(table), data_page_size=2**30)
    return sink.getvalue()


def rows_of(count, **columns):
    """A table as a shard's, of that many equal rows, which take next to nothing in the file."""
    made = {field.name: pa.nulls(count, field.type) for field in ROW_SCHEMA}
    made["features"] = pa.nulls(count, pa.list_(pa.float32(), 5))
    return pa.table({**made, **columns})


PARQUET = {
    "a million rows": lambda: rows_of(10**6),
    "other types": lambda: rows_of(ROWS, path=pa.array([1] * ROWS)),
    "lists of any length": lambda: rows_of(ROWS, features=pa.array([[1.0] * 10**5] * ROWS, pa.list_(pa.float32()))),
    "wide lists": lambda: rows_of(ROWS, features=pa.nulls(ROWS, pa.list_(pa.float32(), 10**6))),
}


@pytest.mark.parametrize("make", PARQUET.values(), ids=PARQUET)
def test_hostile_parquet_is_refused(parquet, make):
    put_shard(parquet, parquet_of(make()))
    with little_memory():
        with pytest.raises(DamagedStore):
            open_store(parquet.folder.root).arrays()
        assert not verify(parquet.folder).sound
        repair(parquet.folder)
    assert verify(parquet.folder).pending == ROWS


# Records, plans and the files that lead to them


@pytest.mark.parametrize(
    "shard",
    ["../secret", "../../etc/passwd", "/etc/passwd", f"{'a' * 64}.h5/../../x", f"{'A' * 64}.h5", f"{'a' * 64}.h5\n"],
)
def test_a_record_that_points_outside_is_damage(parquet, shard):
    edit_json(parquet.record_file(parquet.snapshot.plan, 0), shard=shard)
    found = verify(parquet.folder)
    assert "shard is" in found.damage[0].message
    assert found.pending == ROWS


def test_a_second_record_of_one_attempt_counts_for_nothing(parquet):
    """The name of a record says its shard and attempt in one way only."""
    path = parquet.record_file(parquet.snapshot.plan, 0)
    other = path.with_name(f"0{path.name}")
    other.write_bytes(path.read_bytes().replace(b"a/1.png", b"a/9.png"))
    assert verify(parquet.folder).sound
    path.unlink()
    assert verify(parquet.folder).pending == ROWS


def put_plan(small, table, **metadata):
    """Make a table the current plan, as `make_plan` would."""
    known = {"stillframe.shard_rows": "4", "stillframe.number": "2"} | metadata
    data = parquet_of(table.replace_schema_metadata(known))
    name = hashlib.sha256(data).hexdigest()
    small.folder.create(f"plan/{name}.parquet", data)
    assert small.writer.make_current(name, 2, "/data")


PLANS = {
    "no columns": (lambda rows: pa.table({"a": [1]}), {}, "has the columns"),
    "text for numbers": (lambda rows: rows, {"stillframe.shard_rows": "four"}, "cannot be read"),
    "no images in a shard": (lambda rows: rows, {"stillframe.shard_rows": "0"}, "expected 1 or more"),
    "an image twice": (lambda rows: pa.concat_tables([rows, rows]), {}, "twice"),
    "two billion shards": (
        lambda rows: rows.set_column(5, "shard", pa.array([0, 0, 0, 2**31 - 1], pa.int32())), {}, "in order"),
    "a key that leads outside": (
        lambda rows: rows.set_column(5, "shard", pa.nulls(ROWS, pa.int32())).set_column(
            6, "held_by", pa.array(["../../etc/0"] * ROWS).dictionary_encode()), {}, "key"),
    "in no shard": (lambda rows: rows.set_column(5, "shard", pa.nulls(ROWS, pa.int32())), {}, "in two shards or in none"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "metadata", "words"), PLANS.values(), ids=PLANS)
def test_a_hostile_plan_is_refused(parquet, change, metadata, words):
    put_plan(parquet, change(parquet.snapshot.plan.rows), **metadata)
    for look in (open_store, lambda root: verify(parquet.folder), lambda root: collect_garbage(parquet.folder)):
        with pytest.raises(DamagedStore, match=words):
            look(parquet.folder.root)
    repair(parquet.folder)
    assert len(open_store(parquet.folder.root)) == ROWS


def test_a_plan_that_claims_a_billion_rows_is_refused_before_it_is_read(parquet):
    rows = parquet.snapshot.plan.rows
    many = pa.table([pa.nulls(10**6, field.type) for field in rows.schema], schema=rows.schema)
    put_plan(parquet, many)
    with little_memory(50 * 10**6), pytest.raises(DamagedStore, match="claims 1,000,000 rows"):
        open_store(parquet.folder.root)


def test_a_plan_is_read_back_as_it_was_made(parquet):
    plan = parquet.snapshot.plan
    assert Plan.from_bytes(plan.name, plan.data) == plan


@pytest.mark.parametrize("version", [3, 10**30, "1", None, -1, [1]])
def test_a_version_from_the_future_is_refused(parquet, version):
    edit_json(parquet.folder.path("store.json"), version=version)
    with pytest.raises(NotAStore, match="this program reads 2"):
        open_store(parquet.folder.root)


HUGE = {"store.json": 2**21, "view/1.json": 2**21, "record": 2**29}


@pytest.mark.parametrize(("name", "size"), HUGE.items(), ids=HUGE)
def test_a_huge_small_file_is_refused_before_it_is_read(parquet, name, size):
    path = parquet.record_file(parquet.snapshot.plan, 0) if name == "record" else parquet.folder.path(name)
    with path.open("r+b") as file:
        file.truncate(size)
    with little_memory(100 * 10**6):
        error = raised(lambda: verify(parquet.folder))
        found = error or verify(parquet.folder).damage[0].message
    assert "at most" in str(found)


def test_an_absurd_shape_is_refused(tmp_path):
    absurd = replace(SPATIAL, shape=(2**20, 2**20, 4))
    with pytest.raises(DamagedStore, match=r"outputs\[0\]\.shape is \[1048576, 1048576, 4\]: expected"):
        SmallStore(tmp_path / "store", (absurd,), "hdf5")


def test_rows_that_do_not_fit_into_memory_are_the_machines_fault(hdf5, monkeypatch):
    def full(*_):
        raise MemoryError

    features = open_store(hdf5.folder.root)
    monkeypatch.setattr(np, "empty", full)
    with pytest.raises(EnvironmentFailure, match="do not fit into this machine's memory: read `batches`"):
        features._gather(features.find_output(None), np.arange(ROWS))
