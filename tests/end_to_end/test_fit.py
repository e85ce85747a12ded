"""`extract run`, `fit head`, `fit predict`, as a user types them, on the default backbone's real weights."""

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from extract import extract as run_extract
from extract.samples import write_samples
from fit import fit_head
from fit.heads.table import HEADS
from store import open_store

ROOT = Path(__file__).parent.parent.parent
SHELL = "import sys, cli; cli.{program}_main()"


def command(program, *arguments, cwd, **environment):

    return subprocess.run(
        [sys.executable, "-c", SHELL.format(program=program), *map(str, arguments)],
        check=False,
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def without_progress(printed):
    """The lines that are not about progress, which are there if a step took longer than a second."""
    return [line for line in printed.splitlines() if not re.match(r"\d\d:\d\d:\d\d  ", line)]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """300 digits, and stores of them in float32 vectors and float16 tensors."""
    folder = tmp_path_factory.mktemp("digits")
    write_samples("digits", folder / "all")
    for path in sorted((folder / "all").rglob("*.png")):
        if int(path.stem) < 300:
            target = folder / "data" / path.parent.name / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    run_extract(folder / "data", out=folder / "vectors", pooling="max", image_size=(96, 96))
    run_extract(folder / "data", out=folder / "tensors", image_size=(96, 96))
    return folder


@pytest.fixture(scope="module")
def fitted(digits):
    result = command("fit", "head", "--features", digits / "vectors", "--out", "head", "--evaluate-test", cwd=digits)
    assert result.returncode == 0, result.stderr
    return result


def test_a_fit_says_how_good_it_is_and_where_it_is(fitted, digits):
    assert "fitting logistic on 179 images of 10 classes (61 for validation, 60 for test)" in fitted.stderr
    lines = fitted.stdout.splitlines()
    assert lines[0].split() == ["95", "%", "interval", "validation", "test", "baseline"]
    assert [line.split()[0] for line in lines[1:5]] == ["images", "accuracy", "macro", "log"]
    assert max(map(len, lines[: lines.index("next:")])) <= 80
    assert any(line.startswith("test: true \\ predicted") for line in lines)
    metrics = json.loads((digits / "head" / "metrics.json").read_text())
    assert metrics["test"]["accuracy"]["value"] > 0.75
    assert (
        metrics["test"]["accuracy"]["low"] < metrics["test"]["accuracy"]["value"] < metrics["test"]["accuracy"]["high"]
    )
    assert "the test images have been evaluated once" in fitted.stdout
    assert "Traceback" not in fitted.stderr


@pytest.mark.slow
def test_predicting_images_by_hand(fitted, digits):
    table = command("fit", "predict", "head", "data/3", "--top", "2", "--quiet", cwd=digits)
    assert table.returncode == 0, table.stderr
    assert all(line.startswith("data/3/") for line in table.stdout.splitlines())
    assert len(table.stdout.splitlines()[0].split()) == 5
    result = command("fit", "predict", "head", "data/3", "data/4/0004.png", "none.png", "--out", "out.csv", cwd=digits)
    assert result.returncode == 0, result.stderr
    with (digits / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "predicted", "probability", *"0123456789", "error"]
    assert rows[-1]["error"].startswith("missing")
    assert np.mean([row["predicted"] == "3" for row in rows[:-2]]) > 0.8
    assert f"{len(rows) - 1} predictions in out.csv, 1 image without: the column error says why" in result.stderr


def test_evaluating_and_predicting_from_a_store(fitted, digits):
    result = command("fit", "evaluate", "head", "--features", "vectors", "--json", cwd=digits)
    evaluated = json.loads(result.stdout)
    assert evaluated["evaluation"] == json.loads((digits / "head" / "metrics.json").read_text())["test"]
    assert (evaluated["rows"], evaluated["left_out"], evaluated["test_looks"]) == (60, 240, 2)
    assert "240 images are left out: the head has learned from them" in result.stderr
    result = command("fit", "predict", "head", "--features", "vectors", "--out", "out.parquet", cwd=digits)
    assert result.returncode == 0, result.stderr
    assert len(pq.read_table(digits / "out.parquet")) == 300
    result = command("fit", "evaluate", "head", "--features", "tensors", cwd=digits)
    assert result.returncode == 2
    assert "made with another recipe than the head; pooling: the head has max, the store has none" in result.stderr


def test_json_alone_on_standard_output(digits):
    result = command("fit", "head", "--features", "vectors", "--head", "centroid", "--json", cwd=digits)
    metrics = json.loads(result.stdout)
    assert set(metrics) >= {
        "validation",
        "test",
        "cv",
        "baseline",
        "classes",
        "confusion",
        "rows",
        "fingerprint",
        "seconds",
    }
    assert metrics["head"] == "centroid"
    assert metrics["test"] is None
    assert (digits / "heads" / "centroid" / "head.json").is_file()
    again = command("fit", "head", "--features", "vectors", "--head", "centroid", cwd=digits)
    assert again.returncode == 2
    assert again.stderr.strip().endswith("replace it with --force")


@pytest.mark.slow
def test_what_a_fit_suggests_next_runs_as_printed(digits):
    fit = Path(sys.executable).with_name("fit")
    place = digits / "with a space"
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [fit, "head", "--features", digits / "vectors", "--out", place], capture_output=True, text=True, check=True,
        cwd=digits, env=environment,
    )  # fmt: skip
    steps = done.stdout.partition("next:\n")[2].splitlines()
    assert [step.split()[1] for step in steps] == ["report", "predict", "evaluate", "export"]
    for step in steps:
        ended = subprocess.run(
            step, shell=True, capture_output=True, text=True, check=False, cwd=digits, env=environment
        )
        assert ended.returncode == 0, f"{step}\n{ended.stdout}{ended.stderr}"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_exporting_by_hand(fitted, digits):
    result = command("fit", "export", "head", "--to", "litert", "--out", "model.tflite", cwd=digits)
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    (line,) = without_progress(result.stderr)
    assert line.startswith("wrote model.tflite; on 20 images it is within ")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["head"], 2, "name the store: --features STORE"),
        (["head", "--features", "nothing"], 2, "no store at nothing"),
        (["head", "--features", "vectors", "--head", "forrest"], 2, "did you mean forest"),
        (["head", "--features", "vectors", "--set", "trees"], 2, "expected key=value"),
        (["head", "--features", "vectors", "--head", "conv"], 2, "extract with --pooling none"),
        (["predict", "head"], 2, "name either images or --features"),
        (["predict", "vectors", "data"], 2, "is not a head"),
        (["predict", "data/3/0003.png", "data"], 2, "is a file, expected the folder"),
        (["export", "head", "--to", "onnx", "--out", "model"], 2, "a file ending in .onnx"),
        (["evaluate", "head", "--features", "data"], 2, "is not a store"),
        (["predict", "head", "data", "--out", "table.xlsx"], 2, ".csv or .parquet"),
    ],
)
def test_typical_mistakes_are_one_clean_line(arguments, code, words, fitted, digits):
    result = command("fit", *arguments, cwd=digits)
    assert result.returncode == code, result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert len([line for line in result.stderr.splitlines() if "error:" in line]) == 1


