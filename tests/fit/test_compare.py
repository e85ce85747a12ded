import subprocess
import sys
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fit import fit_head
from fit.compare import compare_heads, comparison_figure
from fit.evaluation import evaluate_head
from fit.head_folder import read_results
from fit.text import format_comparison
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
    assert 0 <= behind.difference.low < behind.difference.value < behind.difference.high
    table = format_comparison(comparison)
    assert [row[0].endswith(" *") for row in table[1:]] == [False, True]
    assert table[1][3].startswith("+0.250 (+")
    assert table[1][4] == "12"
    assert format_comparison(comparison, everything=True)[1][-2:] == ["centroid", "mobilenet"]


def test_equal_heads_differ_by_nothing(saved):
    comparison = compare_heads([edited(saved[0], 0.9), edited(saved[1], 0.9)])
    assert comparison.best == 0
    assert comparison.heads[1].difference.to_dict() == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert len(comparison.notes) == 1


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
    assert evaluate_head(spaced, color_store, tmp_path / "labels.csv")["rows"] == 12
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
    assert any(note.startswith("without a test: ") for note in comparison.notes)
    assert format_comparison(comparison)[2][2:] == ["-", "-", "0", "-"]
    assert len(comparison_figure(comparison).axes) == 2


def test_what_cannot_be_compared_is_refused(saved, color_store, tmp_path):
    with pytest.raises(UsageError, match="two heads or more"):
        compare_heads(saved[:1])
    classes = replace(saved[1].info, classes=("blue", "green", "pink"))
    with pytest.raises(UsageError, match="only one of them has pink, red"):
        compare_heads([saved[0], replace(saved[1], info=classes)])
    without = fit_head(color_store, "centroid", val=0.0).save(tmp_path / "without")
    with pytest.raises(UsageError, match="without has no validation"):
        compare_heads([saved[0], read_results(without)])


@pytest.mark.parametrize("module", ["fit.compare", "fit.report.pictures", "fit.search.sweep", "fit.train"])
def test_nothing_waits_for_keras_that_does_not_need_it(module):
    script = f"import sys, {module}; sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
