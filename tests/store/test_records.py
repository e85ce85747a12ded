import json
import os
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.errors import DamagedStore, NotAStore
from store.image_records import Failure, Row, failure_table, row_table
from store.records import UPGRADES, CommitRecord, CurrentPlan, StoreInfo
from tests.store.build import SPATIAL, VECTOR, make_info, make_recipe

INFO = make_info((SPATIAL, replace(VECTOR, name="vector", layer="end", pooling="none")), "hdf5")
CURRENT = CurrentPlan("a" * 64, "/data", "2025-01-01T00:00:00+00:00")
RECORD = CommitRecord(
    plan="a" * 64,
    index=3,
    attempt=2,
    fingerprint=make_recipe().fingerprint,
    shard="b" * 64 + ".h5",
    shard_bytes=1234,
    rows=row_table([Row("cat/1.png", "c" * 64, 10, 11), Row("line\nbreak \\xff 猫.png", "d" * 64, -1, -1)]),
    failures=failure_table([Failure("dog/2.png", "decode", "not an image")]),
    environment={"runtime": "keras"},
)

texts = st.text(max_size=10) | st.binary(max_size=10).map(os.fsdecode)
utf8 = st.text(st.characters(codec="utf-8"), max_size=10)  # what a column holds; row names are made for that
numbers = st.integers(-(2**63), 2**63 - 1)
rows = st.builds(Row, utf8, utf8, numbers, numbers)
failures = st.builds(Failure, utf8, utf8, texts, utf8, numbers, numbers)
digests = st.binary(min_size=32, max_size=32).map(bytes.hex)
records = st.builds(
    CommitRecord,
    plan=digests,
    index=st.integers(0, 2**31 - 1),
    attempt=st.integers(1),
    fingerprint=texts,
    shard=st.sampled_from(["", "0123456789abcdef" * 4 + ".parquet"]),
    shard_bytes=st.integers(0),
    rows=st.lists(rows, max_size=3).map(row_table),
    failures=st.lists(failures, max_size=3).map(failure_table),
    environment=st.dictionaries(texts, texts, max_size=2),
    withdrawn=texts,
)


def changed(data, **values):
    return json.dumps({**json.loads(data), **values}).encode()


def without(data, name):
    return json.dumps({key: value for key, value in json.loads(data).items() if key != name}).encode()


def test_store_info_survives_its_bytes():
    assert StoreInfo.from_bytes(INFO.to_bytes()) == INFO


def test_store_info_can_be_read_without_us():
    values = json.loads(INFO.to_bytes())
    assert (values["format"], values["version"], values["shard_format"]) == ("stillframe", 1, "hdf5")
    assert values["fingerprint"] == INFO.recipe.fingerprint
    assert values["outputs"][0] == {
        "name": "features",
        "layer": "top",
        "pooling": "none",
        "shape": [2, 3, 4],
        "dtype": "float16",
    }


@given(st.builds(CurrentPlan, digests, texts, texts))
def test_a_view_survives_its_bytes_wherever_its_data_lie(view):
    assert CurrentPlan.from_bytes(view.to_bytes()) == view


@given(records)
def test_a_record_survives_its_bytes(record):
    assert CommitRecord.from_bytes(record.to_bytes()) == record


@given(records)
def test_a_record_is_json_with_a_row_a_line(record):
    data = record.to_bytes()
    assert [row[0] for row in json.loads(data)["rows"]] == record.rows["path"].to_pylist()
    assert json.loads(data)["row_fields"] == ["path", "sha256", "size", "time"]


@pytest.mark.parametrize("version", [0, 3, None])
def test_another_version_is_refused_by_its_number(version):
    with pytest.raises(NotAStore, match=f"version {version!r}, this program reads 2"):
        StoreInfo.from_bytes(changed(INFO.to_bytes(), version=version))


def test_another_programs_file_is_no_store():
    with pytest.raises(NotAStore, match="not a Stillframe store"):
        StoreInfo.from_bytes(b'{"format": "zarr"}')


def test_an_edited_recipe_is_found_out():
    recipe = {**INFO.recipe.to_dict(), "resize": "nearest"}
    with pytest.raises(DamagedStore, match="edited"):
        StoreInfo.from_bytes(changed(INFO.to_bytes(), recipe=recipe))


@pytest.mark.parametrize("read", [StoreInfo.from_bytes, CurrentPlan.from_bytes, CommitRecord.from_bytes])
@pytest.mark.parametrize("data", [b"", b"{", b"[1]", b"\xff\xfe", b'"text"', b"null"])
def test_what_is_no_json_object_is_damage(read, data):
    with pytest.raises(DamagedStore, match=r"restore|repair"):
        read(data)


@pytest.mark.parametrize("name", ["fingerprint", "recipe", "outputs", "shard_format", "compression"])
def test_store_info_that_lacks_a_field_is_damage(name):
    with pytest.raises(DamagedStore):
        StoreInfo.from_bytes(without(INFO.to_bytes(), name))


@pytest.mark.parametrize("values", [{"recipe": []}, {"recipe": {"a": 1}}, {"outputs": [1]}, {"outputs": 5}])
def test_store_info_with_a_malformed_field_is_damage(values):
    with pytest.raises(DamagedStore):
        StoreInfo.from_bytes(changed(INFO.to_bytes(), **values))


@pytest.mark.parametrize("name", ["plan", "data", "created"])
def test_a_view_that_lacks_a_field_is_damage(name):
    with pytest.raises(DamagedStore):
        CurrentPlan.from_bytes(without(CURRENT.to_bytes(), name))


