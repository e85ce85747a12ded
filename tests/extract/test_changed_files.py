"""The memory of files whose time alone has changed: it saves reading, and nothing depends on it."""

import hashlib

import pyarrow as pa
import pytest

import extract.changed_files
from extract.changed_files import READ, memory_file, same_bytes
from extract.sources.reading import digests
from store.files.local import LocalFiles


@pytest.fixture
def read(monkeypatch):
    """The names of the files that were read through."""
    read = []

    def counted(files, names):
        read.extend(names)
        return digests(files, names)

    monkeypatch.setattr(extract.changed_files, "digests", counted)
    return read


def put(root, time=1, **contents):
    """Write files, and say of them what they should be."""
    for name, content in contents.items():
        (root / name).write_text(content)
    digests = [hashlib.sha256(content.encode()).hexdigest() for content in contents.values()]
    return pa.table({"path": list(contents), "time": [time] * len(contents), "sha256": digests}, schema=READ)


def test_files_are_read_once_until_their_time_changes(tmp_path, read):
    memory = memory_file(tmp_path / "store", tmp_path)
    for time in (1, 1, 2, 2):
        assert same_bytes(put(tmp_path, time, a="x", b="y"), LocalFiles(tmp_path), memory).tolist() == [True, True]
    assert read == ["a", "b", "a", "b"]


def test_a_file_with_other_bytes_or_none_is_never_remembered(tmp_path, read):
    memory = memory_file(tmp_path / "store", tmp_path)
    files = put(tmp_path, a="x", b="y", c="z")
    (tmp_path / "b").write_text("?")
    (tmp_path / "c").unlink()
    for _ in range(2):
        assert same_bytes(files, LocalFiles(tmp_path), memory).tolist() == [True, False, False]
    assert read == ["a", "b", "c", "b", "c"]


def test_other_bytes_are_asked_for_after_the_store_changed(tmp_path, read):
    memory = memory_file(tmp_path / "store", tmp_path)
    files = put(tmp_path, a="x")
    same_bytes(files, LocalFiles(tmp_path), memory)
    other = files.set_column(2, "sha256", pa.array(["0" * 64]))
    assert not same_bytes(other, LocalFiles(tmp_path), memory).any()
    assert read == ["a", "a"]


def test_a_memory_that_cannot_be_read_or_written_is_no_failure(tmp_path, read):
    files = put(tmp_path, a="x")
    memory = memory_file(tmp_path / "store", tmp_path)
    memory.parent.mkdir()
    memory.write_text("no Parquet")
    assert same_bytes(files, LocalFiles(tmp_path), memory).all()
    assert same_bytes(files, LocalFiles(tmp_path), tmp_path / "a" / "through_a_file").all()
    assert read == ["a", "a"]


def test_stores_and_data_have_memories_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert memory_file("store", "data") == memory_file(tmp_path / "store", tmp_path / "data")
    assert len({memory_file(out, data) for out in ("a", "b") for data in ("c", "d")}) == 4
