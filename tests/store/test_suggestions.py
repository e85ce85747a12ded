"""What messages suggest runs as printed, from where the user is."""

import os
import subprocess
import sys

import pytest

from store.errors import DamagedStore
from store.suggestions import naming_store, suggest, suggest_install, suggested_line


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder of programs that is not on PATH, seen from the folder above it."""
    for name in ("extract", "fit", "store", "stillframe"):
        program = tmp_path / "env" / "bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    return tmp_path / "env" / "bin"


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        ("env/bin/fit", "env/bin/store info x"),
        ("env/bin/stillframe", "env/bin/stillframe store info x"),
        ("fit", "store info x"),
        ("stillframe", "stillframe store info x"),
        ("-c", "store info x"),
        ("/usr/lib/notebook.py", "store info x"),
    ],
)
def test_a_program_is_named_as_the_running_one_is(installed, monkeypatch, running, expected):
    monkeypatch.setattr(sys, "argv", [running])
    assert suggested_line("store", "info", "x") == expected


def test_a_program_on_path_is_named_alone(installed, monkeypatch):
    monkeypatch.setattr(sys, "argv", [str(installed / "fit")])
    assert suggested_line("store", "info") == f"{installed}/store info"
    monkeypatch.setenv("PATH", os.pathsep.join([str(installed), os.environ["PATH"]]))
    assert suggested_line("store", "info") == "store info"


def test_words_are_quoted_for_the_shell():
    assert suggest("store", "info", "my store's") == """`store info 'my store'"'"'s'`"""


@pytest.mark.parametrize("word", ["new\nline", "it's\n\\", "by\udcfftes", "tab\tü", "-dash", "-", "$HOME `x`"])
def test_a_shell_gives_a_program_the_words_that_were_meant(word):
    line = suggested_line("store", "info", word)
    assert line.isprintable()
    printed = subprocess.run(
        ["bash", "-c", line.replace("store info", "printf %s", 1)], capture_output=True, check=True
    ).stdout
    assert os.path.normpath(printed) == os.fsencode(word)
    assert not printed.startswith(b"-")


def test_packages_are_installed_for_the_python_that_runs(monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert suggest_install("stillframe[onnx]") == f"`{sys.executable} -m pip install 'stillframe[onnx]'`"
    monkeypatch.setattr("shutil.which", lambda _: os.path.join(os.path.dirname(sys.executable), "pip"))
    assert suggest_install("stillframe[onnx]") == "`pip install 'stillframe[onnx]'`"


def test_an_error_that_says_store_repair_says_of_which_store():
    with (
        pytest.raises(DamagedStore, match=r"^a shard is gone: run `store repair 'my store'`$"),
        naming_store("my store"),
    ):
        raise DamagedStore("a shard is gone: run `store repair`")
