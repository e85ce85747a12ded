"""Shard files are checked before they are read: by several threads, a few files ahead."""

import sys
import threading

import pytest

from store.errors import DamagedStore
from store.files.local import LocalFiles
from store.shard_file import checked_ahead, read_shard
from store.snapshot import load_snapshot
from tests.store.build import SmallStore, flip_bit, make_images

SHARDS = 9
PATIENCE = 10  # seconds, for what takes milliseconds


@pytest.fixture
def folder(tmp_path):
    small = SmallStore(tmp_path / "store")
    small.update(make_images(*(f"{number}.png" for number in range(SHARDS))), images_per_shard=1)
    return small.folder.root


def records_in(folder):
    return [shard.record for shard in load_snapshot(LocalFiles(folder)).committed_shards()]


class Observed(LocalFiles):
    """Counts the files that are checked; `checking` is called inside each check."""

    room_for_copies = sys.maxsize

    def __init__(self, root, checking=lambda: None):
        super().__init__(root)
        self.checked = []
        self.checking = checking

    def local_copy(self, name):
        self.checked.append(name)
        self.checking()
        return super().local_copy(name)


def test_files_are_checked_by_several_threads(folder):
    together = threading.Barrier(4)
    files = Observed(folder, lambda: together.wait(PATIENCE))
    assert next(checked_ahead(files, records_in(folder)[:4])) == 0
    assert not together.broken


def test_only_a_few_files_are_checked_ahead(folder):
    records = records_in(folder)
    files = Observed(folder)
    for position in checked_ahead(files, records):
        assert f"data/{records[position].shard}" in files.checked
        assert len(files.checked) <= position + 4
    assert sorted(files.checked) == sorted(f"data/{record.shard}" for record in records)


def test_a_single_file_starts_no_thread(folder):
    files = Observed(folder)
    assert list(checked_ahead(files, records_in(folder)[:1])) == [0]
    assert list(checked_ahead(files, [])) == []
    assert files.checked == []


def test_who_stops_reading_waits_for_no_more_than_has_begun(folder):
    files = Observed(folder)
    positions = checked_ahead(files, records_in(folder))
    next(positions)
    positions.close()
    assert len(files.checked) <= 4
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("check")]


def test_a_damaged_file_is_an_error_when_it_is_read_not_before(folder):
    records = records_in(folder)
    flip_bit(folder / "data" / records[2].shard, 0)
    files = LocalFiles(folder)
    positions = list(checked_ahead(files, records))
    assert positions == list(range(SHARDS))
    assert read_shard(files, records[1], lambda path: path.name) == records[1].shard
    with pytest.raises(DamagedStore, match="not the bytes that gave it its name"):
        read_shard(files, records[2], lambda path: path.name)


def test_a_copy_that_another_process_deletes_meanwhile_is_asked_for_again(folder):
    record = records_in(folder)[0]
    paths = []

    def read(path):
        paths.append(path)
        if len(paths) == 1:
            raise FileNotFoundError(path)
        return "read"

    assert read_shard(LocalFiles(folder), record, read) == "read"
    assert len(paths) == 2


def test_no_more_is_downloaded_ahead_than_the_cache_holds(folder):
    """A copy would be deleted before it is read, or while another thread writes it."""
    records = records_in(folder)
    largest = max(record.shard_bytes for record in records)
    for room, ahead in ((0, 0), (2 * largest, 0), (3 * largest, 2), (4 * largest, 3), (100 * largest, 4)):
        files = Observed(folder)
        files.room_for_copies = room
        next(checked_ahead(files, records))
        assert len(files.checked) <= ahead
        assert bool(files.checked) == bool(ahead)
