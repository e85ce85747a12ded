import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from fit.metrics.intervals import NO_INTERVALS, Sampling
from fit.metrics.scores import METRICS, Scores, score, score_classes, score_labels

warnings.filterwarnings("ignore", module="sklearn")


@st.composite
def classified(draw):
    """Targets and probabilities, with ties, and with classes that do not occur."""
    rows, classes = draw(st.integers(2, 40)), draw(st.integers(2, 8))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    targets = rng.integers(0, draw(st.integers(1, classes)), rows)
    raw = rng.integers(0, draw(st.sampled_from([3, 1000])), (rows, classes)) + 0.5
    return targets, raw / raw.sum(axis=1, keepdims=True)


def names(count):
    return [f"class {number}" for number in range(count)]


@given(classified())
@settings(max_examples=150, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_values_are_scikit_learns(data):
    targets, chances = data
    count = chances.shape[1]
    predicted = chances.argmax(axis=1)
    scores = score_classes(targets, chances, names(count), NO_INTERVALS)
    assert scores.accuracy.value == pytest.approx(reference.accuracy_score(targets, predicted))
    assert scores.balanced_accuracy.value == pytest.approx(reference.balanced_accuracy_score(targets, predicted))
    assert scores.macro_f1.value == pytest.approx(
        reference.f1_score(targets, predicted, average="macro", zero_division=0)
    )
    assert scores.log_loss.value == pytest.approx(reference.log_loss(targets, chances, labels=range(count)))
    assert scores.brier.value == pytest.approx(reference.brier_score_loss(targets, chances, labels=range(count)))
    present = np.unique(targets)
    if len(present) < 2:
        assert scores.roc_auc.value is None
    elif count == 2:
        assert scores.roc_auc.value == pytest.approx(reference.roc_auc_score(targets, chances[:, 1]))
    else:
        areas = [reference.roc_auc_score(targets == column, chances[:, column]) for column in present]
        assert scores.roc_auc.value == pytest.approx(np.mean(areas))
        precisions = [reference.average_precision_score(targets == column, chances[:, column]) for column in present]
        assert scores.average_precision.value == pytest.approx(np.mean(precisions))
    agreement = reference.cohen_kappa_score(targets, predicted, labels=range(count))
    assert scores.kappa.value == (None if np.isnan(agreement) else pytest.approx(agreement))
    assert (scores.top_5_accuracy.value is None) == (count <= 5)
    assert np.array_equal(scores.confusion, reference.confusion_matrix(targets, predicted, labels=range(count)))
    precision, recall, f1, rows = reference.precision_recall_fscore_support(
        targets, predicted, labels=range(count), zero_division=0
    )
    for at, one in enumerate(scores.per_class):
        assert (one.precision, one.recall, one.f1, one.rows) == pytest.approx(
            (precision[at], recall[at], f1[at], rows[at])
        )


@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 4))
@settings(deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_values_of_several_labels(seed, rows, count):
    rng = np.random.default_rng(seed)
    targets, chances = rng.random((rows, count)) < 0.5, np.round(rng.uniform(0.1, 0.9, (rows, count)), 1)
    predicted = chances >= 0.5
    scores = score_labels(targets, chances, names(count), NO_INTERVALS)
    assert scores.accuracy.value == pytest.approx((targets == predicted).all(axis=1).mean())
    losses = [reference.log_loss(targets[:, at], chances[:, at], labels=[False, True]) for at in range(count)]
    assert scores.log_loss.value == pytest.approx(np.mean(losses), rel=1e-6)
    areas = [
        reference.roc_auc_score(targets[:, at], chances[:, at])
        for at in range(count)
        if 0 < targets[:, at].sum() < rows
    ]
    assert scores.roc_auc.value == (pytest.approx(np.mean(areas)) if areas else None)
    matrices = reference.multilabel_confusion_matrix(targets, predicted) if count > 1 else None
    if matrices is not None:
        assert np.array_equal(scores.confusion, matrices.reshape(count, 4))


def unequal(seed, rows=400, classes=9):
    """Classes of 1 % to 30 % of the rows, without ties."""
    rng = np.random.default_rng(seed)
    frequencies = np.geomspace(1, 30, classes)
    targets = np.r_[np.arange(classes), rng.choice(classes, rows - classes, p=frequencies / frequencies.sum())]
    scores = rng.random((rows, classes)) + 0.4 * (targets[:, None] == np.arange(classes))
    return targets, scores / scores.sum(axis=1, keepdims=True)


def test_values_on_unequal_classes_are_scikit_learns():
    for seed in range(10):
        targets, chances = unequal(seed)
        scores = score_classes(targets, chances, names(9), NO_INTERVALS)
        assert scores.top_5_accuracy.value == pytest.approx(reference.top_k_accuracy_score(targets, chances, k=5))
        assert scores.brier.value == pytest.approx(reference.brier_score_loss(targets, chances))
        assert scores.kappa.value == pytest.approx(reference.cohen_kappa_score(targets, chances.argmax(axis=1)))
        marks = np.eye(9)[targets]
        assert scores.average_precision.value == pytest.approx(reference.average_precision_score(marks, chances))
        areas, precisions = (
            [measure(marks[:, at], chances[:, at]) for at in range(9)]
            for measure in (reference.roc_auc_score, reference.average_precision_score)
        )
        assert [one.roc_auc for one in scores.per_class] == pytest.approx(areas)
        assert [one.average_precision for one in scores.per_class] == pytest.approx(precisions)
        predicted = np.eye(9)[chances.argmax(axis=1)]
        agreement = [reference.cohen_kappa_score(marks[:, at], predicted[:, at]) for at in range(9)]
        assert [one.kappa for one in scores.per_class] == pytest.approx(agreement)


def test_two_classes_are_scored_by_the_second():
    targets, chances = unequal(0, classes=2)
    scores = score_classes(targets, chances, names(2), NO_INTERVALS)
    assert scores.average_precision.value == pytest.approx(reference.average_precision_score(targets, chances[:, 1]))
    assert scores.brier.value == pytest.approx(reference.brier_score_loss(targets, chances[:, 1]))


def test_several_labels_of_unequal_frequency_are_scikit_learns():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        marks = rng.random((300, 4)) < [0.02, 0.2, 0.5, 0.9]
        marks[0], marks[1] = True, False
        chances = np.clip(0.5 * rng.random((300, 4)) + 0.4 * marks, 0, 1)
        scores = score_labels(marks, chances, names(4), NO_INTERVALS)
        assert scores.average_precision.value == pytest.approx(reference.average_precision_score(marks, chances))
        assert scores.roc_auc.value == pytest.approx(reference.roc_auc_score(marks, chances))
        errors = [reference.brier_score_loss(marks[:, at], chances[:, at]) for at in range(4)]
        assert scores.brier.value == pytest.approx(np.mean(errors))
        agreement = [reference.cohen_kappa_score(marks[:, at], chances[:, at] >= 0.5) for at in range(4)]
        assert scores.kappa.value == pytest.approx(np.mean(agreement))
        assert scores.top_5_accuracy.value is None
        balanced = [reference.balanced_accuracy_score(marks[:, at], chances[:, at] >= 0.5) for at in range(4)]
        assert scores.balanced_accuracy.value == pytest.approx(np.mean(balanced))


def test_of_equal_probabilities_the_first_classes_are_the_top_five():
    chances = np.full((8, 8), 1 / 8)
    scores = score_classes(np.arange(8), chances, names(8), NO_INTERVALS)
    assert scores.top_5_accuracy.value == 5 / 8


def simulated(seed, rows=300, right=0.8):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, rows)
    chances = np.clip(np.where(rng.random(rows) < right, 0.5, -0.5) * rng.random(rows) + 0.5, 0.01, 0.99)
    second = np.where(targets == 1, chances, 1 - chances)
    return targets, np.column_stack([1 - second, second])


