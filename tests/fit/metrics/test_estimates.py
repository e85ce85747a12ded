import numpy as np
import pytest
from sklearn import metrics as reference

from fit.metrics.estimates import f1_of_class, kappa
from fit.metrics.measured_rows import MultiLabelRows, SingleLabelRows


def single_label(seed=0, rows=30, classes=7):
    """Unequal classes, the last of which does not occur, and ties."""
    rng = np.random.default_rng(seed)
    targets = rng.choice(classes - 1, rows, p=np.arange(1, classes) / np.arange(1, classes).sum())
    scores = rng.random((rows, classes)) + 0.5 * (targets[:, None] == np.arange(classes))
    return targets, np.round(scores / scores.sum(axis=1, keepdims=True), 2)


def multi_label(seed=0, rows=30):
    rng = np.random.default_rng(seed)
    marks = rng.random((rows, 3)) < [0.2, 0.5, 0.8]
    return marks, np.round(0.1 + 0.3 * marks + 0.5 * rng.random((rows, 3)), 1)


@pytest.mark.parametrize(("kind", "data"), [(SingleLabelRows, single_label), (MultiLabelRows, multi_label)])
def test_influences_are_the_derivatives_by_the_weight_of_a_row(kind, data):
    targets, chances = data()
    estimates, copies = kind(targets, chances).estimates(), 1000
    repeated = np.repeat(np.arange(len(targets)), copies)
    for row in range(0, len(targets), 4):
        rows = np.r_[repeated, row]
        changed = kind(targets[rows], chances[rows]).estimates()
        for name, estimate in estimates.items():
            if estimate.defined:
                found = (changed[name].value - estimate.value) * copies
                assert found == pytest.approx(estimate.influence[row], rel=0.02, abs=2e-5), name
    defined = {name for name, estimate in estimates.items() if estimate.defined}
    assert defined == set(estimates) - ({"top_5_accuracy"} if kind is MultiLabelRows else set())
    for name in defined:
        assert estimates[name].influence.sum() == pytest.approx(0, abs=1e-9), name


def test_kappa_and_f1_are_scikit_learns():
    for seed in range(20):
        targets, chances = single_label(seed, 60)
        predicted = chances.argmax(axis=1)
        assert kappa(targets, predicted, 7).value == pytest.approx(reference.cohen_kappa_score(targets, predicted))
        found = f1_of_class(targets == 5, predicted == 5).value
        assert found == pytest.approx(reference.f1_score(targets == 5, predicted == 5))


def test_kappa_of_one_class_alone_is_undefined():
    assert not kappa(np.zeros(5, int), np.zeros(5, int), 2).defined
    assert not kappa(np.zeros(0, int), np.zeros(0, int), 2).defined
