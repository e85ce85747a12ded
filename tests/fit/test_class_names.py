"""Classes named as the columns of our tables, through everything that a head is used for."""

import csv
import json
import re
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest

from fit import load_head
from fit.commands import app
from fit.evaluated import evaluated_rows
from fit.head_folder import read_results
from fit.predictions import class_column
from store.command_line import run_app

NAMES = ("error", "class:error", "path", "predicted", "probability", "class:class:error")
"""Of the images of each color with an even number, then of those with an odd one."""


@pytest.fixture
def run(color_store, tmp_path, monkeypatch, capsys):
    """Runs a command beside the store and two heads of these classes; returns what it printed on standard output."""

    def command(*words):
        monkeypatch.setattr(sys, "argv", ["fit", *map(str, words)])
        assert run_app(app, "fit") == 0
        return capsys.readouterr().out

    lines = [f"{path},{label_of(path)}" for path in color_store.table()["path"].to_pylist()]
    (tmp_path / "labels.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    monkeypatch.chdir(tmp_path)
    options = ("--features", "store", "--labels", "labels.csv", "--near-twins", "ignore", "--evaluate-test")
    for name in ("centroid", "knn"):
        command("head", *options, "--head", name)
    return command


def label_of(path):
    color, number = path.removesuffix(".png").split("/")
    return NAMES[("blue", "green", "red").index(color) + 3 * (int(number) % 2)]


def test_each_column_of_a_csv_file_is_the_probability_of_its_class(run, color_store, colors, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    run("predict", "heads/centroid", "--features", "store", "--out", "stored.csv")
    run("predict", "heads/centroid", colors / "red", "broken.png", "--out", "images.csv", "--max-bad", "0.5")
    head = load_head("heads/centroid")
    assert head.classes == tuple(sorted(NAMES))
    features, rows = color_store.arrays()
    expected = dict(zip(rows["path"].to_pylist(), head.predict_features(features), strict=True))
    with (tmp_path / "stored.csv").open() as file:
        table = list(csv.reader(file))
    columns = [class_column(name) for name in head.classes]
    assert table[0] == ["path", "predicted", "probability", *columns, "error"]
    assert len(set(table[0])) == len(table[0])
    for row in table[1:]:
        named = dict(zip(table[0], row, strict=True))
        probabilities = np.array([float(named[column]) for column in columns])
        np.testing.assert_allclose(probabilities, expected[named["path"]], rtol=1e-6)
        assert named["predicted"] == head.classes[probabilities.argmax()]
        assert float(named["probability"]) == pytest.approx(probabilities.max())
        assert named["error"] == ""
    with (tmp_path / "images.csv").open() as file:
        broken = [row for row in csv.DictReader(file) if row["error"]]
    assert [row["path"] for row in broken] == ["broken.png"]
    assert {broken[0][column] for column in ("predicted", "probability", *columns)} == {""}


def test_a_head_is_loaded_evaluated_compared_and_reported(run, tmp_path):
    results = read_results(tmp_path / "heads" / "centroid")
    tested = evaluated_rows(results, "test")
    assert list(tested.labels) == [label_of(path) for path in tested.paths]
    written = pq.read_table(results.folder / "predictions.parquet")
    assert len(set(written.column_names)) == len(written.column_names)
    known = {row["path"]: row["predicted"] for row in written.to_pylist() if row["split"] == "test"}
    assert dict(zip(tested.paths, tested.predicted, strict=True)) == known
    again = json.loads(run("evaluate", "heads/centroid", "--features", "store", "--labels", "labels.csv", "--json"))
    assert again["evaluation"]["confusion"] == results.metrics["test"]["confusion"]
    assert [scores["name"] for scores in again["evaluation"]["per_class"]] == sorted(NAMES)
    assert "right alone" in run("compare", "heads/centroid", "heads/knn", "--all")
    shown = run("predict", "heads/centroid", "--features", "store", "--top", "6")
    assert all(len(re.findall(rf"(?<!\S){name} \d\.\d+", shown)) == 60 for name in NAMES)


def test_the_page_of_a_head_names_its_classes(run, tmp_path):
    page = tmp_path / "heads" / "centroid" / "report.html"
    before = page.read_text()
    written = json.loads(run("report", "heads/centroid", "--json"))
    assert written["page"] == "heads/centroid/report.html"
    assert {"confusion.png", "classes.png", "mistakes.png", "samples.png"} <= set(written["pictures"])
    for html in (before, page.read_text()):
        data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL).group(1))
        assert data["classes"] == sorted(NAMES)
        actual = {path: data["classes"][label] for path, (label,) in zip(data["paths"], data["actual"], strict=True)}
        assert actual == {path: label_of(path) for path in actual}
        assert len(actual) == 60
