import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fit import fit_head
from fit.commands import app
from fit.compare.heads import compare_heads, comparison_figure
from fit.compare.text import format_comparison
from fit.evaluation import evaluate_head
from fit.evaluation_options import EvaluationOptions
from fit.head_folder import read_results
from store.command_line import run_app
from store.errors import UsageError


@pytest.fixture
def saved(color_store, tmp_path):
    """Two heads that were fitted and tested on the same images."""
    names = ("logistic", "centroid")
    return [read_results(fit_head(color_store, name, evaluate_test=True).save(tmp_path / name)) for name in names]


def edited(results, validation=None, wrong=0, drop=0):
    """The results with another validation accuracy, that many test images taken for another class, or left out."""
    metrics = results.metrics
    if validation is not None:
        accuracy = {"value": validation, "low": validation, "high": validation}
        metrics = {**metrics, "validation": {**metrics["validation"], "accuracy": accuracy}}
    rows = results.predictions.to_pylist()
    tested = [row for row in rows if row["split"] == "test"]
    for row in tested:
        row.update({name: float(name == row["label"]) for name in results.info.classes})
    for row in tested[:wrong]:
        row.update({name: float(name != row["label"]) / 2 for name in results.info.classes})
    kept = [row for row in rows if row["split"] != "test"] + tested[drop:]
    table = pa.Table.from_pylist(kept, schema=results.predictions.schema)
    return replace(results, metrics=metrics, predictions=table)


def test_the_best_is_chosen_by_validation_and_differences_are_the_tests(saved):
    first, second = edited(saved[0], validation=0.9, wrong=6), edited(saved[1], validation=0.8, wrong=3)
    comparison = compare_heads([second, first])
    assert comparison.best == 1
    behind, best = comparison.heads
    assert best.difference is None
    assert behind.shared == 12
    assert behind.difference.value == pytest.approx(3 / 12)
    assert (behind.paired.first_only, behind.paired.second_only) == (3, 0)
    assert behind.paired.p_value == pytest.approx(0.25)
    table = format_comparison(comparison)
    assert [row[0].endswith(" *") for row in table[1:]] == [False, True]
    assert table[1][3:7] == ["+0.250", "0.250", "3 : 0", "12"]
    assert "no interval: 12 images: too few for an interval (20 or more)" in comparison.notes
    everything = format_comparison(comparison, everything=True)
    assert everything[1][-1] == "centroid"
    assert everything[1][everything[0].index("backbone")] == "mobilenet"


def with_tests(results, right, groups, validation=0.9):
    """The results with as many test images, of which those are right, in those groups; no groups as in 0.5.0."""
    first, second = results.info.classes[:2]
    rows = [
        {
            "path": f"{number}.png",
            "label": first,
            "predicted": first if correct else second,
            "probability": 1.0,
            **{name: float(name == (first if correct else second)) for name in results.info.classes},
            "split": "test",
            "split_group": group,
        }
        for number, (correct, group) in enumerate(zip(right, groups, strict=True))
    ]
    schema = results.predictions.schema
    kept = results.predictions.filter(pc.not_equal(results.predictions["split"], "test"))
    table = pa.concat_tables([kept, pa.Table.from_pylist(rows, schema=schema)])
    accuracy = {"value": validation, "low": None, "high": None}
    metrics = {**results.metrics, "validation": {**results.metrics["validation"], "accuracy": accuracy}}
    return replace(results, metrics=metrics, predictions=table)


def of_0_5_0(results):
    return replace(results, predictions=results.predictions.drop_columns(["split_group"]))


def correlated(seed=0, groups=30, each=10):
    """Two heads that are equally good, but not in the same groups; and the groups."""
    rng = np.random.default_rng(seed)
    chances = [np.clip(0.8 + rng.normal(0, 0.15, groups), 0, 1).repeat(each) for _ in range(2)]
    return [rng.random(groups * each) < chance for chance in chances], np.arange(groups).repeat(each)


def test_images_of_one_group_are_compared_together(saved):
    right, groups = correlated()
    first, second = (
        with_tests(results, marks, groups, validation)
        for results, marks, validation in zip(saved, right, (0.9, 0.8), strict=True)
    )
    paired = compare_heads([first, second]).heads[1].paired
    alone = compare_heads([of_0_5_0(first), of_0_5_0(second)])
    assert paired.groups == 30
    assert paired.test == "McNemar over 30 groups"
    naive = alone.heads[1].paired
    assert naive.groups == 300
    width, naive_width = (found.difference.high - found.difference.low for found in (paired, naive))
    assert width > 1.3 * naive_width
    assert paired.p_value > naive.p_value
    assert any("did not note which images are of one group" in note for note in alone.notes)
    # The groups of one head are enough.
    assert compare_heads([of_0_5_0(first), second]).heads[1].paired.groups == 30


