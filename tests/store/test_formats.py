"""One contract for every shard format, then what only one of them can get wrong."""

import io
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import h5py
import hdf5plugin
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import store.formats.hdf5
import store.formats.parquet
from store.choices import COMPRESSIONS
from store.errors import DamagedStore, UsageError
from store.formats import FORMATS, check_round_trip, get_format
from store.formats.base import ROW_SCHEMA, Shard
from store.formats.hdf5_chunks import fletcher32
from store.recipe import Output
from tests.store.build import SPATIAL, VECTOR, Image, feature_of, make_images, make_shard

PATHS = ["a.png", "line\nbreak.png", 'quoted "1".png', r"caf\xe9\\.png", "büro/猫.jpg", "z/😀.webp"]
IMAGES = {
    **make_images(*PATHS[:2], label="cat", split="train"),
    **make_images(*PATHS[2:4], label="chien très grand", group="g\n1"),
    **make_images(*PATHS[4:]),
}


def column_named(name, output=VECTOR):
    return replace(output, name=name)


@pytest.fixture(params=FORMATS, name="shard_format")
def every_format(request):
    return FORMATS[request.param]


@pytest.fixture(params=[SPATIAL, VECTOR], ids=["spatial", "vector"])
def output(request):
    return request.param


@pytest.fixture
def shard(output):
    return make_shard(IMAGES, PATHS, [output])


@pytest.fixture
def data(shard_format, shard, output):
    return shard_format.encode(shard, [output], "f" * 64)


def bits(tensor):
    return tensor.dtype, tensor.shape, np.ascontiguousarray(tensor).tobytes()


# What every format keeps


def test_rows_come_back_as_they_were(shard_format, data, shard):
    rows = shard_format.rows(data)
    assert rows.schema == ROW_SCHEMA
    assert rows.to_pylist() == shard.rows.to_pylist()


def test_absent_texts_come_back_as_none(shard_format, data):
    rows = shard_format.rows(data).to_pylist()
    assert [row["label"] for row in rows] == ["cat"] * 2 + ["chien très grand"] * 2 + [None] * 2
    assert [row["split"] for row in rows] == ["train"] * 2 + [None] * 4
    assert [row["group"] for row in rows] == [None] * 2 + ["g\n1"] * 2 + [None] * 2


def test_tensors_come_back_bit_for_bit(shard_format, data, output):
    tensor = shard_format.tensor(data, output)
    assert bits(tensor) == bits(np.stack([feature_of(path, IMAGES[path], output) for path in PATHS]))


def test_a_file_reads_like_its_bytes(shard_format, data, output, tmp_path):
    path = tmp_path / "shard"
    path.write_bytes(data)
    assert shard_format.rows(path).equals(shard_format.rows(data))
    assert bits(shard_format.tensor(path, output)) == bits(shard_format.tensor(data, output))


def test_a_file_in_a_folder_whose_name_is_not_utf8_is_no_damage(shard_format, data, output, tmp_path):
    path = tmp_path / os.fsdecode(b"by\xfftes") / "shard"
    path.parent.mkdir()
    path.write_bytes(data)
    assert bits(shard_format.tensor(path, output)) == bits(shard_format.tensor(data, output))


def test_several_threads_encode_at_a_time(shard_format, output):
    """As the writing threads of `extract together` do."""
    shard = make_shard(make_images(*map(str, range(200))), [str(number) for number in range(200)], [output])
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: shard_format.encode(shard, [output], "f" * 64), range(12)))
    assert len(set(found)) == 1


@pytest.mark.parametrize(
    "positions", [[], [0], [5], [0, 1, 2, 3, 4, 5], [2, 3, 4], [0, 1, 3, 4], [0, 5], [1, 4]], ids=str
)
def test_rows_can_be_selected(shard_format, data, output, positions):
    selected = shard_format.tensor(data, output, np.array(positions, np.int64))
    assert bits(selected) == bits(shard_format.tensor(data, output)[positions])


@pytest.mark.parametrize("positions", [[6], [5, 6], [0, 6], [3, 4, 5, 6, 7], [0, 1000]], ids=str)
def test_rows_beyond_the_last_are_refused(shard_format, data, output, positions):
    with pytest.raises(DamagedStore):
        shard_format.tensor(data, output, np.array(positions, np.int64))


