"""What the commands of `fit` print: it fits the terminal, says the main things, and everything with --all."""

import pytest

from fit.text import format_confusion, format_metrics
from store.tables import columns

INTERVAL = {"value": 0.9394, "low": 0.9140, "high": 0.9640}
NOTHING = {"value": None, "low": None, "high": None}
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error", "roc_auc")


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
    assert everything[-1][1] == "-"


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
