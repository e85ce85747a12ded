"""What an evaluation says beside the scores: accuracy by a column, classes that are missing, the kind of task."""

import json

import numpy as np
import pytest

from fit import fit_head
from fit.evaluation import evaluate_head
from fit.evaluation_options import EvaluationOptions
from fit.text import format_by, format_confusion, format_metrics, format_remarks
from store.errors import UsageError


def labels_file(folder, store, label_of, **columns):
    """A table of other labels, and of other columns, for a store's images."""
    paths = store.table()["path"].to_pylist()
    lines = [",".join(["path", "label", *columns])]
    for number, path in enumerate(paths):
        lines.append(",".join([path, label_of(number, path), *(value(number) for value in columns.values())]))
    file = folder / "labels.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def own_label(number, path):
    return path.split("/")[0]


def test_the_accuracy_of_each_value_of_a_column_is_measured_the_worst_first(color_store, tmp_path):
    labels = labels_file(tmp_path, color_store, own_label, group=lambda number: f"site{number % 2}")
    head = fit_head(color_store, "centroid", labels=labels, by="group", evaluate_test=True)
    by = head.metrics["by"]
    assert (by["column"], by["of"]) == ("group", "test")
    assert sorted(one["value"] for one in by["values"]) == ["site0", "site1"]
    assert sum(one["rows"] for one in by["values"]) == head.metrics["test"]["rows"]
    accuracies = [one["accuracy"]["value"] for one in by["values"]]
    assert accuracies == sorted(accuracies)
    mean = np.average(accuracies, weights=[one["rows"] for one in by["values"]])
    assert mean == pytest.approx(head.metrics["test"]["accuracy"]["value"])
    assert json.loads(json.dumps(by)) == by
    evaluated = evaluate_head(head, color_store, EvaluationOptions(labels, by="label"))
    assert evaluated["by"]["of"] == "evaluation"
    assert sum(one["rows"] for one in evaluated["by"]["values"]) == evaluated["rows"] == head.metrics["test"]["rows"]
    recalls = {one["name"]: one["recall"] for one in evaluated["evaluation"]["per_class"]}
    assert {one["value"]: one["accuracy"]["value"] for one in evaluated["by"]["values"]} == pytest.approx(recalls)
    assert format_by(evaluated["by"])[0] == ["evaluation: label", "images", "accuracy"]


def test_without_a_column_nothing_is_measured_by_it(color_store):
    assert "by" not in fit_head(color_store, "centroid").metrics


def test_a_column_that_is_not_there_is_refused_before_the_fit(color_store, monkeypatch):
    monkeypatch.setattr("fit.train.fit_roles", lambda *arguments: pytest.fail("it was fitted"))
    with pytest.raises(UsageError, match="--by site: there is no such column; choose one of path"):
        fit_head(color_store, "centroid", by="site")


def test_a_column_that_is_not_there_is_refused_before_the_predictions(color_store, monkeypatch):
    head = fit_head(color_store, "centroid")
    monkeypatch.setattr("fit.prediction.predict_rows", lambda *arguments: pytest.fail("it was predicted"))
    with pytest.raises(UsageError, match="--by site: there is no such column"):
        evaluate_head(head, color_store, EvaluationOptions(by="site"))


def test_few_groups_of_images_give_no_interval_and_a_sentence(color_store, tmp_path):
    labels = labels_file(tmp_path, color_store, own_label, group=lambda number: f"{number // 20}-{number % 6}")
    metrics = fit_head(color_store, "centroid", labels=labels, group_by="group", evaluate_test=True).metrics
    for name in ("validation", "test"):
        scores = metrics[name]
        assert 3 <= scores["groups"] < 10
        assert scores["accuracy"]["low"] is None
        assert f"images in {scores['groups']} groups: too few groups" in scores["accuracy"]["reason"]
    assert any(row[0] == "groups" for row in format_metrics(metrics))
    assert any(remark.startswith("test accuracy, ") for remark in format_remarks(metrics))


def test_a_class_that_is_missing_from_an_evaluation_is_named(color_store, tmp_path):
    head = fit_head(color_store, "centroid")
    labels = labels_file(tmp_path, color_store, own_label)
    labels.write_text("\n".join(line for line in labels.read_text().splitlines() if not line.startswith("red")) + "\n")
    evaluated = evaluate_head(head, color_store, EvaluationOptions(labels, split="test"))
    assert evaluated["evaluation"]["missing"] == ["red"]
    assert ["missing classes", "1 of 3"] in [row[:2] for row in format_metrics(evaluated)]
    assert "evaluation: no image of red" in format_remarks(evaluated)[0]


def test_four_labels_have_a_table_of_labels(color_store, tmp_path):
    def label_of(number, path):
        return f"{own_label(number, path)}|outdoor" if number % 2 else own_label(number, path)

    labels = labels_file(tmp_path, color_store, label_of)
    head = fit_head(color_store, "knn", labels=labels)
    assert head.metrics["multi_label"] is True
    assert len(head.classes) == 4
    table = format_confusion(head.metrics, 80)
    assert table[0][1:] == ["true negative", "false positive", "false negative", "true positive"]
    assert evaluate_head(head, color_store, EvaluationOptions(labels))["multi_label"] is True
    assert fit_head(color_store, "centroid").metrics["multi_label"] is False