def test_several_outputs_lie_side_by_side(shard_format):
    outputs = [column_named("block1", SPATIAL), column_named("block1.conv"), column_named("with space\nand 猫")]
    shard = make_shard(IMAGES, PATHS, outputs)
    data = shard_format.encode(shard, outputs, "f" * 64)
    check_round_trip(shard_format, data, shard, outputs)
    for output in outputs:
        assert bits(shard_format.tensor(data, output)) == bits(shard.tensors[output.name])
    assert shard_format.rows(data).equals(shard.rows)


@pytest.mark.parametrize(
    "output",
    [Output("features", "top", "none", (4, 4, 3), "float32"), Output("features", "top", "avg", (7,), "float16")],
)
def test_either_type_goes_with_either_shape(shard_format, output):
    shard = make_shard(IMAGES, PATHS, [output])
    check_round_trip(shard_format, shard_format.encode(shard, [output], "f" * 64), shard, [output])


def test_extreme_values_are_kept(shard_format):
    values = np.array([[65504, -65504, 6e-8, -0.0], [0, 1, -1, 2.0**-14]], np.float16)
    output = Output("features", "top", "avg", (4,), "float16")
    shard = Shard(make_shard(IMAGES, PATHS[:2], []).rows, {"features": values})
    assert bits(shard_format.tensor(shard_format.encode(shard, [output], "f"), output)) == bits(values)


def test_one_row_is_enough(shard_format, output):
    shard = make_shard(IMAGES, PATHS[:1], [output])
    check_round_trip(shard_format, shard_format.encode(shard, [output], "f"), shard, [output])


def test_the_same_shard_gives_the_same_bytes(shard_format, shard, output, data):
    assert shard_format.encode(shard, [output], "f" * 64) == data


