"""The lock file is current: whatever pyproject.toml asks for, constraints.txt pins within its bounds."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent


def test_every_requirement_is_pinned_within_its_bounds():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(text) for text in project["dependencies"]]
    requirements += [Requirement(text) for extra in project["optional-dependencies"].values() for text in extra]
    pins: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        pin = Requirement(line)
        pins.setdefault(canonicalize_name(pin.name), []).append(str(pin.specifier).removeprefix("=="))
    for requirement in requirements:
        versions = pins.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement.name} is not in constraints.txt: run `make lock`"
        assert all(requirement.specifier.contains(version) for version in versions), f"{requirement}: run `make lock`"


def test_everything_that_programs_import_is_shipped():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    shipped = project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    packages = [folder.name for folder in ROOT.iterdir() if (folder / "py.typed").exists()]
    modules = [path.name for path in ROOT.glob("*.py")]
    assert sorted(shipped) == sorted([*packages, *modules])


def test_data_folders_with_the_names_of_packages_hide_nothing(tmp_path):
    for name in ("store", "fit", "extract"):
        (tmp_path / name).mkdir()
    code = "import store, fit, extract; print(store.__file__, fit.__file__, extract.__file__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert "None" not in found.stdout


@pytest.mark.slow
def test_a_wheel_holds_every_file_of_the_rooms(tmp_path):
    built = ["uv", "build", "--wheel", "--quiet", "--out-dir", str(tmp_path), str(ROOT)]
    subprocess.run([sys.executable, "-m", *built], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    tracked = subprocess.run(
        ["git", "ls-files", "store", "extract", "fit"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {"fit/page/report.html", "fit/page/page.css", "fit/page/map.js", "fit/page/card.md"} <= set(
        tracked.stdout.split()
    )
    assert set(tracked.stdout.split()) <= set(zipfile.ZipFile(wheel).namelist())