def test_every_metric_of_many_images_has_an_interval_around_it():
    scores = score_classes(*simulated(0), names(2))
    without = {name for name in METRICS if scores.metric(name).low is None}
    assert without == {"calibration_error", "top_5_accuracy"}
    for name in set(METRICS) - without:
        found = scores.metric(name)
        assert found.low < found.value < found.high, name
        assert found.reason == ""


def test_values_without_intervals_are_the_same():
    plain, quick = score_classes(*simulated(0), names(2)), score_classes(*simulated(0), names(2), NO_INTERVALS)
    assert [plain.metric(name).value for name in METRICS] == [quick.metric(name).value for name in METRICS]
    assert all(quick.metric(name).low is None for name in METRICS)


def test_rows_of_one_group_count_once():
    targets, chances = simulated(1)
    plain = score_classes(targets, chances, names(2))
    groups = np.repeat(np.arange(300), 10)
    copies = np.repeat(targets, 10), np.repeat(chances, 10, axis=0)
    repeated, naive = score_classes(*copies, names(2), Sampling(groups)), score_classes(*copies, names(2))
    assert (repeated.rows, repeated.groups) == (3000, 300)
    for name in set(METRICS) - {"calibration_error", "top_5_accuracy"}:
        once, grouped, alone = (found.metric(name) for found in (plain, repeated, naive))
        assert grouped.value == pytest.approx(once.value)
        assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=0.1), name
        assert alone.high - alone.low < 0.5 * (once.high - once.low), name