@given(
    st.sampled_from(sorted(FORMATS)),
    st.dictionaries(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=8),
        st.builds(
            Image,
            content=st.sampled_from(["first", "second"]),
            label=st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_any_names_and_labels_make_the_round_trip(name, images):
    shard = make_shard(images, sorted(images), [VECTOR])
    shard_format = get_format(name)
    check_round_trip(shard_format, shard_format.encode(shard, [VECTOR], "f"), shard, [VECTOR])


@pytest.mark.parametrize("positions", [None, np.array([0, 3, 4]), np.array([], np.int64)], ids=["all", "some", "none"])
def test_rows_can_be_put_into_a_given_array(shard_format, data, output, positions):
    expected = shard_format.tensor(data, output, positions)
    place = np.full((len(expected) + 2, *output.shape), 7, output.dtype)
    shard_format.tensor(data, output, positions, place[1:-1])
    assert bits(place[1:-1]) == bits(expected)
    assert (place[[0, -1]] == 7).all()


def test_many_rows_keep_their_order(shard_format, output, tmp_path):
    images = make_images(*(f"{number:03d}.png" for number in range(100)))
    shard = make_shard(images, sorted(images), [output])
    path = tmp_path / "shard"
    path.write_bytes(shard_format.encode(shard, [output], "f"))
    assert bits(shard_format.tensor(path, output)) == bits(shard.tensors["features"])
    odd = np.arange(1, 100, 2)
    assert bits(shard_format.tensor(path, output, odd)) == bits(shard.tensors["features"][odd])


# What every format refuses


def feature_bytes(name, data):
    """Where the features lie in a shard file."""
    if name == "hdf5":
        with h5py.File(io.BytesIO(data)) as file:
            dataset = file["features"].id
            chunks = [dataset.get_chunk_info(number) for number in range(dataset.get_num_chunks())]
            return [byte for chunk in chunks for byte in range(chunk.byte_offset, chunk.byte_offset + chunk.size)]
    column = pq.ParquetFile(pa.BufferReader(data)).metadata.row_group(0).column(len(ROW_SCHEMA))
    assert column.path_in_schema.startswith("features.")
    return list(range(column.data_page_offset, column.data_page_offset + column.total_compressed_size))


def test_a_flipped_bit_never_gives_other_features(shard_format, data, output):
    written = bits(shard_format.tensor(data, output))
    refused, places = 0, feature_bytes(shard_format.name, data)
    for position in places:
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            try:
                # The header of a Parquet page has bits that change nothing, such as its statistics.
                assert bits(shard_format.tensor(bytes(flipped), output)) == written, (position, bit)
            except DamagedStore:
                refused += 1
    assert refused >= 0.8 * 8 * len(places)
    assert shard_format.name != "hdf5" or refused == 8 * len(places)


def test_truncated_bytes_are_refused(shard_format, data, output):
    for length in [*range(0, len(data), 97), len(data) - 1]:
        with pytest.raises(DamagedStore):
            shard_format.tensor(data[:length], output)
        with pytest.raises(DamagedStore):
            shard_format.rows(data[:length])


@pytest.mark.parametrize("content", [b"", b"not a shard", b"\x89HDF\r\n\x1a\n", b"PAR1PAR1", bytes(5000)])
def test_other_files_are_refused(shard_format, output, content):
    with pytest.raises(DamagedStore):
        shard_format.tensor(content, output)
    with pytest.raises(DamagedStore):
        shard_format.rows(content)


def test_another_formats_file_is_refused(shard_format, shard, output):
    for other in FORMATS.values():
        if other is not shard_format:
            data = other.encode(shard, [output], "f")
            with pytest.raises(DamagedStore):
                shard_format.tensor(data, output)
            with pytest.raises(DamagedStore):
                shard_format.rows(data)


@pytest.mark.parametrize(
    "asked",
    [
        column_named("elsewhere"),
        replace(VECTOR, shape=(4,)),
        replace(VECTOR, shape=(6,)),
        replace(VECTOR, shape=()),
        replace(VECTOR, dtype="float16"),
        replace(VECTOR, dtype="float64"),
        replace(VECTOR, dtype="int32"),
        column_named("path"),
        column_named("width"),
    ],
    ids=lambda output: f"{output.name} {output.dtype} {output.shape}",
)
@pytest.mark.parametrize("positions", [None, np.array([0, 5]), np.array([1, 2, 3])], ids=["all", "two", "three"])
def test_a_column_of_another_name_shape_or_type_is_refused(shard_format, asked, positions):
    shard = make_shard(IMAGES, PATHS, [VECTOR])
    data = shard_format.encode(shard, [VECTOR], "f")
    with pytest.raises(DamagedStore):
        shard_format.tensor(data, asked, positions)


@pytest.fixture
def added_column(monkeypatch):
    """A later version of this project, whose shards have one more column."""
    schema = ROW_SCHEMA.append(pa.field("camera", pa.string()))
    for module in (store.formats.parquet, store.formats.hdf5):
        monkeypatch.setattr(module, "ROW_SCHEMA", schema)
    return "camera"


def test_a_column_added_later_is_kept_with_its_nulls(shard_format, shard, output, added_column):
    cameras = pa.array([None, "left", *[None] * (len(shard.rows) - 2)], pa.string())
    shard = Shard(shard.rows.append_column(added_column, cameras), shard.tensors)
    check_round_trip(shard_format, shard_format.encode(shard, [output], "f"), shard, [output])


def test_an_older_shard_has_nulls_in_a_column_added_later(shard_format, data, shard, added_column):
    assert shard_format.rows(data).equals(
        shard.rows.append_column(added_column, pa.nulls(len(shard.rows), pa.string()))
    )


@pytest.mark.parametrize("name", ROW_SCHEMA.names)
def test_a_shard_without_a_column_that_all_have_is_refused(shard_format, shard, output, name, monkeypatch):
    with monkeypatch.context() as context:
        for module in (store.formats.parquet, store.formats.hdf5):
            context.setattr(module, "ROW_SCHEMA", pa.schema([field for field in ROW_SCHEMA if field.name != name]))
        data = shard_format.encode(Shard(shard.rows.drop_columns([name]), shard.tensors), [output], "f")
    with pytest.raises(DamagedStore, match=name):
        shard_format.rows(data)


def test_a_round_trip_that_changes_a_value_is_found(shard_format, data, shard, output):
    check_round_trip(shard_format, data, shard, [output])
    changed = shard.tensors["features"].copy()
    changed.flat[-1] += 1
    with pytest.raises(DamagedStore, match="did not read back"):
        check_round_trip(shard_format, data, Shard(shard.rows, {"features": changed}), [output])
    rows = shard.rows.set_column(0, "path", pa.array(["other", *PATHS[1:]]))
    with pytest.raises(DamagedStore, match="did not read back"):
        check_round_trip(shard_format, data, Shard(rows, shard.tensors), [output])


def test_a_round_trip_distinguishes_nan_and_signed_zero(shard_format, shard, output):
    values = shard.tensors["features"].copy()
    values.flat[0], values.flat[1] = np.nan, -0.0
    odd = Shard(shard.rows, {"features": values})
    data = shard_format.encode(odd, [output], "f")
    check_round_trip(shard_format, data, odd, [output])
    values = values.copy()
    values.flat[1] = 0.0
    with pytest.raises(DamagedStore):
        check_round_trip(shard_format, data, Shard(shard.rows, {"features": values}), [output])


def test_formats_are_found_by_name(shard_format):
    assert get_format(shard_format.name) is shard_format
    with pytest.raises(UsageError, match="hdf5, parquet"):
        get_format("zip")


# HDF5


@pytest.fixture
def hdf5():
    return FORMATS["hdf5"]


def edited(change, outputs=(VECTOR,)):
    """An HDF5 shard after `change(file)`."""
    sink = io.BytesIO(FORMATS["hdf5"].encode(make_shard(IMAGES, PATHS, outputs), outputs, "f"))
    with h5py.File(sink, "r+") as file:
        change(file)
    return sink.getvalue()


def replaced(name, **dataset):
    def change(file):
        del file[name]
        file.create_dataset(name, **dataset)

    return edited(change)


def test_hdf5_says_its_outputs_and_fingerprint(hdf5):
    with h5py.File(io.BytesIO(edited(lambda file: None))) as file:
        said = json.loads(file.attrs["stillframe"])
        assert said == {"fingerprint": "f", "outputs": [VECTOR.to_dict()]}
        assert file["features"].chunks == (1, *VECTOR.shape)
        assert file["features"].fletcher32


@pytest.mark.parametrize("length", [0, 1, 2, 3, 1000, 1001, 200_003])
@pytest.mark.parametrize("fill", [None, 0, 255])
def test_checksums_are_hdf5s_own(length, fill):
    drawn = np.random.default_rng(length).integers(0, 256, length, np.uint8)
    content = drawn if fill is None else np.full(length, fill, np.uint8)
    with h5py.File(io.BytesIO(), "w") as file:
        dataset = file.create_dataset("x", data=content, chunks=(max(1, length),), maxshape=(None,), fletcher32=True)
        if length:
            chunk = dataset.id.read_direct_chunk((0,))[1]
            assert fletcher32(chunk[:-4]) == int.from_bytes(chunk[-4:], "little")
        else:
            assert fletcher32(b"") == 0


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"chunks": (2, 5)},
        {"chunks": (1, 5), "compression": "gzip"},
        {"chunks": (1, 5), "fletcher32": True},
        {"chunks": (1, 5), "shuffle": True, "fletcher32": True, **hdf5plugin.Zstd(clevel=1)},
        {"chunks": (1, 5), **hdf5plugin.Zstd(clevel=1)},
    ],
    ids=["contiguous", "larger chunks", "gzip", "no zstd", "shuffled", "no checksum"],
)
@pytest.mark.parametrize("positions", [None, np.array([0, 5])], ids=["all", "two"])
def test_hdf5_reads_what_another_program_wrote_differently(hdf5, written, positions):
    values = make_shard(IMAGES, PATHS, [VECTOR]).tensors["features"]
    data = replaced("features", data=values, **written)
    assert bits(hdf5.tensor(data, VECTOR, positions)) == bits(values if positions is None else values[positions])


