"""Thresholds, costs and abstention: chosen on validation, kept in the head, and used wherever something is decided."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from extract.api import Reporter
from fit import fit_head, load_head
from fit.compare.heads import compare_heads
from fit.evaluated import evaluated_rows
from fit.evaluation import evaluate_head
from fit.evaluation_options import EvaluationOptions
from fit.head_folder import read_results
from fit.like import as_like
from fit.options import FitOptions
from fit.prediction import predict_store
from fit.predictions import count_abstentions
from fit.text import format_metrics, format_predictions, format_remarks
from fit.train import fit_with
from store.errors import DamagedHead, UsageError

NOISY = 5  # every fifth label is another


def write_labels(folder, store, label_of):
    """Labels of which some are wrong, so that probabilities are neither 0 nor 1."""
    paths = store.table()["path"].to_pylist()
    lines = [f"{path},{label_of(number, path.split('/')[0])}" for number, path in enumerate(paths)]
    (folder / "labels.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    return folder / "labels.csv"


@pytest.fixture
def two_classes(color_store, tmp_path):
    return write_labels(
        tmp_path, color_store, lambda number, color: "warm" if (color == "red") != (number % NOISY == 0) else "cold"
    )


@pytest.fixture
def labels(color_store, tmp_path):
    def label_of(number, color):
        return "|".join([color if number % NOISY else "grey", *(["dark"] if number % 3 else [])])

    return write_labels(tmp_path, color_store, label_of)


def rows_of(head, split):
    return head.predictions.filter(pc.equal(head.predictions["split"], split))


def test_a_threshold_is_chosen_on_validation_and_kept_and_used(color_store, two_classes, tmp_path):
    head = fit_head(color_store, labels=two_classes, threshold="recall=1", evaluate_test=True, cv=3)
    (threshold,) = head.info.decision.thresholds
    assert head.info.decision.positive == "warm"  # the rarer: 24 of 60
    validation = rows_of(head, "validation")
    truth = np.array(validation["label"].to_pylist()) == "warm"
    assert threshold == min(np.array(validation["warm"])[truth]) != 0.5
    for split in ("validation", "test", "cv"):
        table = rows_of(head, split)
        predicted = ["warm" if value >= threshold else "cold" for value in table["warm"].to_pylist()]
        assert table["predicted"].to_pylist() == predicted
        of_predicted = [row[row["predicted"]] for row in table.to_pylist()]
        assert table["probability"].to_pylist() == of_predicted
        scores, label = head.metrics[split], table["label"].to_pylist()
        assert scores["accuracy"]["value"] == pytest.approx(accuracy_score(label, predicted))
        assert scores["confusion"] == confusion_matrix(label, predicted).tolist()
        assert scores["macro_f1"]["value"] == pytest.approx(f1_score(label, predicted, average="macro"))
    assert head.metrics["validation"]["per_class"][1]["recall"] == 1
    described = head.metrics["decision"]
    assert (described["rule"], described["chosen_on"]) == ("recall=1", "validation")
    assert (described["positive"], described["thresholds"]) == ("warm", [threshold])
    folder = head.save(tmp_path / "head")
    loaded = load_head(folder)
    assert loaded.info == head.info
    table = predict_store(loaded, color_store)
    assert table["predicted"].to_pylist() == [
        "warm" if value >= threshold else "cold" for value in table["warm"].to_pylist()
    ]
    tested = evaluate_head(loaded, color_store, EvaluationOptions(two_classes, split="test"))
    assert tested["evaluation"] == head.metrics["test"]
    assert tested["decision"]["thresholds"] == [threshold]
    evaluated = evaluated_rows(read_results(folder), "test")
    assert evaluated.predicted == rows_of(head, "test")["predicted"].to_pylist()
    assert evaluated.score().confusion == tuple(map(tuple, head.metrics["test"]["confusion"]))
    assert "chosen on validation: its numbers there are optimistic" in format_remarks(head.metrics)[0]
    again = as_like(folder, {})
    assert (again.threshold, again.positive, again.abstain) == ("recall=1", "warm", None)


def test_the_test_images_do_not_choose(color_store, two_classes):
    heads = [
        fit_head(color_store, labels=two_classes, threshold="f1", evaluate_test=evaluate_test)
        for evaluate_test in (False, True)
    ]
    assert heads[0].info == heads[1].info


@pytest.mark.parametrize("positive", ["cold", " cold\u200b"])
def test_the_other_class_can_be_the_positive_one(positive, color_store, two_classes):
    head = fit_head(color_store, labels=two_classes, threshold="recall=0.9", positive=positive)
    assert head.info.decision.positive == "cold"
    (threshold,) = head.info.decision.thresholds
    table = rows_of(head, "validation")
    assert table["predicted"].to_pylist() == [
        "cold" if value >= threshold else "warm" for value in table["cold"].to_pylist()
    ]
    assert recall_score(table["label"].to_pylist(), table["predicted"].to_pylist(), pos_label="cold") >= 0.9


def test_each_label_has_a_threshold(color_store, labels):
    head = fit_head(color_store, "knn", labels=labels, threshold="f1")
    plain = fit_head(color_store, "knn", labels=labels)
    thresholds = dict(zip(head.classes, head.info.decision.thresholds, strict=True))
    assert len(set(thresholds.values())) > 1
    table = rows_of(head, "validation").to_pylist()
    assert [row["predicted"] for row in table] == [
        "|".join(name for name in head.classes if row[name] >= thresholds[name]) for row in table
    ]
    assert any(row["predicted"].count("|") for row in table)
    for better, worse in zip(
        head.metrics["validation"]["per_class"], plain.metrics["validation"]["per_class"], strict=True
    ):
        assert better["f1"] >= worse["f1"]
    assert head.metrics["validation"]["macro_f1"]["value"] > plain.metrics["validation"]["macro_f1"]["value"]
    assert head.metrics["validation"]["log_loss"] == plain.metrics["validation"]["log_loss"]


def test_a_label_that_no_validation_image_has_keeps_one_half(color_store, tmp_path):
    names = iter(["train"] * 15 + ["validation"] * 5)
    splits = [*names] * 3
    lines = [
        f"{path},{'rare|' if number in (0, 1) else ''}{path.split('/')[0]},{split}"
        for number, (path, split) in enumerate(zip(color_store.table()["path"].to_pylist(), splits, strict=True))
    ]
    file = tmp_path / "labels.csv"
    file.write_text("path,label,split\n" + "\n".join(lines) + "\n")
    messages = []
    options = FitOptions(head="knn", labels=file, threshold="f1")
    head = fit_with(color_store, options, Reporter(messages.append))
    assert head.info.decision.thresholds[head.classes.index("rare")] == 0.5
    assert any("rare" in line and "stays 0.5" in line for line in messages)
    with pytest.raises(UsageError, match="needs validation images of rare, and there are none"):
        fit_head(color_store, "knn", labels=file, threshold="recall=0.9")


def test_costs_decide_between_many_classes(color_store, tmp_path):
    (tmp_path / "costs.csv").write_text("actual,red,green,blue\nred,0,1,1\ngreen,1,0,1\nblue,50,20,0\n")
    head = fit_head(color_store, "knn", threshold=f"cost={tmp_path / 'costs.csv'}", evaluate_test=True)
    costs = np.array([[0, 20, 50], [1, 0, 1], [1, 1, 0]], float)  # blue, green, red
    assert np.array_equal(head.info.decision.costs, costs)
    table = rows_of(head, "test")
    probabilities = np.column_stack([table[name].to_numpy() for name in head.classes])
    cheapest = [head.classes[at] for at in (probabilities @ costs).argmin(axis=1)]
    assert table["predicted"].to_pylist() == cheapest
    assert cheapest != [head.classes[at] for at in probabilities.argmax(axis=1)]
    measured = head.metrics["decision"]["measured"]["test"]
    true = [head.classes.index(label) for label in table["label"].to_pylist()]
    given = [head.classes.index(name) for name in cheapest]
    assert measured["mean_cost"] == pytest.approx(costs[true, given].mean())
    assert head.metrics["decision"]["chosen_on"] is None
    assert load_head(head.save(tmp_path / "head")).info == head.info


def test_below_a_probability_there_is_no_answer(color_store, two_classes, tmp_path):
    head = fit_head(color_store, "knn", labels=two_classes, abstain=0.8, evaluate_test=True)
    table = rows_of(head, "test")
    highest = np.maximum(table["cold"].to_numpy(), table["warm"].to_numpy())
    answered = highest >= 0.8
    assert 0 < answered.sum() < len(answered)
    predicted = np.array(table["predicted"].to_pylist(), object)
    assert [name is not None for name in predicted] == answered.tolist()
    measured = head.metrics["decision"]["measured"]["test"]["answered"]
    label = np.array(table["label"].to_pylist(), object)
    assert measured["rows"] == answered.sum()
    assert measured["fraction"]["value"] == pytest.approx(answered.mean())
    assert measured["accuracy"]["value"] == pytest.approx((predicted == label)[answered].mean())
    assert head.metrics["test"] == fit_head(color_store, "knn", labels=two_classes, evaluate_test=True).metrics["test"]
    rows = {row[0]: row[1:] for row in format_metrics(head.metrics)}
    assert rows["answered"][1].startswith(f"{answered.mean():.3f}")
    loaded = load_head(head.save(tmp_path / "head"))
    predictions = predict_store(loaded, color_store)
    abstained = count_abstentions(predictions)
    assert abstained == sum(row["probability"] < 0.8 for row in predictions.to_pylist()) > 0
    shown = [row[1] for row in format_predictions(predictions, loaded.info.task, 1)]
    assert sum(text.startswith("no answer: ") for text in shown) == abstained
    loaded.abstain_below(0.0)
    assert count_abstentions(predict_store(loaded, color_store)) == 0
    loaded.abstain_below(1.0)
    measured = evaluate_head(loaded, color_store, EvaluationOptions(two_classes))["decision"]["measured"]["evaluation"][
        "answered"
    ]
    assert (measured["rows"], measured["accuracy"]["value"]) == (0, None)


def test_images_that_failed_are_not_abstentions(color_store, two_classes):
    head = fit_head(color_store, "knn", labels=two_classes, abstain=1.0)
    from fit.predictions import prediction_columns

    probabilities = np.array([[np.nan, np.nan], [0.5, 0.5], [1.0, 0.0]])
    columns = prediction_columns(probabilities, head.info.task)
    table = pa.table({**columns, "error": pa.array(["decode: no image", None, None])})
    assert table["predicted"].to_pylist() == [None, None, "cold"]
    assert table["probability"].to_pylist() == [None, 0.5, 1.0]
    assert count_abstentions(table) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": "f1"}, "is for two classes, or for images with several labels: for 3 classes"),
        ({"threshold": "best"}, "expected accuracy, f1, recall=R"),
        ({"threshold": "cost=nowhere.csv"}, "cannot read the table nowhere.csv"),
        ({"positive": "red"}, "use it with --threshold"),
        ({"positive": "red", "threshold": "cost=costs.csv"}, "use it with --threshold"),
        ({"positive": "pink", "threshold": "f1"}, "--positive pink: choose one of blue, green, red"),
        ({"abstain": 1.5}, "--abstain is 1.5"),
        ({"abstain": float("nan")}, "--abstain is nan"),
    ],
)
def test_what_cannot_be_decided_is_refused_before_the_fit(color_store, monkeypatch, options, words):
    monkeypatch.setattr("fit.train.fit_first", lambda *arguments: pytest.fail("it was fitted"))
    with pytest.raises(UsageError, match=words):
        fit_head(color_store, "centroid", **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"abstain": 0.9}, "--abstain is for one class per image"),
        ({"threshold": "f1", "positive": "dark"}, "each label has a threshold of its own"),
        ({"threshold": "cost=costs.csv"}, "cost=FILE is for one class per image"),
        ({"threshold": "f1", "val": 0.0}, "chosen on validation images, and there are none"),
    ],
)
def test_what_cannot_be_decided_of_labels_is_refused(color_store, labels, options, words):
    with pytest.raises(UsageError, match=words):
        fit_head(color_store, "knn", labels=labels, **options)
    if "abstain" in options:
        with pytest.raises(UsageError, match=words):
            fit_head(color_store, "knn", labels=labels).abstain_below(0.9)


def test_a_head_that_decides_by_the_highest_probability_is_written_as_before(color_store, two_classes, tmp_path):
    plain = fit_head(color_store, "centroid", labels=two_classes)
    assert "decision" not in json.loads((plain.save(tmp_path / "plain") / "head.json").read_text())
    assert "decision" not in plain.metrics


@pytest.mark.parametrize(
    "decision",
    [
        {"thresholds": [0.5]},
        {"thresholds": [0.5, 0.5], "positive": "warm"},
        {"thresholds": [1.5], "positive": "warm"},
        {"thresholds": [0.5], "positive": "pink"},
        {"positive": "warm"},
        {"costs": [[0, 1]]},
        {"costs": [[0, 1], [1]]},
        {"costs": [[0, 1], [1, "x"]]},
        {"abstain": 2},
        [],
    ],
)
def test_a_damaged_decision_is_refused(color_store, two_classes, tmp_path, decision):
    folder = fit_head(color_store, "centroid", labels=two_classes, threshold="f1").save(tmp_path / "head")
    described = json.loads((folder / "head.json").read_text())
    (folder / "head.json").write_text(json.dumps({**described, "decision": decision}))
    with pytest.raises(DamagedHead, match="decision"):
        load_head(folder)


def test_heads_with_and_without_a_threshold_are_compared_by_what_each_decides(color_store, two_classes, tmp_path):
    plain = fit_head(color_store, labels=two_classes, evaluate_test=True)
    eager = fit_head(color_store, labels=two_classes, threshold="recall=1", evaluate_test=True)
    results = [read_results(head.save(tmp_path / name)) for name, head in (("plain", plain), ("eager", eager))]
    comparison = compare_heads(results)
    accuracies = [head.metrics["test"]["accuracy"]["value"] for head in (plain, eager)]
    assert accuracies[0] != accuracies[1]
    other = comparison.heads[1 - comparison.best]
    assert other.difference.value == pytest.approx(accuracies[1 - comparison.best] - accuracies[comparison.best])
    assert [note for note in comparison.notes if note.startswith("thresholds were chosen on validation")] == [
        f"thresholds were chosen on validation, whose accuracy is optimistic therefore: {tmp_path / 'eager'}"
    ]


def test_the_description_beside_an_export_has_the_decision(color_store, two_classes, tmp_path, monkeypatch):
    head = fit_head(color_store, labels=two_classes, threshold="f1", abstain=0.6)
    from fit.export.export import _write_description

    _write_description(head, tmp_path / "model.onnx.json")
    described = json.loads((tmp_path / "model.onnx.json").read_text())
    assert described["decision"] == json.loads(json.dumps(head.info.decision.to_dict()))
    assert {"rule", "positive", "thresholds", "abstain"} == set(described["decision"])