def test_the_same_rows_give_the_same_intervals():
    assert score_classes(*simulated(0), names(2)) == score_classes(*simulated(0), names(2))


def test_few_groups_leave_every_metric_without_interval():
    targets, chances = simulated(0)
    scores = score_classes(targets, chances, names(2), Sampling(np.arange(300) % 5))
    for name in set(METRICS) - {"calibration_error", "top_5_accuracy"}:
        found = scores.metric(name)
        assert (found.low, found.high) == (None, None)
        assert found.reason.startswith("300 images in 5 groups: too few groups"), name


def test_a_class_of_few_images_leaves_averages_over_classes_without_interval():
    targets, chances = unequal(0)
    scores = score_classes(targets, chances, names(9))
    fewest = np.bincount(targets).min()
    for name in ("balanced_accuracy", "macro_f1", "roc_auc", "average_precision"):
        assert scores.metric(name).low is None
        assert f"the class class {np.bincount(targets).argmin()} has {fewest} images" in scores.metric(name).reason
    assert scores.accuracy.low is not None
    assert scores.kappa.low is not None


def test_classes_that_no_row_is_of_are_named():
    targets, chances = np.array([0, 0, 2, 2]), np.eye(4)[[0, 1, 2, 2]]
    scores = score_classes(targets, chances, ["a", "b", "c", "d"])
    assert scores.missing == ("b", "d")
    assert scores.to_dict()["missing"] == ["b", "d"]
    assert scores.balanced_accuracy.value == pytest.approx(0.75)
    assert score_labels(np.eye(2, 3) == 1, np.eye(2, 3), ["a", "b", "c"]).missing == ("c",)


def test_no_rows_have_no_metrics():
    scores = score_classes(np.zeros(0, int), np.zeros((0, 2)), names(2))
    assert all(scores.metric(name).value is None for name in METRICS)
    assert scores.rows == 0


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="do not fit"):
        score_classes(np.zeros(3, int), np.zeros((4, 2)), names(2))
    with pytest.raises(ValueError, match="2 groups for 3 rows"):
        score_classes(np.zeros(3, int), np.full((3, 2), 0.5), names(2), Sampling(np.zeros(2, int)))


def test_the_shape_of_the_targets_says_which_scores():
    targets, chances = simulated(3)
    assert score(targets, chances, names(2), NO_INTERVALS) == score_classes(targets, chances, names(2), NO_INTERVALS)
    labels = targets[:, None] == [0, 1]
    assert score(labels, chances, names(2), NO_INTERVALS) == score_labels(labels, chances, names(2), NO_INTERVALS)


def test_scores_are_read_back_from_json():
    scores = score_classes(*simulated(0), names(2))
    assert Scores.from_dict(json.loads(json.dumps(scores.to_dict()))) == scores


def test_scores_of_earlier_versions_are_read():
    stored = score_classes(*simulated(0), names(2)).to_dict()
    for name in ("brier", "average_precision", "top_5_accuracy", "kappa", "groups", "missing"):
        del stored[name]
    stored["per_class"] = [
        {name: one[name] for name in ("name", "precision", "recall", "f1", "rows")} for one in stored["per_class"]
    ]
    scores = Scores.from_dict(stored)
    assert scores.brier.value is None
    assert "earlier version" in scores.brier.reason
    assert scores.groups is None
    assert scores.per_class[0].kappa is None
