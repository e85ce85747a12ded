import csv
import errno
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.threshold_rule import ThresholdRule
from fit.thresholds import choose_threshold, read_costs
from store.errors import EnvironmentFailure, UsageError


@st.composite
def scored(draw):
    """Probabilities with ties, and at 0, at 1 and between neighboring numbers, of rows that are and are not of a class."""
    some = [0.0, 0.25, 0.5, np.nextafter(0.5, 1), 0.7, np.nextafter(0.7, 0), 1.0]
    probability = st.sampled_from(some) | st.floats(0, 1)
    rows = draw(st.lists(st.tuples(probability, st.booleans()), min_size=2, max_size=30))
    probabilities, marks = (np.array(column) for column in zip(*rows, strict=True))
    marks[:2] = [True, False]
    return probabilities.astype(float), marks


def quality(name, probabilities, marks, threshold):
    predicted = probabilities >= threshold
    if name == "accuracy":
        return np.mean(predicted == marks)
    return 2 * (predicted & marks).sum() / (predicted.sum() + marks.sum())


@given(scored(), st.sampled_from(["accuracy", "f1"]))
def test_no_other_threshold_is_better_and_no_equally_good_one_is_nearer_to_one_half(data, name):
    probabilities, marks = data
    chosen = choose_threshold(ThresholdRule(name), probabilities, marks)
    assert 0 <= chosen <= 1
    others = np.unique([*probabilities, *np.linspace(0, 1, 41), chosen])
    qualities = np.array([quality(name, probabilities, marks, other) for other in others])
    best = quality(name, probabilities, marks, chosen)
    assert best == pytest.approx(qualities.max())
    if quality(name, probabilities, marks, 0.5) == best:
        assert chosen == 0.5


@given(scored(), st.floats(0.01, 1))
def test_the_highest_threshold_with_a_recall(data, recall):
    probabilities, marks = data
    chosen = choose_threshold(ThresholdRule("recall", recall=recall), probabilities, marks)
    reached = np.mean(probabilities[marks] >= chosen)
    higher = np.mean(probabilities[marks] >= np.nextafter(chosen, 2))
    assert reached >= recall - 1e-9
    assert higher < recall


def test_a_recall_that_whole_images_reach_exactly():
    probabilities = np.linspace(0.05, 1, 20)
    assert choose_threshold(ThresholdRule("recall", recall=0.95), probabilities, np.ones(20, bool)) == probabilities[1]


@pytest.mark.parametrize(
    "text", ["best", "recall", "recall=", "recall=0", "recall=1.5", "recall=nan", "f1=2", "cost", "cost=", ""]
)
def test_rules_that_there_are_not_are_refused(text):
    with pytest.raises(UsageError, match="expected"):
        ThresholdRule.parse(text)


def test_costs_are_read_by_the_names_of_the_classes_in_any_order(tmp_path):
    file = tmp_path / "costs.csv"
    file.write_text("\ufeffactual, b ,a\nb,0,2.5\n\na,10,-1\n", encoding="utf-8")
    assert read_costs(file, ("a", "b")) == ((-1.0, 10.0), (2.5, 0.0))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_costs_are_read_as_excel_and_powershell_write_them(tmp_path, encoding, separator):
    classes = ("caf\u00e9 au lait", "tea, black", "x;y")
    file = tmp_path / "costs.csv"
    with file.open("w", encoding=encoding, newline="") as out:
        writer = csv.writer(out, delimiter=separator)
        writer.writerow(["actual", "tea, black", "cafe\u0301 au lait", "x;y"])  # an accent as macOS writes it
        writer.writerows([["x;y", 1, 2, 0], ["tea, black", 0, 3.5, 4], ["caf\u00e9 au lait ", 5, 0, 6]])
    assert read_costs(file, classes) == ((0.0, 5.0, 6.0), (3.5, 0.0, 4.0), (2.0, 1.0, 0.0))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "different lengths, or there are none: expected a first row `actual,a,b`"),
        ("actual,a,b\na,0,1\nb,1\n", "different lengths"),
        ("actual,a,b\na,0,1\n", "has costs of a: expected"),
        ("actual,a,c\na,0,1\nc,1,0\n", "has costs of a, c: expected"),
        ("actual,a,a\na,0,1\nb,1,0\n", "has costs of a, a: expected"),
        ("actual,a,b\na,0,x\nb,1,0\n", "has the cost 'x' in the row of a: expected a number"),
        ("actual,a,b\na,0,inf\nb,1,0\n", "has the cost 'inf' in the row of a: expected a number"),
    ],
)
def test_tables_that_are_not_costs_of_the_classes_are_refused(tmp_path, text, words):
    (tmp_path / "costs.csv").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_costs(tmp_path / "costs.csv", ("a", "b"))


def test_a_class_may_have_a_newline_in_its_name(tmp_path):
    file = tmp_path / "costs.csv"
    file.write_text('actual,"a\nb",c\n"a\nb",0,2\nc,3,0\n')
    assert read_costs(file, ("a\nb", "c")) == ((0.0, 2.0), (3.0, 0.0))


def test_what_is_no_table_is_refused_and_a_disk_that_fails_is_the_machine_s_trouble(tmp_path, monkeypatch):
    for place in (tmp_path / "costs.csv", tmp_path):
        with pytest.raises(UsageError, match="cannot read the table"):
            read_costs(place, ("a", "b"))
    file = tmp_path / "long.csv"
    file.write_text("actual," + "a" * 200_000)
    with pytest.raises(UsageError, match=r"cannot read the table .*: field larger than"):
        read_costs(file, ("a", "b"))

    def fail(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(EnvironmentFailure, match=r"cannot read the table .*: Input/output error"):
        read_costs(file, ("a", "b"))
