"""docs/store-format.md: the code in it is run, and what it reads is what was stored."""

import json
import re
from pathlib import Path

import duckdb
import h5py
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from store import open_store
from store.formats import get_format
from store.maintenance import repair
from store.recipe import Output
from tests.store.build import (
    BROKEN,
    SPATIAL,
    VECTOR,
    Image,
    SmallStore,
    feature_of,
    flip_bit,
    make_images,
    make_shard,
)

DOCUMENT = Path(__file__).parent.parent / "docs" / "store-format.md"
CODE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def build(root, output, shard_format):
    """A store that has lived: images changed, gone, broken, relabelled, a shard repaired, one nobody committed."""
    small = SmallStore(root, (output,), shard_format)
    images = make_images("a.png", "b.png", "c.png", "d\n'.png", "gone.png", label="old", split="train")
    small.update(images)
    del images["gone.png"]
    images["b.png"] = Image("other", "old", "test")
    images["c.png"] = Image(images["c.png"].content, "new", None)
    images |= {"e\\\\x.png": Image(), "f.png": Image(BROKEN), "g.png": Image(BROKEN), "h.png": Image(BROKEN)}
    plan = small.update(images)
    flip_bit(small.shard_file(plan, 0), 100)
    assert repair(small.folder).withdrawn
    small.update(images)
    small.leave_shard(make_images("stray.png"), ["stray.png"])
    return images


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The folder with both stores, and the images in them."""
    root = tmp_path_factory.mktemp("stores")
    images = build(root / "store-hdf5", SPATIAL, "hdf5")
    assert build(root / "store-parquet", VECTOR, "parquet") == images
    return root, images


@pytest.fixture(scope="module")
def read(stores):
    """The names that the document's code leaves behind, run in order beside the stores."""
    code = CODE.findall(DOCUMENT.read_text())
    assert len(code) == 6
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(stores[0])
        for number, block in enumerate(code):
            exec(compile(block, f"{DOCUMENT.name}, block {number}", "exec"), names)
    return names


def good(stores):
    return {path: image for path, image in sorted(stores[1].items()) if image.content != BROKEN}


def expected(stores, output):
    return np.stack([feature_of(path, image, output) for path, image in good(stores).items()])


def test_the_stores_have_all_that_the_document_tells_of(stores):
    for name in ("store-hdf5", "store-parquet"):
        root = stores[0] / name
        records = [json.loads(path.read_text()) for path in root.glob("commit/*/*.json")]
        assert any(record["withdrawn"] for record in records)
        assert max(record["attempt"] for record in records) == 3
        assert any(not record["shard"] and not record["withdrawn"] for record in records)
        assert {path.name for path in root.glob("data/*")} > {record["shard"] for record in records} - {""}
        held_by = open_store(root).snapshot.plan.rows["held_by"]
        assert 0 < held_by.null_count < len(held_by)


def test_the_rows_are_those_of_the_current_plan(stores, read):
    for name in ("store-hdf5", "store-parquet"):
        rows = read["stored_rows"](stores[0] / name)
        described = [(row["path"], row["label"], row["split"], row["group"]) for row in rows]
        assert described == [(path, image.label, image.split, image.group) for path, image in good(stores).items()]


def test_h5py_reads_what_was_stored(stores, read):
    assert np.array_equal(read["X"], expected(stores, SPATIAL))
    assert read["X"].dtype == np.float16
    assert np.array_equal(read["X"], open_store(stores[0] / "store-hdf5").arrays()[0])


def test_pyarrow_reads_what_was_stored(stores, read):
    assert np.array_equal(read["X_arrow"], expected(stores, VECTOR))
    assert np.array_equal(read["X_arrow"], open_store(stores[0] / "store-parquet").arrays()[0])


def test_duckdb_reads_what_was_stored(stores, read):
    table = read["duck"]
    assert table["path"].to_pylist() == list(good(stores))
    assert table["label"].to_pylist() == [image.label for image in good(stores).values()]
    assert np.array_equal(np.array(table["features"].to_pylist(), np.float32), expected(stores, VECTOR))


