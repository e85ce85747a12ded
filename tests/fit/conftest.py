"""Images whose class can be seen, and stores of them: by a stub for what surrounds the network, by a real one for the rest."""

import linecache
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import extract.extractor
import extract.resolve
from extract import extract as run_extract
from store import open_store
from tests.browser import Browser, find_chromium
from tests.stub import load_stub

CLASSES = {"blue": (40, 60, 200), "green": (40, 190, 60), "red": (200, 50, 40)}
LEVELS = {"blue": 1000.0, "green": 1010.0, "red": 1040.0}


def make_colors(folder, each=20, size=24):
    """Noise around a class's color, `<class>/<number>.png`, the last of each class of a doubtful color."""
    rng = np.random.default_rng(0)
    for name, color in CLASSES.items():
        for number in range(each):
            path = folder / name / f"{number:03d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            noise = rng.normal(0, 40, (size, size, 3))
            middle = np.array(color) if number < each - 1 else np.array((110, 110, 110))
            Image.fromarray(np.clip(middle + noise, 0, 255).astype(np.uint8)).save(path)
    return folder


def number_of(number, path):
    """Far from 0, unequal, and with a part that no image shows."""
    return LEVELS[path.split("/")[0]] + 3 * np.sin(5.0 * number)


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr(extract.resolve, "load_runtime", load_stub)
    monkeypatch.setattr(extract.extractor, "load_runtime", load_stub)


@pytest.fixture(scope="session")
def colors(tmp_path_factory):
    return make_colors(tmp_path_factory.mktemp("colors") / "data")


@pytest.fixture
def color_store(stub, colors, tmp_path):
    """60 rows of 4 x 4 x 3, float16."""
    run_extract(colors, out=tmp_path / "store", backbone="mobilenet", weights="random", image_size=(16, 16))
    return open_store(tmp_path / "store")


@pytest.fixture
def numbers(color_store, tmp_path):
    """A table that gives each image of `color_store` a number for its label."""
    paths = color_store.table()["path"].to_pylist()
    lines = [f"{path},{number_of(number, path):.4f},site{number // 2}" for number, path in enumerate(paths)]
    (tmp_path / "numbers.csv").write_text("path,label,group\n" + "\n".join(lines) + "\n")
    return tmp_path / "numbers.csv"


@pytest.fixture
def write_module(tmp_path, monkeypatch):
    """Writes a module of the user's into the working folder; the next import of it reads that code."""
    monkeypatch.chdir(tmp_path)

    def write(name, code):
        (tmp_path / f"{name}.py").write_text(code)
        linecache.clearcache()
        monkeypatch.delitem(sys.modules, name, raising=False)
        shutil.rmtree(tmp_path / "__pycache__", ignore_errors=True)

    return write


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if find_chromium() is None:
        pytest.skip("no Chromium: install it (apt-get install chromium) to test pages in a browser")
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()
