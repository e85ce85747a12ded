"""The status file of a run: what it says at each state, and that it is whole whenever it is read."""

import json
import time
from datetime import datetime

import pytest

import extract.status_file
from extract.status_file import Status, StatusFile, followed
from store.errors import EnvironmentFailure, StoppedEarly
from store.progress import SILENT


def read(path):
    return json.loads(path.read_text())


def until(path, **expected):
    """Wait for what the file is to say."""
    while {name: read(path)[name] for name in expected} != expected:
        time.sleep(0.01)


def test_it_follows_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(extract.status_file, "_SECONDS", 0.01)
    path = tmp_path / "status.json"
    with followed(path, "store", SILENT) as reporter:
        assert (read(path)["state"], read(path)["images"]) == ("starting", None)
        with reporter.progress(10) as shown:
            assert (read(path)["state"], read(path)["images"], read(path)["done"]) == ("running", 10, 0)
            shown.advance(4, 1)
            until(path, done=4, failures=1)
            assert read(path)["seconds_left"] >= 0
            shown.advance(6, 0)
            shown.commit(10, 1)
    now = read(path)
    assert (now["state"], now["done"], now["failures"], now["seconds_left"], now["error"]) == ("done", 10, 1, 0, None)
    assert datetime.fromisoformat(now["started"]) <= datetime.fromisoformat(now["updated"])
    assert [name.name for name in tmp_path.iterdir()] == ["status.json"]


def test_shards_in_hand_do_not_count_as_done_once_a_run_has_stopped(tmp_path):
    path = tmp_path / "status.json"

    def run():
        with followed(path, "store", SILENT) as reporter, reporter.progress(10) as shown:
            shown.advance(3, 1)
            shown.commit(3, 1)
            shown.advance(4, 2)
            raise StoppedEarly("stopped")

    with pytest.raises(StoppedEarly):
        run()
    assert (read(path)["state"], read(path)["done"], read(path)["failures"]) == ("stopped", 3, 1)


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (StoppedEarly("stopped early, finished"), "stopped", "stopped early, finished"),
        (KeyboardInterrupt(), "stopped", "run the same command again"),
        (EnvironmentFailure("disk full"), "failed", "disk full"),
        (RuntimeError("oh"), "failed", "oh"),
    ],
)
def test_it_says_how_a_run_ended(tmp_path, error, state, reason):
    path = tmp_path / "status.json"
    with pytest.raises(type(error)), followed(path, "store", SILENT):
        raise error
    assert read(path)["state"] == state
    assert reason in read(path)["error"]


def test_a_run_that_finds_nothing_to_compute_has_computed_none_of_no_images(tmp_path):
    path = tmp_path / "status.json"
    with followed(path, "store", SILENT):
        assert read(path)["images"] is None
    assert (read(path)["state"], read(path)["images"], read(path)["done"]) == ("done", 0, 0)


def test_it_is_renewed_while_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.setattr(extract.status_file, "_SECONDS", 0.01)
    path = tmp_path / "status.json"
    with followed(path, "store", SILENT):
        before = path.stat().st_ino
        while path.stat().st_ino == before:
            time.sleep(0.01)


def test_what_is_done_does_not_write_it_each_time(tmp_path):
    path = tmp_path / "status.json"
    file = StatusFile(path, "store")
    before = path.read_bytes()
    file.advance(1, 0, 1.0)
    assert path.read_bytes() == before


def test_rate_and_time_left():
    status = Status("store", images=100).advanced(20, 2, 10.0)
    assert (status.images_per_second, status.seconds_left) == (2.0, 40.0)


def test_a_file_that_cannot_be_written_is_said_before_anything_is_done(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EnvironmentFailure, match=r"--status-file .* name a file in a folder that can be written"):
        StatusFile(tmp_path / "file" / "status.json", "store")


def test_a_file_that_cannot_be_written_any_more_is_no_reason_to_stop(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    with followed(folder / "status.json", "store", SILENT) as reporter:
        (folder / "status.json").unlink()
        folder.rmdir()
        with reporter.progress(1) as shown:
            shown.advance(1, 0)