def test_hdf5_reads_chunks_that_skip_a_filter(hdf5):
    """A filter mask says so; h5py's own direct writing leaves one."""
    values = make_shard(IMAGES, PATHS, [VECTOR]).tensors["features"]
    skipped = edited(lambda file: file["features"].id.write_direct_chunk((3, 0), values[3].tobytes(), filter_mask=3))
    assert bits(hdf5.tensor(skipped, VECTOR)) == bits(values)


@pytest.mark.parametrize("count", [4, 6], ids=["short", "long"])
def test_hdf5_refuses_a_chunk_of_another_length(hdf5, count):
    content = pa.Codec("zstd").compress(bytes(4 * count), asbytes=True)
    chunk = content + fletcher32(content).to_bytes(4, "little")
    data = edited(lambda file: file["features"].id.write_direct_chunk((3, 0), chunk))
    for positions in (None, np.array([3])):
        with pytest.raises(DamagedStore):
            hdf5.tensor(data, VECTOR, positions)


def test_hdf5_tells_shapes_of_one_length_apart(hdf5):
    with pytest.raises(DamagedStore, match=r"float32\[6, 5\], expected float32\[6, 1, 5\]"):
        hdf5.tensor(edited(lambda file: None), replace(VECTOR, shape=(1, 5)))


