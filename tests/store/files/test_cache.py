"""Copies of remote shards in the cache folder: checked when first used, and limited in size."""

import hashlib
import os

import fsspec
import pytest

import store.files.digest
from store.errors import DamagedStore, UsageError
from store.files.cache import LIMIT, cache_folder, cache_limit, cached_shard
from store.files.remote import RemoteFiles


@pytest.fixture
def another_process():
    """Makes this process forget which copies it has checked."""
    return store.files.digest._digest.cache_clear


@pytest.fixture(autouse=True)
def first_use(another_process):
    another_process()


def name_of(data):
    return f"{hashlib.sha256(data).hexdigest()}.h5"


def copies():
    return sorted(path.name for path in (cache_folder() / "shards").iterdir())


class Download:
    """Gives its data, and counts how often."""

    def __init__(self, data):
        self.data = data
        self.times = 0

    def __call__(self):
        self.times += 1
        return self.data


@pytest.mark.parametrize("rotten", [b"other bytes!", b"", b"right byteS!"])
def test_a_rotten_copy_is_downloaded_again(another_process, rotten):
    download = Download(b"right bytes!")
    path = cached_shard(name_of(download.data), download)
    path.write_bytes(rotten)
    another_process()
    assert cached_shard(name_of(download.data), download) == path
    assert path.read_bytes() == b"right bytes!"
    assert download.times == 2


def test_a_right_copy_is_downloaded_once_by_all_processes(another_process):
    download = Download(b"right bytes!")
    for _ in range(3):
        cached_shard(name_of(download.data), download)
        another_process()
    assert download.times == 1


def test_a_copy_is_read_through_once_in_a_process(monkeypatch):
    download = Download(b"right bytes!")
    name = name_of(download.data)
    path = cached_shard(name, download)
    assert cached_shard(name, download) == path
    monkeypatch.setattr("store.files.digest.opened_regular", lambda _: pytest.fail("read again"))
    for _ in range(2):
        assert cached_shard(name, download) == path


def test_a_copy_deleted_meanwhile_is_downloaded_again():
    download = Download(b"right bytes!")
    cached_shard(name_of(download.data), download).unlink()
    assert cached_shard(name_of(download.data), download).read_bytes() == b"right bytes!"


def test_bytes_that_are_not_the_name_are_never_kept():
    assert cached_shard(name_of(b"right"), Download(b"wrong")) is None
    assert not (cache_folder() / "shards").exists()


def test_repair_of_a_rotten_copy_takes_nothing_but_reading(another_process):
    """The dead end of 0.5.0: the remote shard is sound, so `store repair` found nothing, and every read failed."""
    system = fsspec.filesystem("memory", use_listings_cache=False)
    files = RemoteFiles("memory://store", single_writer=True)
    try:
        name = f"data/{name_of(b'right')}"
        files.create(name, b"right")
        files.local_copy(name).write_bytes(b"rotten")
        another_process()
        assert files.local_copy(name).read_bytes() == b"right"
        system.pipe_file(f"/store/{name}", b"rotten too")
        files.local_copy(name).write_bytes(b"rotten")
        another_process()
        with pytest.raises(DamagedStore, match="is not the bytes that gave it its name"):
            files.local_copy(name)
    finally:
        system.store.clear()
        system.pseudo_dirs[:] = [""]


# The limit


def put(number, size=100, used=None):
    data = b"%03d" % number * (size // 3) + b"x" * (size % 3)
    path = cached_shard(name_of(data), Download(data))
    if used is not None:
        os.utime(path, (used, used))
    return path


def test_the_least_recently_used_copies_go_first(monkeypatch):
    monkeypatch.setenv("STILLFRAME_CACHE_LIMIT", "300")
    paths = [put(number, used=1000 + number) for number in range(3)]
    assert all(path.exists() for path in paths)
    put(0)  # used now
    newest = put(3)
    assert copies() == sorted(path.name for path in (paths[0], paths[2], newest))


def test_the_newest_copy_stays_even_if_it_is_larger_than_the_limit(monkeypatch):
    monkeypatch.setenv("STILLFRAME_CACHE_LIMIT", "50")
    for number in range(3):
        newest = put(number, used=1000 + number)
        assert copies() == [newest.name]


def test_other_files_of_the_cache_are_left_alone(monkeypatch):
    monkeypatch.setenv("STILLFRAME_CACHE_LIMIT", "50")
    other = cache_folder() / "openvino.xml"
    other.write_bytes(b"x" * 1000)
    put(0)
    put(1)
    assert other.exists()


@pytest.mark.parametrize(
    ("given", "limit"),
    [("", LIMIT), ("0", 0), ("1000", 1000), ("500MB", 500 * 10**6), ("1.5 gb", 1_500_000_000), ("2tb", 2 * 10**12)],
)
def test_the_limit_is_a_size(monkeypatch, given, limit):
    monkeypatch.setenv("STILLFRAME_CACHE_LIMIT", given)
    assert cache_limit() == RemoteFiles("memory://store").room_for_copies == limit


@pytest.mark.parametrize("given", ["much", "-1", "10 apples", "1e9"])
def test_a_limit_that_is_no_size_is_refused(monkeypatch, given):
    monkeypatch.setenv("STILLFRAME_CACHE_LIMIT", given)
    with pytest.raises(UsageError, match="expected a size, such as 500MB"):
        put(0)
