"""The contract of all kinds of files: on a disk, and in an object store that a real server answers for."""

import hashlib
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from store.errors import DamagedStore, NotAStore, UsageError
from store.files.opening import open_files

KINDS = ["disk", "s3", "s3, single writer"]


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    if request.param == "disk":
        return open_files(tmp_path / "deep" / "store")
    bucket = request.getfixturevalue("bucket")
    return open_files(f"{bucket}/deep/store", single_writer=request.param != "s3")


def test_what_is_created_can_be_read_and_nothing_else_is_left(folder):
    assert folder.create("view/1.json", b"one")
    assert folder.read("view/1.json") == b"one"
    assert folder.names("view") == ["1.json"]
    assert folder.names("tmp") == []
    assert folder.status("view/1.json").size == 3
    assert folder.status("view/1.json").modified > 1.7e18


def test_a_name_is_given_once(folder):
    assert folder.create("view/1.json", b"one")
    assert not folder.create("view/1.json", b"two")
    assert folder.read("view/1.json") == b"one"


@pytest.mark.parametrize("size", [0, 2_000_000])
def test_bytes_come_back_as_they_were(folder, size):
    data = bytes(range(256)) * (size // 256)
    folder.create("data/x", data)
    assert folder.read("data/x") == data


def test_a_small_file_is_read_up_to_a_length(folder, monkeypatch):
    folder.create("view/1.json", b"12345")
    folder.create("view/2.json", b"")
    assert folder.read_small("view/1.json", 5) == b"12345"
    assert folder.read_small("view/2.json", 5) == b""
    with pytest.raises(FileNotFoundError):
        folder.read_small("view/3.json", 5)
    monkeypatch.setattr(type(folder), "read", None)  # reads all, which may be more than fits into the memory
    with pytest.raises(DamagedStore, match=r"view/1.json has .*, expected 4 at most: run `store repair"):
        folder.read_small("view/1.json", 4)


def test_folders_are_names_too(folder):
    folder.create("commit/abc/000000.1.json", b"{}")
    folder.create("commit/abc/000001.1.json", b"{}")
    folder.create("commit/abd/000000.1.json", b"{}")
    assert folder.names("commit") == ["abc", "abd"]
    assert folder.names("commit/abc") == ["000000.1.json", "000001.1.json"]
    assert folder.names("commit/ab") == []
    assert folder.names("") == ["commit"] or folder.names("") == ["commit", "tmp"]
    assert folder.status("commit/abc") is None


def test_what_is_not_there(folder):
    assert folder.status("view/1.json") is None
    assert folder.names("view") == []
    with pytest.raises(FileNotFoundError):
        folder.read("view/1.json")
    with pytest.raises(FileNotFoundError):
        folder.local_copy("data/x")
    folder.remove("view/1.json")


def test_what_is_removed_is_gone(folder):
    folder.create("data/x", b"x")
    folder.remove("data/x")
    assert folder.status("data/x") is None
    assert folder.create("data/x", b"y")


def test_a_local_file_holds_the_same_bytes(folder):
    data = b"a shard"
    name = f"data/{hashlib.sha256(data).hexdigest()}.h5"
    folder.create(name, data)
    path = folder.local_copy(name)
    assert path.read_bytes() == data
    assert path.suffix == ".h5"
    assert folder.local_copy(name) == path


def test_a_store_is_known_by_its_store_json(folder):
    with pytest.raises(NotAStore, match="no such folder"):
        folder.require_store()
    folder.require_free()
    folder.create("view/1.json", b"{}")
    with pytest.raises(NotAStore, match=r"has no store\.json"):
        folder.require_store()
    with pytest.raises(UsageError, match="not empty and not a store"):
        folder.require_free()
    folder.create("store.json", b"{}")
    folder.require_store()
    folder.require_free()


def test_it_can_be_sent_to_another_process(folder):
    folder.create("data/x", b"x")
    folder.require_create_only()
    copy = pickle.loads(pickle.dumps(folder))
    assert copy.read("data/x") == b"x"
    assert str(copy) == str(folder)
    assert open_files(folder.absolute).read("data/x") == b"x"


@pytest.mark.parametrize("folder", ["disk", "s3"], indirect=True)
def test_of_many_at_once_one_gives_the_name(folder):
    with ThreadPoolExecutor(16) as threads:
        created = list(threads.map(lambda number: folder.create("view/1.json", b"%d" % number), range(16)))
    assert created.count(True) == 1
    assert folder.read("view/1.json") == b"%d" % created.index(True)


def test_a_walk_finds_every_file_that_is_not_hidden(folder):
    for name in ("cat/1.png", "cat/deep/er/2.png", "3.png", ".hidden", "cat/.hidden", ".folder/4.png"):
        folder.create(name, b"x" * len(name))
    found = dict(folder.walk())
    assert set(found) == {"cat/1.png", "cat/deep/er/2.png", "3.png"}
    for name, status in found.items():
        assert status == folder.status(name)
        assert status.size == len(name)
        assert status.modified > 1.7e18


def test_a_walk_of_an_empty_folder_finds_nothing(folder):
    folder.create("x", b"")
    folder.remove("x")
    assert list(folder.walk()) == []


@pytest.mark.parametrize("needed", [True, False])
def test_a_file_is_removed_unless_it_is_needed(folder, needed):
    folder.create("data/x", b"x")
    asked = []
    assert folder.remove_unless("data/x", lambda: asked.append(1) or needed) is not needed
    assert asked == [1]
    assert (folder.status("data/x") is not None) is needed
    assert folder.names("tmp") == []


def test_a_file_that_is_not_there_is_not_removed(folder):
    folder.create("data/y", b"y")
    assert not folder.remove_unless("data/x", lambda: False)
