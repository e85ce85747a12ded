"""Heads that predict numbers: fitted, saved, evaluated, compared, exported and reported."""

import html
import json
import re
import shlex
import sys

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from extract import extract as run_extract
from extract.api import Reporter
from fit import fit_head, load_head
from fit.commands import app
from fit.compare.errors import compare_errors_of, error_figure
from fit.compare.text import format_errors
from fit.evaluation import evaluate_head
from fit.evaluation_options import EvaluationOptions
from fit.head_folder import read_results
from fit.heads.table import HEADS
from fit.like import as_like
from fit.metrics.regression import REGRESSION_METRICS
from fit.numeric_labels import are_many_numbers, number_text, parse_numbers, quantile_strata
from fit.options import FitOptions
from fit.page.numbers import number
from fit.page.regression import regression_content
from fit.page.write import write_page
from fit.prediction import predict_store
from fit.report.pictures import write_report
from fit.text import format_by, format_metrics
from fit.train import fit_with
from store import open_store
from store.command_line import run_app
from store.errors import DamagedHead, UsageError

ABLE = sorted(name for name, kind in HEADS.items() if kind.regression)
QUICK = {"boosting": {"rounds": 10}, "dense": {"epochs": 25, "dropout": 0.0, "learning_rate": 0.003}}


def rows_of(head, split):
    table = head.predictions.filter(pc.equal(head.predictions["split"], split))
    return table, np.array(table["label"].to_pylist(), float), table["predicted"].to_numpy()


@pytest.mark.parametrize("name", ABLE)
def test_every_head_that_can_learns_numbers_and_is_the_same_after_loading(name, color_store, numbers, tmp_path):
    head = fit_head(
        color_store, name, task="regression", labels=numbers, parameters=QUICK.get(name, {}), evaluate_test=True
    )
    metrics = head.metrics
    json.dumps(metrics, allow_nan=False)
    assert (metrics["task"], metrics["reported"], metrics["classes"]) == ("regression", "test", [])
    assert not {"confusion", "confusion_of", "multi_label", "decision"} & set(metrics)
    for split in ("validation", "test"):
        table, actual, predicted = rows_of(head, split)
        assert metrics[split]["mean_absolute_error"]["value"] == pytest.approx(np.abs(actual - predicted).mean())
    assert table.column_names == ["path", "label", "predicted", "split", "split_group"]
    baseline = metrics["baseline"]["mean_absolute_error"]["value"]
    assert metrics["test"]["mean_absolute_error"]["value"] < 0.6 * baseline
    assert metrics["test"]["r2"]["value"] > 0.5
    loaded = load_head(head.save(tmp_path / "head"))
    assert loaded.info == head.info
    found, again = predict_store(head, color_store), predict_store(loaded, color_store)
    assert found.column_names == ["path", "predicted", "error"]
    np.testing.assert_array_equal(found["predicted"].to_numpy(), again["predicted"].to_numpy())
    tested = evaluate_head(loaded, color_store, EvaluationOptions(numbers, split="test"))
    for measure in REGRESSION_METRICS:
        assert tested["evaluation"][measure]["value"] == pytest.approx(metrics["test"][measure]["value"]), measure
    assert tested["baseline"] == metrics["baseline"]
    again = as_like(tmp_path / "head", {})
    assert (again.task, again.head) == ("regression", name)


def test_the_baseline_is_the_center_of_the_training_numbers(color_store, numbers):
    head = fit_head(color_store, "knn", task="regression", labels=numbers)
    train, validation = rows_of(head, "train")[1], rows_of(head, "validation")[1]
    baseline = head.metrics["baseline"]
    assert baseline["mean_absolute_error"]["value"] == pytest.approx(np.abs(validation - np.median(train)).mean())
    spread = np.sqrt(((validation - train.mean()) ** 2).mean())
    assert baseline["root_mean_squared_error"]["value"] == pytest.approx(spread)
    assert baseline["spearman"]["value"] is None


