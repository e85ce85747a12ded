"""What the commands of `fit` print: it fits the terminal, says the main things, and everything with --all."""

import pytest

from fit.metrics.scores import METRICS
from fit.text import format_by, format_confusion, format_metrics, format_remarks
from store.tables import columns

INTERVAL = {"value": 0.9394, "low": 0.9140, "high": 0.9640}
NOTHING = {"value": None, "low": None, "high": None}


def metrics(*names, classes=("cat", "dog")):
    scores = {"rows": 1360, **dict.fromkeys(METRICS, INTERVAL), "roc_auc": NOTHING}
    confusion = [[10 * (row == column) for column in range(len(classes))] for row in range(len(classes))]
    return {**dict.fromkeys(names, scores), "classes": classes, "confusion": confusion, "confusion_of": "test"}


def widest(lines):
    return max(map(len, lines))


def test_the_main_metrics_are_printed_and_all_on_request():
    found = metrics("validation", "test", "baseline")
    table = format_metrics(found)
    assert table[0] == ["95 % interval", "validation", "test", "baseline"]
    assert table[1] == ["images", "1,360", "1,360", "1,360"]
    assert [row[0] for row in table[2:]] == ["accuracy", "macro f1", "log loss"]
    assert table[2][1:] == ["0.939 (0.914..0.964)"] * 2 + ["0.939"]
    everything = format_metrics(found, everything=True)
    assert [row[0] for row in everything[2:]] == [name.replace("_", " ") for name in METRICS]
    assert everything[2 + METRICS.index("roc_auc")][1] == "-"


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("width", [80, 60])
def test_scores_fit_the_terminal(width, everything):
    table = columns(format_metrics(metrics("validation", "test", "cv", "baseline"), everything), width)
    assert widest(table) <= width
    assert {"validation", "test", "cv", "baseline"} <= set(" ".join(table).split())


def test_scores_without_cross_validation_are_one_table():
    found = metrics("validation", "test", "baseline")
    assert "" not in columns(format_metrics(found), 80)
    assert "" not in columns(format_metrics(found, everything=True), 80)


@pytest.mark.parametrize("width", [80, 60])
def test_a_confusion_matrix_fits_the_terminal_with_whole_names(width):
    short = format_confusion(metrics("test"), width)
    assert short[0] == ["test: true \\ predicted", "cat", "dog"]
    classes = [f"a class of a longer name {number}" for number in range(20)]
    lines = columns(format_confusion(metrics("test", classes=classes), width), width)
    assert widest(lines) <= width
    assert all(any(f"{number + 1} {name}  " in line for line in lines) for number, name in enumerate(classes))


def test_groups_and_missing_classes_are_in_the_table():
    found = metrics("validation", "test", classes=("cat", "dog", "emu"))
    found["test"] = {**found["test"], "groups": 30, "missing": ["dog", "emu"]}
    table = format_metrics(found)
    assert table[2] == ["groups", "-", "30"]
    assert table[3] == ["missing classes", "-", "2 of 3"]
    assert format_remarks(found) == [
        "test: no image of dog, emu; balanced accuracy and macro f1 are of the other classes"
    ]
    single = {**found, "test": {**found["test"], "groups": 1360, "missing": []}}
    assert [row[0] for row in format_metrics(single)[2:]] == ["accuracy", "macro f1", "log loss"]


def test_a_metric_without_interval_says_why():
    reason = "12 images in 3 groups: too few groups for an interval (10 or more)"
    found = metrics("validation", "test", "baseline")
    without = {"value": 0.9, "low": None, "high": None, "reason": reason}
    needs_more = {**without, "reason": reason.replace("10 or", "100 or")}
    found["test"] = {
        **found["test"],
        "accuracy": without,
        "macro_f1": without,
        "log_loss": needs_more,
        "brier": without,
    }
    found["baseline"] = {**found["baseline"], "accuracy": without}
    assert format_metrics(found)[2][2] == "0.900"
    start = "12 images in 3 groups: too few groups for an interval"
    needs = "10 or more for accuracy, macro f1; 100 or more for log loss"
    assert format_remarks(found) == [f"test accuracy, macro f1, log loss: {start} ({needs})"]
    assert format_remarks(found, everything=True)[0].startswith("test accuracy, macro f1, brier, log loss: 12 images")
    other = {**found, "test": {**found["test"], "accuracy": {**without, "reason": "too near 1 for an interval"}}}
    assert format_remarks(other)[0] == "test accuracy: too near 1 for an interval"
    assert format_remarks(metrics("test")) == []


def test_metrics_of_earlier_versions_are_printed():
    found = metrics("test")
    found["test"] = {name: value for name, value in found["test"].items() if name not in ("brier", "kappa")}
    assert format_metrics(found, everything=True)[2 + METRICS.index("brier")][1] == "-"
    assert format_remarks(found) == []


def test_values_of_a_column_are_printed():
    one = {"value": "site\n1", "rows": 1200, "groups": 60, "accuracy": INTERVAL}
    by = {"column": "group", "of": "test", "values": [one, {**one, "value": None}]}
    assert format_by(by) == [
        ["test: group", "images", "accuracy"],
        ["site\\n1", "1,200", "0.939 (0.914..0.964)"],
        ["(none)", "1,200", "0.939 (0.914..0.964)"],
    ]
    many = format_by({**by, "values": [one] * 25})
    assert len(many) == 22
    assert many[-1][0] == "and 5 more"


def test_four_labels_are_not_four_classes():
    counts = [[5, 1, 2, 4], [6, 2, 1, 3], [7, 0, 3, 2], [8, 1, 1, 2]]
    labels = {"classes": ("a", "b", "c", "d"), "confusion": counts, "confusion_of": "test"}
    table = format_confusion({**labels, "multi_label": True}, 80)
    assert table[0] == ["test: label", "true negative", "false positive", "false negative", "true positive"]
    assert table[1] == ["a", "5", "1", "2", "4"]
    assert format_confusion({**labels, "multi_label": False}, 80)[0] == ["test: true \\ predicted", "a", "b", "c", "d"]
    assert format_confusion(labels, 80)[0][0] == "test: true \\ predicted"
    odd = metrics("test", classes=("a|b", "b", "c", "d"))
    assert format_confusion({**odd, "multi_label": False}, 80)[0][0] == "test: true \\ predicted"
