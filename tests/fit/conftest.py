"""Images whose class can be seen, and stores of them: by a stub for what surrounds the network, by a real one for the rest."""

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


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if find_chromium() is None:
        pytest.skip("no Chromium: install it (apt-get install chromium) to test pages in a browser")
    started = Browser(tmp_path_factory.mktemp("profile"))
    yield started
    started.close()