@pytest.fixture
def secret(tmp_path):
    """Another file of the machine, that has what a shard would have."""
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["features"] = np.zeros((len(PATHS), *VECTOR.shape), np.float32)
        file.create_dataset("path", data=["secret"] * len(PATHS), dtype=h5py.string_dtype())
    return path


def external_link(file, name, secret):
    del file[name]
    file[name] = h5py.ExternalLink(str(secret), name)


def soft_link(file, name, secret):
    file.move(name, "elsewhere")
    file[name] = h5py.SoftLink("/elsewhere")


def virtual_dataset(file, name, secret):
    like = file[name]
    layout = h5py.VirtualLayout(like.shape, like.dtype)
    layout[:] = h5py.VirtualSource(str(secret), name, like.shape)
    del file[name]
    file.create_virtual_dataset(name, layout)


def external_storage(file, name, secret):
    del file[name]
    size = len(PATHS) * 4 * 5
    file.create_dataset(name, (len(PATHS), 5), np.float32, external=[(str(secret), 0, size)])


def group(file, name, secret):
    del file[name]
    file.create_group(name)


def nothing(file, name, secret):
    del file[name]


@pytest.mark.parametrize("name", ["features", "path"])
@pytest.mark.parametrize(
    "change", [external_link, soft_link, virtual_dataset, external_storage, group, nothing], ids=lambda f: f.__name__
)
def test_hdf5_never_reads_what_is_not_in_the_file(hdf5, secret, change, name, tmp_path):
    path = tmp_path / "shard.h5"
    path.write_bytes(edited(lambda file: change(file, name, secret)))
    with pytest.raises(DamagedStore, match=f"column {name} "):
        hdf5.tensor(path, VECTOR) if name == "features" else hdf5.rows(path)


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("path", {"data": np.arange(6)}),
        ("path", {"data": ["x"] * 5, "dtype": h5py.string_dtype()}),
        ("path", {"data": [b"\xff"] * 6, "dtype": h5py.string_dtype()}),
        ("path", {"data": h5py.Empty("f4")}),
        ("view", {"data": ["a"] * 6, "dtype": h5py.string_dtype()}),
        ("view", {"data": np.full(6, 2**20)}),
        ("width", {"data": np.zeros((6, 2), np.int32)}),
        ("height", {"data": 3}),
    ],
)
def test_hdf5_refuses_malformed_row_columns(hdf5, name, dataset):
    with pytest.raises(DamagedStore):
        hdf5.rows(replaced(name, **dataset))


@pytest.mark.parametrize(
    "dataset",
    [
        {"data": 3.0},
        {"data": np.zeros(6, np.float32)},
        {"data": h5py.Empty("f4")},
        {"data": ["a"] * 6, "dtype": h5py.string_dtype()},
    ],
)
@pytest.mark.parametrize("positions", [None, np.array([0, 5])], ids=["all", "two"])
def test_hdf5_refuses_malformed_features(hdf5, dataset, positions):
    with pytest.raises(DamagedStore):
        hdf5.tensor(replaced("features", **dataset), VECTOR, positions)


# Parquet


@pytest.fixture
def parquet():
    return FORMATS["parquet"]


def parquet_of(lists):
    sink = io.BytesIO()
    pq.write_table(pa.table({"features": lists}), sink)
    return sink.getvalue()


def test_parquet_says_its_outputs_and_fingerprint(parquet):
    shard = make_shard(IMAGES, PATHS, [SPATIAL])
    schema = pq.read_schema(pa.BufferReader(parquet.encode(shard, [SPATIAL], "f")))
    assert json.loads(schema.metadata[b"stillframe"]) == {"fingerprint": "f", "outputs": [SPATIAL.to_dict()]}
    assert schema.field("features").type == pa.list_(pa.float16(), 24)


@pytest.mark.parametrize(
    "lists",
    [
        pa.array([[1] * 5, None, [2] * 5], pa.list_(pa.float32(), 5)),
        pa.array([[1, 2, None, 4, 5]], pa.list_(pa.float32(), 5)),
        pa.array([[1] * 5], pa.list_(pa.float32())),
        pa.array([["a"] * 5], pa.list_(pa.string(), 5)),
        pa.array([1.0], pa.float32()),
    ],
)
def test_parquet_refuses_malformed_features(parquet, lists):
    with pytest.raises(DamagedStore):
        parquet.tensor(parquet_of(lists), VECTOR)
    with pytest.raises(DamagedStore):
        parquet.rows(parquet_of(lists))


