"""The tests notice every fault of `tests/fit/mutations.py`: each is put into a copy of the code, whose tests then fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fit.decision_mutations import DECISION_MUTATIONS
from tests.fit.experiment_mutations import EXPERIMENT_MUTATIONS
from tests.fit.mutations import MUTATIONS

ALL = (*MUTATIONS, *EXPERIMENT_MUTATIONS, *DECISION_MUTATIONS)

ROOT = Path(__file__).parents[2]
COPIED = ("benchmarks", "extract", "fit", "store", "tests", "cli.py", "stillframe.py", "pyproject.toml")
FAILED = 1  # pytest's exit code for failed tests; anything else means that they did not run


@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.fault)
def test_a_fault_applies_to_one_place(mutation):
    text = (ROOT / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, f"{mutation.file} has changed: adapt the fault {mutation.fault!r}"
    assert mutation.old != mutation.new
    assert all((ROOT / test.partition("::")[0]).is_file() for test in mutation.tests)


def test_no_fault_is_listed_twice():
    assert len({mutation.fault for mutation in ALL}) == len(ALL) >= 60


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy of the code and its tests."""
    folder = tmp_path_factory.mktemp("mutations") / "copy"
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "0.5.0"))
        else:
            shutil.copy(source, folder / name)
    return folder


def run_tests(folder, tests):
    """Run tests of a copy, up to the first that fails."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-n",
        "0",
        "-q",
        "-x",
        "-p",
        "no:cacheprovider",
        "-m",
        "not slow",
        *tests,
    ]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    base = ["--basetemp", str(folder.parent / "base")]
    return subprocess.run([*command, *base], cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_tests_pass_without_a_fault(copy):
    tests = sorted({test for mutation in ALL for test in mutation.tests})
    result = run_tests(copy, tests)
    assert result.returncode == 0, result.stdout[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("mutation", ALL, ids=lambda mutation: mutation.fault)
def test_the_tests_notice(copy, mutation):
    file = copy / mutation.file
    original = file.read_text(encoding="utf-8")
    file.write_text(original.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        result = run_tests(copy, mutation.tests)
    finally:
        file.write_text(original, encoding="utf-8")
    assert result.returncode == FAILED, f"{mutation.fault}: {result.stdout[-3000:]}"