SMOOTH = [kind.name for kind in HEADS.values() if kind.name not in ("knn", "forest", "boosting")]
QUICK = {
    "dense": {"epochs": 5},
    "conv": {"epochs": 3, "kernel": 2, "filters": 16},
    "cnn": {"epochs": 3, "filters": "16"},
    "dropout_dense": {"epochs": 3, "units": 64},
    "se": {"epochs": 3, "units": 64},
    "mobilenet_dense": {"epochs": 3},
}
PLACES = [
    (name, kind)
    for name in sorted(HEADS)
    for kind in ("vectors", "tensors")
    if not HEADS[name].continues and (kind == "tensors" or not HEADS[name].spatial)
]


def skew(digits, kind, name):
    """The largest difference in probability of each image between its file and its cached features.

    Files come in another order and in other batches than they were extracted in, which is where noise comes from.
    """
    features = open_store(digits / kind)
    head = fit_head(features, name, parameters=QUICK.get(name, {}))
    X, rows = features.arrays()
    order = np.random.default_rng(0).permutation(len(X))[:211]
    table = head.predict([digits / "data" / path for path in rows["path"].take(order).to_pylist()])
    found = np.array([table[label].to_numpy() for label in head.classes]).T
    return np.abs(found - head.predict_features(X[order])).max(axis=1)


