"""Object stores that do not do as they are asked, and errors on the way to them."""

import hashlib
from datetime import UTC, datetime

import fsspec
import pytest

from store.errors import DamagedStore, EnvironmentFailure, UsageError
from store.files.cache import cache_folder
from store.files.opening import open_files
from store.files.remote import RemoteFiles, modified


@pytest.fixture
def memory():
    """fsspec's store in memory, which takes `create` for `overwrite`."""
    system = fsspec.filesystem("memory", use_listings_cache=False)
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


@pytest.fixture
def no_pauses(monkeypatch):
    pauses = []
    monkeypatch.setattr("store.files.remote.time.sleep", pauses.append)
    return pauses


def test_a_store_that_takes_a_second_object_needs_a_single_writer(memory, monkeypatch):
    def pipe_file(path, value, mode="overwrite"):
        memory.store.pop(path, None)
        plain(path, value)

    plain = memory.pipe_file
    monkeypatch.setattr(type(memory), "pipe_file", lambda self, path, value, mode="overwrite": pipe_file(path, value))
    with pytest.raises(UsageError, match=r"memory://store: .* promise it with --single-writer"):
        RemoteFiles("memory://store").create("view/1.json", b"one")
    assert memory.find("store") == []
    folder = open_files("memory://store", single_writer=True)
    assert folder.create("view/1.json", b"one")
    assert not folder.create("view/1.json", b"two")
    assert folder.read("view/1.json") == b"one"


def test_a_shard_that_is_not_its_name_is_damage_and_never_kept(memory):
    folder = RemoteFiles("memory://store", single_writer=True)
    name = hashlib.sha256(b"right").hexdigest()
    folder.create(f"data/{name}.h5", b"wrong")
    with pytest.raises(DamagedStore, match="is not the bytes that gave it its name"):
        folder.local_copy(f"data/{name}.h5")
    assert not (cache_folder() / "shards").exists()


def test_a_shard_is_downloaded_once(memory):
    folder = RemoteFiles("memory://store", single_writer=True)
    name = f"data/{hashlib.sha256(b'right').hexdigest()}.h5"
    folder.create(name, b"right")
    path = folder.local_copy(name)
    folder.remove(name)
    assert folder.local_copy(name) == path
    assert path.read_bytes() == b"right"


@pytest.mark.parametrize(
    ("failures", "read"), [([OSError("reset")], True), ([TimeoutError()] * 4, True), ([OSError("reset")] * 5, False)]
)
def test_errors_that_may_pass_are_tried_again(memory, monkeypatch, no_pauses, failures, read):
    memory.pipe_file("/store/x", b"x")
    plain, ahead = memory.cat_file, list(failures)

    def cat_file(self, path):
        if ahead:
            raise ahead.pop()
        return plain(path)

    monkeypatch.setattr(type(memory), "cat_file", cat_file)
    if read:
        assert RemoteFiles("memory://store").read("x") == b"x"
        assert len(no_pauses) == len(failures)
    else:
        with pytest.raises(EnvironmentFailure, match="cannot read memory://store/x: reset; check the address"):
            RemoteFiles("memory://store").read("x")
    assert all(0.1 <= pause <= 0.2 * 2**number for number, pause in enumerate(no_pauses))


@pytest.mark.parametrize("error", [PermissionError("forbidden"), ValueError("odd name")])
def test_errors_that_will_not_pass_are_said_at_once(memory, monkeypatch, no_pauses, error):
    def cat_file(self, path):
        raise error

    monkeypatch.setattr(type(memory), "cat_file", cat_file)
    with pytest.raises(EnvironmentFailure, match=str(error)):
        RemoteFiles("memory://store").read("x")
    assert no_pauses == []


def test_what_is_needed_for_a_url_is_said(monkeypatch):
    def missing(*_, **__):
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "url_to_fs", missing)
    with pytest.raises(UsageError, match=r"pip install 'stillframe\[s3\]'"):
        RemoteFiles("s3://bucket")
    with pytest.raises(UsageError, match=r"pip install 'stillframe\[gcs\]'"):
        RemoteFiles("gs://bucket")
    with pytest.raises(UsageError, match=r"pip install 'stillframe\[azure\]'"):
        RemoteFiles("az://container")


@pytest.mark.parametrize("url", ["s3://", "gs:///"])
def test_a_url_without_a_bucket(url):
    with pytest.raises(UsageError, match=rf"{url}: expected a bucket and a folder, as in {url[:2]}://bucket/photos"):
        open_files(url)


def test_times_are_found_whatever_they_are_called():
    noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
    expected = int(noon.timestamp()) * 10**9
    assert (
        modified({"LastModified": noon}) == modified({"mtime": noon}) == modified({"last_modified": noon}) == expected
    )
    assert modified({"created": noon.replace(tzinfo=None)}) == modified({"mtime": noon.timestamp()}) == expected
    assert modified({}) == -1


def test_listings_with_milliseconds_agree_with_answers_that_have_seconds(memory, monkeypatch):
    """As many servers do it: else the second run would download every image again."""
    memory.pipe_file("/data/a.png", b"x")
    exact = datetime(2026, 1, 1, 12, 0, 0, 987_000, tzinfo=UTC)
    plain_find, plain_info = memory.find, memory.info
    monkeypatch.setattr(
        type(memory),
        "find",
        lambda self, path, detail: {
            name: {**info, "LastModified": exact} for name, info in plain_find(path, detail=True).items()
        },
    )
    monkeypatch.setattr(
        type(memory), "info", lambda self, path: {**plain_info(path), "LastModified": exact.replace(microsecond=0)}
    )
    files = RemoteFiles("memory://data")
    ((name, listed),) = files.walk()
    assert listed == files.status(name)
    assert listed.modified == int(exact.timestamp()) * 10**9
