"""The solver of `logistic`, against scikit-learn's on rows that are correlated, unequal and hard to separate."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from fit.heads.sklearn import Logistic, StochasticGradient
from fit.heads.softmax import FoldLosses, Rotated, fit_softmax, rotate, unrotate


def hard_rows(rows, features, classes, seed=0):
    """Correlated features of unequal classes whose centers are close."""
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, rows, p=np.arange(1, classes + 1) / sum(range(1, classes + 1)))
    y[:classes] = np.arange(classes)
    mixing = rng.normal(size=(features, features)) * np.arange(1, features + 1) ** -0.7
    X = (rng.normal(size=(rows, features)) + 0.6 * rng.normal(size=(classes, features))[y]) @ mixing
    return StandardScaler().fit_transform(X).astype(np.float32), y


@pytest.mark.parametrize(("rows", "features"), [(300, 20), (40, 90)])
@pytest.mark.parametrize("c", [0.01, 1.0])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_it_has_scikit_learns_result(rows, features, c, class_weight):
    X, y = hard_rows(rows, features, 4)
    expected = LogisticRegression(C=c, class_weight=class_weight, tol=1e-8, max_iter=5000).fit(X.astype(np.float64), y)
    rotated = rotate(X)
    found = fit_softmax(rotated, y, compute_sample_weight(class_weight, y), c, tolerance=1e-9)
    np.testing.assert_allclose(np.exp(found.log_probabilities(rotated.values)), expected.predict_proba(X), atol=1e-3)
    weights = unrotate(rotated, found).weights.T
    assert np.abs(weights - expected.coef_).max() < 5e-3 * np.abs(expected.coef_).max()


def test_rotation_changes_neither_angles_nor_the_result():
    X, y = hard_rows(60, 30, 3)
    rotated = rotate(X)
    np.testing.assert_allclose(rotated.values @ rotated.values.T, X @ X.T, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(np.square(rotated.values).mean(axis=0), rotated.strength, rtol=1e-2, atol=1e-4)
    plain = Rotated(X, None, np.square(X).mean(axis=0))
    ours, theirs = (unrotate(rows, fit_softmax(rows, y, np.ones(60), 0.1, tolerance=1e-9)) for rows in (rotated, plain))
    np.testing.assert_allclose(ours.weights, theirs.weights, atol=1e-3)


def splits_of(rows, count):
    every = np.arange(rows)
    return [(every[every % count != fold], every[every % count == fold]) for fold in range(count)]


def test_the_log_loss_on_folds_is_that_of_the_rows_left_out():
    X, y = hard_rows(120, 15, 3)
    splits, weights = splits_of(120, 3), compute_sample_weight("balanced", y)
    losses = FoldLosses(rotate(X), y, weights, splits)
    for c in (0.001, 0.1, 0.01):
        total = 0.0
        for learn, predict in splits:
            model = LogisticRegression(C=c, max_iter=5000).fit(X[learn], y[learn], weights[learn])
            logs = np.log(model.predict_proba(X[predict]))[np.arange(len(predict)), y[predict]]
            total -= weights[predict] @ logs
        assert losses(c) == pytest.approx(total / weights.sum(), rel=2e-2)


def test_ten_images_per_class_get_a_c_that_serves_other_images():
    """Within a fifth of the log loss of the C that is best in hindsight, and far from that of the worst."""
    found, best, worst = [], [], []
    for seed in range(5):
        X, y = hard_rows(600, 60, 4, seed)
        few = np.concatenate([np.flatnonzero(y == target)[:10] for target in range(4)])
        rest = np.setdiff1d(np.arange(600), few)

        def log_loss(model, X=X, y=y, few=few, rest=rest):
            return -np.log(model.fit(X[few], y[few]).predict_proba(X[rest])[np.arange(len(rest)), y[rest]]).mean()

        found.append(log_loss(Logistic()))
        all_of_them = [log_loss(LogisticRegression(C=c, max_iter=5000)) for c in np.geomspace(1e-3, 10, 5)]
        best.append(min(all_of_them))
        worst.append(max(all_of_them))
    assert np.mean(found) < 1.2 * np.mean(best) < 0.5 * np.mean(worst)


@pytest.mark.parametrize("head", [Logistic(), StochasticGradient()], ids=lambda head: type(head).__name__)
def test_a_channel_that_answers_to_nearly_no_image_does_not_decide(head):
    X, y = hard_rows(300, 20, 3)
    faint = np.zeros((300, 1), np.float32)
    faint[7] = 1e-3
    unseen = np.hstack([X, np.full((300, 1), 0.5, np.float32)])
    found = head.fit(np.hstack([X, faint]), y).predict_proba(unseen)
    assert np.abs(found - head.fit(X, y).predict_proba(X)).max() < 0.1