def test_splits_and_folds_have_small_and_large_numbers_and_keep_groups(color_store, numbers):
    head = fit_head(color_store, "ridge", task="regression", labels=numbers, group_by="group", cv=3, by="group")
    every = {}
    for split in ("train", "validation", "cv"):
        table, actual, _ = rows_of(head, split)
        assert actual.min() < 1005 < 1030 < actual.max(), split
        every[split] = set(table["split_group"].to_pylist())
    assert not every["train"] & every["validation"]
    folds = head.metrics["cv_folds"]
    assert [fold["fold"] for fold in folds] == [0, 1, 2]
    mean = np.average([fold["mean_absolute_error"] for fold in folds], weights=[fold["evaluated"] for fold in folds])
    assert head.metrics["cv"]["mean_absolute_error"]["value"] == pytest.approx(mean)
    assert head.metrics["cv_repeats"]["mean_absolute_error"]["mean"] == pytest.approx(mean)
    errors = [one["mean_absolute_error"]["value"] for one in head.metrics["by"]["values"]]
    assert errors == sorted(errors, reverse=True)
    assert format_by(head.metrics["by"])[0] == ["cv: group", "images", "mean absolute error"]
    assert head.metrics["chosen"]["by"] == "squared error"
    names = [row[0] for row in format_metrics(head.metrics)]
    assert names == [
        "95 % interval",
        "images",
        "groups",
        "mean absolute error",
        "root mean squared error",
        "r2",
        "spearman",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no label"),
        ("nan", "has the label 'nan'"),
        ("inf", "has the label 'inf'"),
        ("red", "has the label 'red'"),
        ("1_0", "has the label '1_0'"),
        ("1|2", r"has the label '1\|2'"),
    ],
)
def test_a_label_that_is_not_a_number_is_refused_by_name(color_store, numbers, text, words, capsys):
    lines = numbers.read_text().splitlines()
    lines[7] = f"blue/006.png,{text},site1"
    numbers.write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=rf"blue/006.png {words}, and --task regression needs a number") as error:
        fit_head(color_store, "ridge", task="regression", labels=numbers)
    assert error.value.exit_code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"head": "logistic"}, "the head logistic predicts classes alone: .* use one of ridge, knn, boosting, dense"),
        ({"head": "conv"}, "predicts classes alone"),
        ({"head": "ridge", "class_weight": "balanced"}, "--class-weight is about classes"),
        ({"head": "knn", "threshold": "f1"}, "--threshold is about classes"),
        ({"head": "knn", "abstain": 0.5}, "--abstain is about classes"),
    ],
)
def test_what_has_no_meaning_for_numbers_is_refused(color_store, numbers, options, words):
    with pytest.raises(UsageError, match=words):
        fit_head(color_store, task="regression", labels=numbers, **options)
    with pytest.raises(UsageError, match="--task is 'numbers'"):
        FitOptions(task="numbers")


def test_one_number_for_all_images_and_too_few_images_are_refused(color_store, numbers):
    lines = numbers.read_text().splitlines()
    numbers.write_text("path,label\n" + "".join(f"{line.split(',')[0]},7\n" for line in lines[1:]))
    with pytest.raises(UsageError, match="all 60 images have the number 7"):
        fit_head(color_store, "ridge", task="regression", labels=numbers)
    numbers.write_text("\n".join(lines[:6]) + "\n")
    with pytest.raises(UsageError, match="a regression needs 5"):
        fit_head(color_store, "ridge", task="regression", labels=numbers)


def test_a_classification_of_many_numbers_gets_a_hint(color_store, numbers):
    messages = []
    with pytest.raises(UsageError, match="have a single image"):
        fit_with(color_store, FitOptions(labels=numbers), Reporter(messages.append))
    assert messages[0].startswith("note: all labels are numbers")
    assert not are_many_numbers(["1", "2", "3"] * 20)
    assert not are_many_numbers([*map(str, range(50)), "many"])


def test_a_threshold_of_a_regression_is_refused(color_store, numbers):
    head = fit_head(color_store, "knn", task="regression", labels=numbers)
    with pytest.raises(UsageError, match="--abstain is for one class per image"):
        head.abstain_below(0.5)
    assert "a number" in repr(head) + head._repr_html_()