def check_skew(digits, kind, name):
    moved = skew(digits, kind, name)
    if name in SMOOTH:
        assert moved.max() <= 1e-3
    else:
        assert (moved > 5e-3).mean() <= 0.01


@pytest.mark.parametrize(
    ("name", "kind"), [pytest.param("logistic", "vectors", marks=pytest.mark.slow), ("dense", "tensors")]
)
def test_images_get_what_their_cached_features_get(digits, kind, name):
    check_skew(digits, kind, name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind"), PLACES)
def test_no_head_is_skewed(digits, kind, name):
    check_skew(digits, kind, name)


@pytest.mark.slow
def test_predictions_that_could_not_all_be_written_are_exit_code_seventy_four(fitted, digits):
    arguments = ["predict", "head", "data", "--top", "10", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-c", SHELL.format(program="fit"), *arguments],
        cwd=digits,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == ""
    assert process.wait() == 74


@pytest.mark.slow
def test_pictures_of_a_head(fitted, digits):
    result = command("fit", "report", "head", cwd=digits, MPLCONFIGDIR=str(digits / "no" / "such"))
    assert result.returncode == 0, result.stderr
    assert without_progress(result.stderr) == []
    page = (digits / "head" / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "head/report.html" in result.stdout
    named = [line.split()[0] for line in result.stdout.splitlines() if line.startswith("head/report/")]
    assert sorted(named) == sorted(str(path.relative_to(digits)) for path in (digits / "head" / "report").iterdir())
    assert {"head/report/confusion.png", "head/report/mistakes.png", "head/report/average.png"} <= set(named)
    (digits / "data").rename(digits / "moved")
    try:
        result = command("fit", "report", "head", "--out", "pictures", cwd=digits)
        assert result.returncode == 0
        (line,) = without_progress(result.stderr)
        assert line.startswith("warning: not written: samples.png, average.png, mistakes.png: none of the ")
        result = command("fit", "report", "head", "--out", "pictures", "--images", "moved", "--json", cwd=digits)
        answer = json.loads(result.stdout)
        assert answer["left_out"] == {}
        assert answer["notes"] == []
        assert answer["page"] == "pictures/report.html"
    finally:
        (digits / "moved").rename(digits / "data")


@pytest.mark.slow
def test_heads_side_by_side(fitted, digits):
    assert command("fit", "head", "--features", "vectors", "--head", "knn", "--out", "knn", cwd=digits).returncode == 0
    result = command("fit", "compare", "head", "knn", "--out", "heads.png", cwd=digits)
    assert result.returncode == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()[1:3]] == ["head", "knn"]
    assert "best by validation accuracy: " in result.stdout
    assert (digits / "heads.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_a_sweep_that_is_stopped_continues(digits):
    arguments = ["sweep", "--features", "vectors", "--head", "sgd", "--method", "random", "--trials", "4"]
    arguments += ["--try", "learning_rate=1e-4..1e-1", "--epochs", "100", "--out", "sweep"]
    with subprocess.Popen(
        [sys.executable, "-c", SHELL.format(program="fit"), *arguments],
        cwd=digits,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        next(line for line in process.stderr if line.startswith("trial 2 of 4"))
        process.terminate()
        said = process.stderr.read()
    assert process.returncode == 75
    assert "stopped; trials done so far, 1, are kept in sweep: run the same command again to continue" in said
    result = command("fit", *arguments, cwd=digits)
    assert result.returncode == 0, result.stderr
    assert "trial 1 of 4" not in result.stderr
    assert " * " in result.stdout.splitlines()[1]
    again = command("fit", *arguments, "--json", cwd=digits)
    assert "trial" not in again.stderr
    found = json.loads(again.stdout)
    assert len(found["trials"]) == 4
    assert found["metrics"]["chosen_from"]["trials"] == 4
    assert command("fit", "predict", "sweep/best", "data/3/0003.png", cwd=digits).returncode == 0