@pytest.mark.parametrize("name", ["plan", "index", "attempt", "fingerprint", "shard", "rows", "failures", "row_fields"])
def test_a_record_that_lacks_a_field_is_damage(name):
    with pytest.raises(DamagedStore):
        CommitRecord.from_bytes(without(RECORD.to_bytes(), name))


@pytest.mark.parametrize(
    "values",
    [
        {"rows": 5},
        {"rows": [["a", "b"]]},
        {"rows": [["a", "b", 2**63, 0]]},
        {"rows": [["a", "b", "c", 0]]},
        {"rows": [["a", None, 0, 0]]},
        {"rows": [["\udcff", "b", 0, 0]]},
        {"failures": [["a"]]},
        {"failures": [{"x": 1}]},
        {"failures": [{"path": 1, "code": "a", "message": "b"}]},
        {"failures": [{"path": "a", "code": "a", "message": 1}]},
    ],
)
def test_a_record_with_a_malformed_field_is_damage(values):
    with pytest.raises(DamagedStore):
        CommitRecord.from_bytes(changed(RECORD.to_bytes(), **values))


@pytest.mark.parametrize("shard", ["../../notes.txt", "/etc/passwd", "b" * 64, f"{'b' * 64}.h5/..", 5, None])
def test_a_record_never_leads_out_of_the_data_folder(shard):
    with pytest.raises(DamagedStore):
        CommitRecord.from_bytes(changed(RECORD.to_bytes(), shard=shard))


# Other versions


def undigested(data, **values):
    """store.json as 0.5.0 wrote it, without a digest, and changed."""
    return without(changed(data, **values), "digest")


def test_store_info_of_0_5_0_is_read():
    assert StoreInfo.from_bytes(undigested(INFO.to_bytes())) == INFO


OUTPUTS = [output.to_dict() for output in INFO.outputs]
EDITS = [
    {"shard_format": "parquet"},
    {"compression": "gzip"},
    {"outputs": [{**OUTPUTS[0], "shape": [2, 4, 3]}, OUTPUTS[1]]},
    {"outputs": [{**OUTPUTS[0], "name": "other"}, OUTPUTS[1]]},
    {"outputs": OUTPUTS[::-1]},
    {"more": 1},
]


@pytest.mark.parametrize("values", EDITS, ids=str)
def test_whatever_is_edited_in_store_info_is_found_out_by_its_digest(values):
    with pytest.raises(DamagedStore, match="digest"):
        StoreInfo.from_bytes(changed(INFO.to_bytes(), **values))


@pytest.mark.parametrize(
    "values",
    [
        {"outputs": OUTPUTS[:1]},
        {"outputs": OUTPUTS[::-1]},
        {"outputs": [{**OUTPUTS[0], "layer": "other"}, OUTPUTS[1]]},
        {"outputs": [{**OUTPUTS[0], "dtype": "float32"}, OUTPUTS[1]]},
        {"outputs": [{**OUTPUTS[0], "pooling": "avg"}, OUTPUTS[1]]},
        {"outputs": [{**OUTPUTS[0], "shape": []}, OUTPUTS[1]]},
        {"outputs": [{**OUTPUTS[0], "shape": [2, 0, 4]}, OUTPUTS[1]]},
        {"outputs": [OUTPUTS[0], {**OUTPUTS[1], "name": "features"}]},
        {"shard_format": "zip"},
    ],
    ids=str,
)
def test_outputs_and_format_of_an_older_store_have_to_agree_with_its_recipe(values):
    with pytest.raises(DamagedStore, match=r"edited|invalid"):
        StoreInfo.from_bytes(undigested(INFO.to_bytes(), **values))


def test_fields_of_a_later_version_are_passed_over():
    assert StoreInfo.from_bytes(undigested(INFO.to_bytes(), more=1)) == INFO
    assert CurrentPlan.from_bytes(changed(CURRENT.to_bytes(), more={"a": 1})) == CURRENT
    values = json.loads(RECORD.to_bytes())
    rows = [["new", *row, 5] for row in values["rows"]]
    failures = [{**failure, "more": 1} for failure in values["failures"]]
    later = {**values, "more": 1, "rows": rows, "failures": failures}
    later["row_fields"] = ["first", *values["row_fields"], "last"]
    assert CommitRecord.from_bytes(json.dumps(later).encode()) == RECORD


def test_a_recipe_of_a_later_version_is_refused_for_its_features_mean_something_else():
    recipe = {**INFO.recipe.to_dict(), "sharpen": 2}
    with pytest.raises(NotAStore, match=r"sharpen.* a newer version of Stillframe"):
        StoreInfo.from_bytes(undigested(INFO.to_bytes(), recipe=recipe))


def test_an_older_version_is_read_through_its_steps(monkeypatch):
    def with_compression(values):
        return {**values, "version": 1, "compression": "zstd"}

    def with_outputs(values):
        return {**{name: value for name, value in values.items() if name != "columns"}, "version": 0,
                "outputs": values["columns"]}  # fmt: skip

    monkeypatch.setitem(UPGRADES, 0, with_compression)
    monkeypatch.setitem(UPGRADES, -1, with_outputs)
    values = json.loads(undigested(INFO.to_bytes()))
    del values["compression"]
    values["columns"] = values.pop("outputs")
    assert StoreInfo.from_bytes(json.dumps({**values, "version": -1}).encode()) == INFO
    with pytest.raises(NotAStore, match="version -2"):
        StoreInfo.from_bytes(json.dumps({**values, "version": -2}).encode())