def test_images_that_are_of_one_group_for_either_head_are_together(saved):
    (right, other), groups = correlated()
    first, second = with_tests(saved[0], right, groups), with_tests(saved[1], other, np.arange(300) // 20, 0.8)
    assert compare_heads([first, second]).heads[1].paired.groups == 15


def test_too_few_groups_are_compared_without_interval(saved):
    (right, other), _ = correlated()
    first, second = (
        with_tests(results, marks, np.arange(300) % 4) for results, marks in zip(saved, (right, other), strict=True)
    )
    comparison = compare_heads([first, second])
    assert comparison.heads[1].difference.low is None
    assert "no interval: 300 images in 4 groups: too few groups for an interval (10 or more)" in comparison.notes
    assert format_comparison(comparison)[2][4] == "-"


def test_p_values_of_several_heads_are_corrected(saved):
    rng = np.random.default_rng(0)
    hard = rng.random(200)
    heads = [
        replace(
            with_tests(saved[number % 2], hard + rng.normal(0, 0.1, 200) < limit, np.arange(200), validation),
            folder=saved[0].folder.with_name(f"head{number}"),
        )
        for number, (limit, validation) in enumerate([(0.9, 0.9), (0.8, 0.8), (0.87, 0.85)])
    ]
    comparison = compare_heads(heads)
    plain = [head.paired.p_value for head in comparison.heads[1:]]
    corrected = [head.p_value for head in comparison.heads[1:]]
    assert corrected[0] == pytest.approx(min(1, 2 * plain[0]))
    assert corrected[1] == pytest.approx(max(plain[1], corrected[0]))
    assert comparison.heads[0].p_value is None
    assert any("corrected for 2 comparisons (Holm)" in note for note in comparison.notes)
    assert json.loads(json.dumps(comparison.to_dict()))["heads"][1]["paired"]["test"] == "exact McNemar"


def with_folds(results, *accuracies):
    folds = [
        {"repeat": 0, "fold": at, "learned": 40, "evaluated": 10, "accuracy": accuracy, "log_loss": 1.0}
        for at, accuracy in enumerate(accuracies)
    ]
    return replace(results, metrics={**results.metrics, "cv_folds": folds})


def test_heads_with_the_same_folds_are_compared_in_them(saved):
    heads = [edited(saved[0], 0.9), edited(saved[1], 0.8)]
    first, second = with_folds(heads[0], 0.9, 0.8, 0.9), with_folds(heads[1], 0.7, 0.8, 0.8)
    comparison = compare_heads([first, second])
    found = comparison.heads[1].folds
    assert found.difference.value == pytest.approx(-0.1)
    assert comparison.heads[1].folds_p_value == found.p_value
    assert comparison.heads[0].folds is None
    assert format_comparison(comparison)[0][8:10] == ["cv - best's", "cv p"]
    assert any("corrected resampled t-test" in note for note in comparison.notes)
    json.dumps(comparison.to_dict())
    assert compare_heads([first, heads[1]]).heads[1].folds is None
    other = replace(second, info=replace(second.info, seed=5))
    assert compare_heads([first, other]).heads[1].folds is None


def test_equal_heads_differ_by_nothing(saved):
    comparison = compare_heads([edited(saved[0], 0.9), edited(saved[1], 0.9)])
    assert comparison.best == 0
    found = comparison.heads[1]
    assert (found.difference.value, found.difference.low, found.p_value) == (0.0, None, 1.0)


def test_other_test_images_are_compared_where_they_are_shared_and_said(saved):
    first, second = edited(saved[0], 0.9, wrong=6), edited(saved[1], 0.8, drop=5)
    comparison = compare_heads([first, second])
    assert comparison.heads[1].shared == 7
    assert comparison.heads[1].difference.value == pytest.approx(1 / 7)
    assert any("other test images than the best's" in note for note in comparison.notes)
    comparison = compare_heads([first, edited(saved[1], 0.8, drop=12)])
    assert comparison.heads[1].difference is None


def test_images_of_another_label_are_not_the_same(saved):
    rows = saved[1].predictions
    other = pc.if_else(pc.equal(rows["label"], "red"), "blue", rows["label"])
    changed = replace(saved[1], predictions=rows.set_column(1, "label", other))
    shared = compare_heads([edited(saved[0], 1.0), changed]).heads[1].shared
    assert shared == 12 - pc.sum(pc.and_(pc.equal(rows["label"], "red"), pc.equal(rows["split"], "test"))).as_py()


def test_labels_with_spaces_are_those_without(color_store, tmp_path):
    paths = color_store.table()["path"].to_pylist()
    lines = [f"{path},{path.split('/')[0]}{' ' * (number % 2)}\n" for number, path in enumerate(paths)]
    (tmp_path / "labels.csv").write_text("path,label\n" + "".join(lines))
    spaced = fit_head(color_store, "centroid", labels=tmp_path / "labels.csv", evaluate_test=True)
    assert spaced.classes == ("blue", "green", "red")
    assert evaluate_head(spaced, color_store, EvaluationOptions(tmp_path / "labels.csv"))["rows"] == 12
    plain = fit_head(color_store, "centroid", evaluate_test=True)
    compared = compare_heads([read_results(head.save(tmp_path / name)) for name, head in (("a", spaced), ("b", plain))])
    assert compared.heads[1].shared == 12


def test_heads_of_other_splits(color_store, saved, tmp_path):
    other = read_results(
        fit_head(color_store, "centroid", seed=3, test=0.1, evaluate_test=True).save(tmp_path / "other")
    )
    notes = compare_heads([*saved, other]).notes
    assert any("validated on different images" in note for note in notes)
    without = read_results(fit_head(color_store, "centroid", test=0.0).save(tmp_path / "without"))
    assert without.metrics["test"] is None
    comparison = compare_heads([edited(saved[0], 1.0), without])
    assert comparison.heads[1].difference is None
    sentence = "without a test, which `fit evaluate HEAD --features STORE --split test` gives: "
    assert any(note.startswith(sentence) for note in comparison.notes)
    assert format_comparison(comparison)[2][2:8] == ["-", "-", "-", "-", "0", "-"]
    assert len(comparison_figure(comparison).axes) == 2


def test_no_head_is_apart_from_the_test_of_a_best_head_without_one(color_store, saved, tmp_path):
    best = read_results(fit_head(color_store, "centroid").save(tmp_path / "best"))
    comparison = compare_heads([edited(best, 1.0), edited(saved[0], 0.5)])
    assert comparison.heads[0].test is None
    assert not any("no test image in common" in note for note in comparison.notes)


@pytest.mark.parametrize("words", [["compare", "a", "b"], ["evaluate", "a", "--features", "store"]])
def test_scores_that_were_asked_for_are_printed_with_quiet_too(words, color_store, tmp_path, monkeypatch, capsys):
    for name in ("a", "b"):
        fit_head(color_store, "centroid").save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["fit", *words, "--quiet"])
    assert run_app(app, "fit") == 0
    assert "accuracy" in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused(saved, color_store, tmp_path):
    with pytest.raises(UsageError, match="two heads or more"):
        compare_heads(saved[:1])
    classes = replace(saved[1].info, classes=("blue", "green", "pink"))
    with pytest.raises(UsageError, match="only one of them has pink, red"):
        compare_heads([saved[0], replace(saved[1], info=classes)])
    without = fit_head(color_store, "centroid", val=0.0).save(tmp_path / "without")
    with pytest.raises(UsageError, match="without has no validation"):
        compare_heads([saved[0], read_results(without)])
    with pytest.raises(UsageError, match="logistic is named 2 times"):
        compare_heads([saved[0], saved[1], replace(saved[0], folder=saved[0].folder / ".." / "logistic")])


def test_heads_without_validation_are_compared_in_their_folds(color_store, tmp_path):
    options = {"val": 0.0, "cv": 3}
    heads = [read_results(fit_head(color_store, name, **options).save(tmp_path / name)) for name in ("centroid", "knn")]
    comparison = compare_heads(heads)
    assert (comparison.chosen_by, comparison.measured) == ("cv", "cv")
    accuracies = [head.metrics["cv"]["accuracy"]["value"] for head in heads]
    assert comparison.best == int(np.argmax(accuracies))
    assert comparison.heads[1 - comparison.best].folds is not None
    assert comparison.notes[0].startswith("best by cross-validated accuracy: ")
    assert format_comparison(comparison)[0][1] == "cv accuracy"
    assert len(comparison_figure(comparison).axes) >= 1


@pytest.mark.parametrize("module", ["fit.compare.heads", "fit.report.pictures", "fit.search.sweep", "fit.train"])
def test_nothing_waits_for_keras_that_does_not_need_it(module):
    script = f"import sys, {module}; sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
