"""A head whose files, classes and groups have hostile names, with its page, made once."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import extract.extractor
import extract.resolve
from extract import extract as run_extract
from fit import fit_head
from fit.head_folder import read_results
from fit.page.write import write_page
from store import open_store
from tests.stub import load_stub

HOSTILE_CLASSES = (
    "</script><script>alert('class')</script>",
    '"><img src=x onerror=alert(1)>',
    "${alert(`class`)} {{ 7 * 7 }} <!--<script>",
)
HOSTILE_FILES = (
    "<img src=x onerror=alert(2)>",
    "<script>alert(3)<",
    'it\'s "quoted" & &amp;',
    "two\nlines",
    "right\u202eto left",
    "${alert(4)}",
)
HOSTILE_GROUPS = ("<b>first</b>", "'second\"")
COLORS = ((40, 60, 200), (40, 190, 60), (200, 50, 40))
EACH = 24


def make_hostile_data(folder):
    """Images of three colors, some labelled wrongly, in a table that gives labels and groups; wide and of 24 pixels."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    rows = {"path": [], "label": [], "group": []}
    for number in range(3 * EACH):
        name = f"{HOSTILE_FILES[number % len(HOSTILE_FILES)]} {number}.png"
        noise = rng.normal(0, 30, (24, 36, 3)) + COLORS[number % 3]
        Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(folder / name)
        wrong = number % 7 == 0
        rows["path"].append(name)
        rows["label"].append(HOSTILE_CLASSES[(number + wrong) % 3])
        rows["group"].append(HOSTILE_GROUPS[number % 2])
    pq.write_table(pa.table(rows), folder / "images.parquet")
    return folder / "images.parquet"


@pytest.fixture(scope="session")
def hostile(tmp_path_factory):
    """`store`, `results` and the written `page` of a head on such images."""
    folder = tmp_path_factory.mktemp("hostile")
    table = make_hostile_data(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extract.resolve, "load_runtime", load_stub)
        patch.setattr(extract.extractor, "load_runtime", load_stub)
        run_extract(table, out=folder / "store", backbone="mobilenet", weights="random", image_size=(16, 16))
    store = open_store(folder / "store")
    results = read_results(
        fit_head(store, "dense", test=0.4, epochs=3, seed=1, evaluate_test=True).save(folder / "head")
    )
    return SimpleNamespace(store=store, results=results, written=write_page(results, results.folder))
