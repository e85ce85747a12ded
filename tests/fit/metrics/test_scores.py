import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from fit.metrics.intervals import NO_INTERVALS, Resampling
from fit.metrics.scores import METRICS, Scores, score, score_classes, score_labels

warnings.filterwarnings("ignore", module="sklearn")


@st.composite
def classified(draw):
    """Targets and probabilities, with ties, and with classes that do not occur."""
    rows, classes = draw(st.integers(2, 40)), draw(st.integers(2, 5))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    targets = rng.integers(0, draw(st.integers(1, classes)), rows)
    raw = rng.integers(0, draw(st.sampled_from([3, 1000])), (rows, classes)) + 0.5
    return targets, raw / raw.sum(axis=1, keepdims=True)


def names(count):
    return [f"class {number}" for number in range(count)]


@given(classified())
@settings(max_examples=150)
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
    present = np.unique(targets)
    if len(present) < 2:
        assert scores.roc_auc.value is None
    elif count == 2:
        assert scores.roc_auc.value == pytest.approx(reference.roc_auc_score(targets, chances[:, 1]))
    else:
        areas = [reference.roc_auc_score(targets == column, chances[:, column]) for column in present]
        assert scores.roc_auc.value == pytest.approx(np.mean(areas))
    assert np.array_equal(scores.confusion, reference.confusion_matrix(targets, predicted, labels=range(count)))
    precision, recall, f1, rows = reference.precision_recall_fscore_support(
        targets, predicted, labels=range(count), zero_division=0
    )
    for at, one in enumerate(scores.per_class):
        assert (one.precision, one.recall, one.f1, one.rows) == pytest.approx(
            (precision[at], recall[at], f1[at], rows[at])
        )


@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(1, 4))
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


def simulated(seed, rows=100, right=0.8):
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, rows)
    predicted = np.where(rng.random(rows) < right, targets, 1 - targets)
    return targets, np.where(predicted[:, None] == [0, 1], 0.9, 0.1)


def test_the_interval_covers_the_truth_as_often_as_it_says():
    covered = 0
    for seed in range(200):
        accuracy = score_classes(*simulated(seed), names(2), Resampling(seed=seed, count=300)).accuracy
        covered += accuracy.low <= 0.8 <= accuracy.high
    assert 0.88 <= covered / 200 <= 0.99


def test_rows_of_one_group_count_once():
    targets, chances = simulated(1)
    plain = score_classes(targets, chances, names(2))
    groups = np.repeat(np.arange(100), 10)
    repeated = score_classes(np.repeat(targets, 10), np.repeat(chances, 10, axis=0), names(2), Resampling(groups))
    naive = score_classes(np.repeat(targets, 10), np.repeat(chances, 10, axis=0), names(2))
    for name in METRICS:
        ours, theirs = getattr(plain, name), getattr(repeated, name)
        assert (ours.value, ours.low, ours.high) == pytest.approx((theirs.value, theirs.low, theirs.high))
    assert naive.accuracy.high - naive.accuracy.low < 0.5 * (plain.accuracy.high - plain.accuracy.low)


def test_the_same_seed_gives_the_same_intervals_whatever_the_chunks(monkeypatch):
    first = score_classes(*simulated(0), names(2), Resampling(count=50))
    monkeypatch.setattr("fit.metrics.intervals.CHUNK_CELLS", 700)
    assert score_classes(*simulated(0), names(2), Resampling(count=50)) == first
    assert score_classes(*simulated(0), names(2), Resampling(seed=1, count=50)) != first


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match="do not fit"):
        score_classes(np.zeros(3, int), np.zeros((4, 2)), names(2))
    with pytest.raises(ValueError, match="2 groups for 3 rows"):
        score_classes(np.zeros(3, int), np.full((3, 2), 0.5), names(2), Resampling(np.zeros(2, int)))


def test_the_shape_of_the_targets_says_which_scores():
    targets, chances = simulated(3)
    assert score(targets, chances, names(2), NO_INTERVALS) == score_classes(targets, chances, names(2), NO_INTERVALS)
    labels = targets[:, None] == [0, 1]
    assert score(labels, chances, names(2), NO_INTERVALS) == score_labels(labels, chances, names(2), NO_INTERVALS)


def test_scores_are_read_back_from_json():
    scores = score_classes(*simulated(0), names(2), Resampling(count=20))
    assert Scores.from_dict(json.loads(json.dumps(scores.to_dict()))) == scores