def test_polars_reads_what_was_stored(stores, read):
    assert read["frame"]["path"].to_list() == list(good(stores))
    assert read["frame"]["label"].to_list() == [image.label for image in good(stores).values()]
    assert np.array_equal(read["X_polars"], expected(stores, VECTOR))


def test_failures_are_found(read):
    assert read["failed"] == dict.fromkeys(["f.png", "g.png", "h.png"], "not an image")


def test_the_keys_and_columns_in_the_tables_are_those_of_the_files(stores):
    text = DOCUMENT.read_text()
    for name in ("store-hdf5", "store-parquet"):
        root = stores[0] / name
        records = [json.loads(path.read_text()) for path in root.glob("commit/*/*.json")]
        named = set(json.loads((root / "store.json").read_text())).union(*records)
        named |= {key for record in records for failure in record["failures"] for key in failure}
        named |= {field for record in records for field in record["row_fields"]}
        named |= set(json.loads((root / "view" / "1.json").read_text()))
        for path in root.glob("plan/*.parquet"):
            schema = pq.read_schema(path)
            named |= set(schema.names) | {key.decode() for key in schema.metadata if key.startswith(b"stillframe")}
        assert [key for key in sorted(named) if f"`{key}`" not in text] == []


def test_an_hdf5_shard_is_as_the_document_says(stores):
    path = next((stores[0] / "store-hdf5" / "data").glob("*.h5"))
    with h5py.File(path) as file:
        features = file["features"]
        assert features.chunks == (1, *SPATIAL.shape)
        assert features.fletcher32
        filters = features.id.get_create_plist()
        assert 32015 in [filters.get_filter(number)[0] for number in range(filters.get_nfilters())]
        assert list(file) == sorted(
            ["path", "label", "split", "group", "view", "width", "height", "sha256", "features"]
        )
        assert set(json.loads(file.attrs["stillframe"])) == {"fingerprint", "outputs"}
        assert h5py.check_string_dtype(file["path"].dtype) == ("utf-8", None)


def test_a_parquet_shard_is_as_the_document_says(stores):
    path = next((stores[0] / "store-parquet" / "data").glob("*.parquet"))
    schema = pq.read_schema(path)
    assert schema.field("features").type == pa.list_(pa.float32(), 5)
    assert set(json.loads(schema.metadata[b"stillframe"])) == {"fingerprint", "outputs"}
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_who_notices_a_flipped_bit_in_parquet_is_as_the_document_says(stores, tmp_path):
    whole = next((stores[0] / "store-parquet" / "data").glob("*.parquet"))
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(whole.read_bytes())
    column = pq.ParquetFile(whole).metadata.row_group(0).column(8)
    assert column.path_in_schema.startswith("features")
    flip_bit(damaged, column.data_page_offset + column.total_compressed_size - 1)
    with pytest.raises(OSError, match="CRC"):
        pq.read_table(damaged, page_checksum_verification=True)
    for read_features in (
        lambda path: duckdb.sql(f"SELECT features FROM '{path}'").fetchall(),
        lambda path: pl.read_parquet(path)["features"].to_list(),
    ):
        assert read_features(damaged) != read_features(whole)


def test_float16_in_parquet_is_read_as_the_document_says(tmp_path):
    output = Output("features", "top", "avg", (4,), "float16")
    shard = make_shard(make_images("a.png", "b.png"), ["a.png", "b.png"], [output])
    path = tmp_path / "shard.parquet"
    path.write_bytes(get_format("parquet").encode(shard, [output], "0" * 64))
    stored = shard.tensors["features"]
    assert pq.read_schema(path).field("features").type == pa.list_(pa.float16(), 4)
    by_polars = pl.read_parquet(path)["features"].to_numpy()
    assert by_polars.dtype == np.float16
    assert np.array_equal(by_polars, stored)
    relation = duckdb.sql(f"SELECT features FROM '{path}'")
    assert [str(kind) for kind in relation.types] == ["FLOAT[]"]
    assert np.array_equal(np.array([row[0] for row in relation.fetchall()], np.float32), stored)
    with pytest.raises(duckdb.NotImplementedException):
        duckdb.from_arrow(pq.read_table(path)).fetchall()
