"""`extract doctor`: each check says what it found, and what to do where something is wrong."""

from pathlib import Path

import pytest

import extract.doctor
from extract.doctor import Check, check_machine
from extract.text import format_checks
from tests.store.files.file_systems import take_away


def checks(folder):
    return {check.name: check for check in check_machine(folder)}


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(extract.doctor, "_gpu_of", lambda _: None)


def test_a_sound_machine(tmp_path, quick):
    found = checks(tmp_path / "not" / "yet" / "there")
    assert {check.status for check in found.values()} <= {"PASS", "WARN"}
    assert found["hard links"].status == "PASS"
    assert found[f"folder {tmp_path}"].names_path
    assert set(found["cores"].to_dict()) == {"name", "status", "found", "advice"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("steps", "status"), [("link", "PASS"), ("link and rename", "WARN")])
def test_a_file_system_where_two_machines_may_take_one_name_is_a_warning(tmp_path, quick, monkeypatch, steps, status):
    take_away(steps, monkeypatch.setattr)
    found = checks(tmp_path)["hard links"]
    assert found.status == status
    assert ("one machine at a time" in found.advice) == (status == "WARN")


def test_a_file_system_without_locks_on_folders_is_for_one_run_at_a_time(tmp_path, quick, monkeypatch):
    def flock(_, operation):
        if operation & extract.doctor.fcntl.LOCK_EX:
            raise OSError(95, "Operation not supported")

    take_away("link and rename", monkeypatch.setattr)
    monkeypatch.setattr(extract.doctor.fcntl, "flock", flock)
    found = checks(tmp_path)["hard links"]
    assert (found.status, found.advice) == ("WARN", "let only one run at a time write there")
    assert "on one machine" not in found.found


def test_a_folder_that_takes_no_files_fails(tmp_path, quick, monkeypatch):
    def mkdtemp(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(extract.doctor.tempfile, "TemporaryDirectory", mkdtemp)
    assert checks(tmp_path)[f"folder {tmp_path}"].status == "FAIL"


def test_a_package_of_the_same_name_is_found(tmp_path, quick, monkeypatch):
    version = extract.doctor.importlib.metadata.version
    monkeypatch.setattr(
        extract.doctor.importlib.metadata, "version", lambda name: "1.0" if name == "fit" else version(name)
    )
    found = checks(tmp_path)
    assert (found["package fit"].status, found["package store"].status) == ("FAIL", "PASS")
    assert "pip uninstall fit" in found["package fit"].advice


@pytest.mark.parametrize(
    ("seen", "driver", "status"),
    [
        ({"tensorflow": "NVIDIA H200"}, True, "PASS"),
        ({"torch": "NVIDIA H200", "tensorflow": "no GPU"}, True, "WARN"),
        ({"torch": "no GPU", "jax": "no GPU (RuntimeError: CUDA)"}, True, "FAIL"),
        ({"torch": "no GPU"}, False, "PASS"),
        ({}, True, "FAIL"),
    ],
)
def test_a_gpu_that_no_framework_sees_is_a_failure(tmp_path, monkeypatch, seen, driver, status):
    monkeypatch.setattr(extract.doctor, "_gpu_of", seen.get)
    monkeypatch.setattr(extract.doctor, "machine_has_gpu", lambda: driver)
    found = checks(tmp_path)["GPU"]
    assert found.status == status
    assert bool(found.advice) == (status != "PASS")


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_lines_fit_a_terminal(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    place = Check("place " + "/long" * 10, "FAIL", "word " * 40, "do " * 40, names_path=True)
    lines = list(format_checks([place, Check("GPU", "PASS", "x")]))
    assert max(map(len, lines[1:])) <= columns
    assert lines[-1] == "PASS  GPU  x"
    assert Path(lines[0].split()[-1]).name == "long"