def test_two_heads_are_compared_by_their_errors_on_the_same_images(color_store, numbers, tmp_path):
    heads = {
        name: fit_head(color_store, name, task="regression", labels=numbers, evaluate_test=True)
        for name in ("knn", "ridge")
    }
    results = [read_results(head.save(tmp_path / name)) for name, head in heads.items()]
    comparison = compare_errors_of(results)
    errors = [head.metrics["validation"]["mean_absolute_error"]["value"] for head in heads.values()]
    assert comparison.best == int(np.argmin(errors))
    other = comparison.heads[1 - comparison.best]
    tests = [head.metrics["test"]["mean_absolute_error"]["value"] for head in heads.values()]
    assert other.difference.value == pytest.approx(tests[1 - comparison.best] - tests[comparison.best])
    assert other.difference.low is None
    assert any("too few images" in note or "too few for an interval" in note for note in comparison.notes)
    json.dumps(comparison.to_dict(), allow_nan=False)
    assert format_errors(comparison)[1 + comparison.best][0].endswith(" *")
    error_figure(comparison)
    classes = read_results(fit_head(color_store, "centroid").save(tmp_path / "classes"))
    for pair in ([*results, classes], [classes, *results]):
        with pytest.raises(UsageError, match="compare heads of one task"):
            compare_errors_of(pair)
    with pytest.raises(UsageError, match="two heads or more"):
        compare_errors_of(results[:1])
    with pytest.raises(UsageError, match="is named 2 times"):
        compare_errors_of([*results, results[0]])


def test_the_page_the_card_and_the_pictures_show_what_has_a_meaning(color_store, numbers, tmp_path):
    lines = numbers.read_text().splitlines()
    head = fit_head(
        color_store,
        "dense",
        task="regression",
        labels=numbers,
        parameters={"epochs": 3},
        by="group",
        evaluate_test=True,
    )
    results = read_results(head.save(tmp_path / "<b>head"))
    written = write_page(results, tmp_path)
    assert written.images == head.metrics["rows"]["test"]
    page, card = written.page.read_text(), written.card.read_text()
    assert page.count("<circle") == head.metrics["rows"]["test"]
    assert "<b>head" not in page
    assert "script" not in re.sub(r"script-src|script-only|\.scripted", "", page.partition("</style>")[2])
    assert "Mean absolute error" in page
    assert "mean absolute error" in card
    assert not re.search(
        r"accuracy|class ", page.partition("</style>")[2].replace("class weight", "").replace('class="', "")
    )
    assert set(write_report(results, tmp_path / "pictures").pictures) == {"predicted.png", "training.png"}
    assert len(lines) == 61


def test_the_command_line_fits_predicts_evaluates_and_compares(color_store, numbers, tmp_path, capsys, monkeypatch):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fit", *words])
        assert run_app(app, "fit") == 0
        return capsys.readouterr().out

    monkeypatch.chdir(tmp_path)
    for name in ("knn", "ridge"):
        fit = ["head", "--features", "store", "--labels", "numbers.csv", "--task", "regression", "--evaluate-test"]
        found = json.loads(run(*fit, "--head", name, "--json"))
        assert found["exit_code"] == 0
        assert found["validation"]["r2"]["value"] > 0.5
    run("predict", "heads/ridge", "--features", "store", "--out", "p.csv")
    assert (tmp_path / "p.csv").read_text().splitlines()[0] == '"path","predicted","error"'
    assert re.search(r"blue/000.png +\d{3,4}", run("predict", "heads/ridge", "--features", "store"))
    monkeypatch.setattr(sys, "argv", ["fit", "predict", "heads/ridge", "--features", "store", "--top", "1"])
    assert run_app(app, "fit") == 2
    assert "--top is how many classes to show, and this head predicts a number" in capsys.readouterr().err
    assert "mean absolute error" in run("compare", "heads/ridge", "heads/knn", "--out", "heads.png")
    assert "spearman" in run("evaluate", "heads/ridge", "--features", "store", "--labels", "numbers.csv")


