"""The paths of an image in docs/architecture.md: one image is followed, and meets the files that the page lists, in their order."""

import re
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

import extract.extractor
import extract.resolve
from extract.request import RunOptions
from extract.run import run
from fit import fit_head, load_head
from fit.prediction import predict_store
from store import open_store
from tests.fit.conftest import make_colors
from tests.stub import load_stub

ROOT = Path(__file__).parent.parent.parent
STEP = re.compile(r"^\| \d+ \| `([\w/]+\.py)` \((`\w+`(?:, `\w+`)*)\) \|", re.MULTILINE)
MOST = 14


def listed(title):
    """The steps of the table behind a title of the page: (file, function), where a step may have several functions."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page[page.index(title) :].partition("| step |")[2].partition("\n\n")[0]
    steps = STEP.findall(table)
    assert len(steps) == table.count("\n") - 1, "a step without its function"
    found = [(file, name) for file, names in steps for name in re.findall(r"\w+", names)]
    return [step for step in found if not step[0].startswith("extract/runtimes/")]  # the stub takes its place


@contextmanager
def following(steps):
    """Inside the block, the steps are collected in the order of their first calls, on whatever thread."""
    met = []
    files = {str(ROOT / file): file for file, _ in steps}

    def look(frame, event, _):
        if event == "call" and frame.f_code.co_filename in files:
            step = files[frame.f_code.co_filename], frame.f_code.co_name
            if step in steps and step not in met:
                met.append(step)

    threading.setprofile(look)
    sys.setprofile(look)
    try:
        yield met
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


@pytest.fixture
def options(tmp_path, monkeypatch):
    monkeypatch.setattr(extract.resolve, "load_runtime", load_stub)
    monkeypatch.setattr(extract.extractor, "load_runtime", load_stub)
    data = make_colors(tmp_path / "data", each=8)
    return RunOptions(data, tmp_path / "store", backbone="mobilenet", weights="random", image_size=(16, 16))


def test_from_path_to_commit_record(options):
    steps = listed("### From path to commit record")
    with following(steps) as met:
        run(options)
    assert met == steps
    assert len({file for file, _ in steps}) < MOST  # and that of the runtime


@pytest.mark.parametrize("title", ["Of the images of a store", "Of image files"])
def test_from_store_or_file_to_prediction(options, tmp_path, title):
    run(options)
    fit_head(open_store(options.out), head="centroid").save(tmp_path / "head")
    loading, *predicting = listed(title)
    with following([loading]) as met:
        head = load_head(tmp_path / "head")  # it tries the model out, so the other steps begin after it
    assert met == [loading]
    with following(predicting) as met:
        if title == "Of image files":
            head.predict(options.data / "red" / "000.png")
        else:
            predict_store(head, open_store(options.out))
    assert met == predicting