@pytest.fixture(params=COMPRESSIONS)
def compression(request):
    return request.param


def in_parts(shard_format, tensor, compression):
    """A tensor packed two rows at a time."""
    parts = [shard_format.pack(tensor[start : start + 2], compression) for start in range(0, len(tensor), 2)]
    return None if None in parts else [row for part in parts for row in part]


@pytest.mark.parametrize("positions", [None, np.array([0, 1, 2]), np.array([1, 5])], ids=["all", "first", "two"])
def test_every_compression_gives_every_bit_back(shard_format, compression, shard, output, positions):
    data = shard_format.encode(shard, [output], "f", compression)
    check_round_trip(shard_format, data, shard, [output])
    values = shard.tensors["features"] if positions is None else shard.tensors["features"][positions]
    into = np.empty_like(values)
    assert bits(shard_format.tensor(data, output, positions)) == bits(values)
    assert shard_format.tensor(data, output, positions, into) is into
    assert bits(into) == bits(values)


def test_rows_that_are_packed_as_they_come_make_the_same_shard(shard_format, compression, shard, output):
    packed = in_parts(shard_format, shard.tensors["features"], compression)
    if packed is None:
        assert shard_format.name == "parquet" or compression == "none"
        return
    early = replace(shard, packed={"features": packed})
    data = shard_format.encode(early, [output], "f", compression)
    assert data == shard_format.encode(shard, [output], "f", compression)
    check_round_trip(shard_format, data, early, [output])


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_what_hdf5_holds_is_compared_with_what_was_packed(hdf5, compression):
    shard = make_shard(IMAGES, PATHS, [VECTOR])
    packed = in_parts(hdf5, shard.tensors["features"], compression)
    data = hdf5.encode(shard, [VECTOR], "f", compression)
    for other in (packed[:-1], [*packed[1:], packed[0]], [*packed[:-1], packed[-1][:-1] + b"?"]):
        with pytest.raises(DamagedStore, match="did not read back"):
            check_round_trip(hdf5, data, replace(shard, packed={"features": other}), [VECTOR])


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_a_row_that_does_not_read_back_is_not_packed(hdf5, compression, monkeypatch):
    monkeypatch.setattr("store.formats.hdf5_chunks._decompressed", lambda _, size, *__: np.zeros(size, np.uint8))
    with pytest.raises(DamagedStore, match="did not read back"):
        hdf5.pack(np.ones((2, 5), np.float32), compression)


def test_other_programs_read_every_compression_of_hdf5(hdf5, compression):
    shard = make_shard(IMAGES, PATHS, [SPATIAL])
    with h5py.File(io.BytesIO(hdf5.encode(shard, [SPATIAL], "f", compression))) as file:
        assert bits(file["features"][:]) == bits(shard.tensors["features"])


def test_other_programs_read_rows_that_lz4_makes_no_shorter(hdf5):
    rows = np.random.default_rng(0).integers(0, 256, (3, 64), dtype=np.uint8)
    for row, repeated in zip(rows, (0, 6, 13), strict=True):
        row[40 : 40 + repeated] = row[:repeated]
    lengths = [len(pa.Codec("lz4_raw").compress(row.tobytes())) for row in rows]
    assert lengths[0] > lengths[1] == 64 > lengths[2]
    output, paths = replace(VECTOR, shape=(16,), dtype="float32"), PATHS[:3]
    shard = replace(make_shard(IMAGES, paths, [output]), tensors={"features": rows.view(np.float32)})
    data = hdf5.encode(shard, [output], "f", "lz4")
    with h5py.File(io.BytesIO(data)) as file:
        assert bits(file["features"][:]) == bits(shard.tensors["features"])
    assert bits(hdf5.tensor(data, output)) == bits(shard.tensors["features"])


@pytest.mark.parametrize("content", [b"", b"?", b"\0" * 15, b"\0" * 16, b"\xff" * 40], ids=len)
def test_a_chunk_that_is_not_lz4_is_damage(hdf5, content):
    shard = make_shard(IMAGES, PATHS, [VECTOR])
    packed = [content + b"?" + fletcher32(content + b"?").to_bytes(4, "little")] * len(PATHS)
    data = hdf5.encode(replace(shard, packed={"features": packed}), [VECTOR], "f", "lz4")
    with pytest.raises(DamagedStore, match="not one block of LZ4"):
        hdf5.tensor(data, VECTOR)