def test_a_page_of_training_images_alone_has_their_error_and_not_the_baseline_s(color_store, numbers, tmp_path):
    head = fit_head(color_store, "ridge", task="regression", labels=numbers, val=0.0, test=0.0)
    content = regression_content(read_results(head.save(tmp_path / "head")))
    _, actual, predicted = rows_of(head, "train")
    assert content.error == number("mean_absolute_error", {"value": np.abs(actual - predicted).mean()})
    assert content.error.value != content.baseline.value


def test_commands_to_copy_name_the_labels_and_run_as_printed(color_store, numbers, tmp_path, capsys, monkeypatch):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["fit", *words])
        assert run_app(app, "fit") == 0
        output = capsys.readouterr()
        return output.out + output.err

    monkeypatch.chdir(tmp_path)
    printed = run("head", "--features", "store", "--labels", "numbers.csv", "--task", "regression", "--head", "knn")
    (step,) = (line for line in printed.splitlines() if " evaluate " in line and "--features" in line)
    assert "spearman" in run(*shlex.split(step)[1:])
    page = (tmp_path / "heads" / "knn" / "report.html").read_text()
    again = html.unescape(re.search(r"fit head .*?(?=</)", page, re.S).group())
    run(*shlex.split(again.replace("\\\n", " "))[1:])
    assert read_results(tmp_path / "heads" / "again").info.task.regression


@pytest.mark.parametrize("words", [["--map", "umap"], ["--map", "pca"], ["--images", "data"], ["--features", "store"]])
def test_a_report_of_numbers_has_no_use_for_what_makes_thumbnails_and_the_map(
    color_store, numbers, tmp_path, words, capsys, monkeypatch
):
    fit_head(color_store, "knn", task="regression", labels=numbers).save(tmp_path / "head")
    monkeypatch.setattr(sys, "argv", ["fit", "report", str(tmp_path / "head"), *words])
    assert run_app(app, "fit") == 2
    assert f"{words[0]} is for thumbnails and the map" in capsys.readouterr().err


def test_a_head_of_classes_is_not_taken_for_one_of_numbers(color_store, numbers, tmp_path):
    folder = fit_head(color_store, "ridge").save(tmp_path / "head")
    described = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps({**described, "classes": []}))
    with pytest.raises(DamagedHead, match="predicts classes"):
        load_head(folder)
    (folder / "head.json").write_text(json.dumps({**described, "classes": [], "head": "logistic"}))
    with pytest.raises(DamagedHead, match="invalid field"):
        load_head(folder)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_a_number_is_read_as_it_is_written(values):
    texts = [number_text(value) for value in values]
    assert parse_numbers(texts, []).tolist() == values


@given(st.lists(st.sampled_from([-2.0, 0.0, 0.5, 1e9]) | st.floats(-10, 10), min_size=1, max_size=200))
def test_strata_are_in_the_order_of_the_numbers_and_keep_equal_ones_together(values):
    strata = quantile_strata(np.array(values))
    assert strata.min() == 0
    assert set(strata) == set(range(strata.max() + 1))
    assert strata.max() < max(1, min(10, len(values) // 10))
    order = np.argsort(values, kind="stable")
    assert (np.diff(strata[order]) >= 0).all()
    for value in set(values):
        assert len(set(strata[np.array(values) == value])) == 1


@pytest.mark.parametrize("name", ["knn", "ridge"])
def test_several_stores_are_joined(name, color_store, colors, numbers, tmp_path):
    run_extract(colors, out=tmp_path / "other", backbone="mobilenet", weights="random", image_size=(24, 24))
    stores = [color_store, open_store(tmp_path / "other")]
    head = fit_head(stores, name, task="regression", labels=numbers)
    assert head.metrics["validation"]["r2"]["value"] > 0.5
    loaded = load_head(head.save(tmp_path / "head"))
    found, again = (predict_store(one, stores)["predicted"].to_numpy() for one in (head, loaded))
    np.testing.assert_array_equal(found, again)
