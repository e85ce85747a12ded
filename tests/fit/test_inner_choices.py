"""What heads choose by themselves: by the right loss, on inner folds that keep groups whole and rare classes in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.metrics import recall_score
from sklearn.preprocessing import StandardScaler

import fit.heads.sklearn
import fit.heads.streamed
from extract.api import Reporter
from fit import fit_head
from fit.data import InMemory, Source
from fit.heads.base import HeadSpec
from fit.heads.build import build_classifier
from fit.heads.calibration import apply_sigmoids, fit_sigmoids, fit_temperature
from fit.heads.inner import inner_splits, row_weights
from fit.heads.neighbors import SimilarNeighbors
from fit.heads.ridge import CalibratedRidge
from fit.heads.sklearn import Calibrated, Logistic
from fit.heads.strength import Choice, choose_strength
from fit.heads.table import HEADS
from fit.options import FitOptions
from fit.task import Task
from fit.train import fit_with

GROUPED = [kind.name for kind in HEADS.values() if kind.takes_groups]


def blobs(sizes, features=20, spread=1.5, seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    centers = np.random.default_rng(99).normal(0, 1, (len(sizes), features))
    return (centers[y] + rng.normal(0, spread, (len(y), features))).astype(np.float32), y


def loss_of(y, probabilities):
    return -np.log(probabilities[np.arange(len(y)), y]).mean()


def build(name, classes, class_weight="none", multi_label=False):
    task = Task(tuple(f"{number}" for number in range(classes)), multi_label)
    return build_classifier(HeadSpec(name, HEADS[name].complete({}), (20,), task, class_weight, 0))


# The strength of a regularization


def test_logistic_chooses_by_log_loss():
    """Few images: by accuracy all strengths are about equal and the strongest won, at the edge of the grid."""
    X, y = blobs([10] * 5, features=60, spread=2.0)
    head = Logistic().fit(X, y)
    scaled = StandardScaler().fit_transform(X)
    losses = {}
    for text in head.chosen_["tried"]:
        given = np.zeros((len(y), 5))
        for train, test in inner_splits(y, None, 5, 0):
            given[test] = (
                LogisticRegression(C=float(text), max_iter=2000)
                .fit(scaled[train], y[train])
                .predict_proba(scaled[test])
            )
        losses[text] = loss_of(y, given)
    assert head.chosen_["by"] == "log loss"
    assert head.chosen_["folds"] == 5
    tried = head.chosen_["tried"]  # with a coarser tolerance than here, which shows where the regularization is weak
    for text in ("0.001", "0.01", "0.1", "1"):
        assert tried[text] == pytest.approx(losses[text], rel=0.15)
    assert float(min(tried, key=tried.get)) == head.C_
    test, truth = blobs([200] * 5, features=60, spread=2.0, seed=1)
    strongest = Logistic(smallest=0.001, largest=0.001, steps=1).fit(X, y)
    assert loss_of(truth, head.predict_proba(test)) < 0.8 * loss_of(truth, strongest.predict_proba(test))


def test_the_grid_is_widened_where_its_edge_is_best_and_the_edge_is_said():
    X, y = blobs([40, 40], spread=4)
    inside = Logistic().fit(X, y)
    assert not inside.chosen_["at_edge"]
    from_above = Logistic(smallest=1.0, largest=10.0, steps=2).fit(X, y)
    assert from_above.C_ < 1.0
    assert not from_above.chosen_["at_edge"]
    far = Logistic(smallest=1e-9, largest=1e-8, steps=2).fit(X, y)
    assert pytest.approx(1e-4) == far.C_
    assert far.chosen_["at_edge"]


def test_a_strength_is_searched_upwards_until_it_gets_worse_twice():
    asked = []

    def loss(value):
        asked.append(value)
        return abs(np.log10(value) - 1)

    choice = choose_strength(np.geomspace(1, 1e8, 9), loss)
    assert (choice.value, choice.at_edge) == (10, False)
    assert asked == [1, 10, 100, 1000]
    assert choose_strength(np.geomspace(1, 1, 1), loss).at_edge is False
    down = choose_strength(np.geomspace(1e3, 1e4, 2), loss)
    assert (down.value, down.at_edge) == (10, False)
    lost = choose_strength(np.geomspace(1e-9, 1e-8, 2), loss)
    assert (lost.value, lost.at_edge) == (pytest.approx(1e-4), True)


def test_what_was_chosen_is_in_the_metrics_and_an_edge_is_reported(color_store, monkeypatch):
    chosen = fit_head(color_store).metrics["chosen"]
    assert chosen["C"] == float(min(chosen["tried"], key=chosen["tried"].get))
    assert fit_head(color_store, "ridge").metrics["chosen"]["by"] == "squared error"
    assert "chosen" not in fit_head(color_store, "centroid").metrics
    messages = []
    monkeypatch.setattr(fit.heads.sklearn, "choose_strength", lambda *_: Choice(0.5, {0.5: 1.0}, at_edge=True))
    fit_with(color_store, FitOptions(), Reporter(messages.append))
    assert any("logistic chose C = 0.5 by log loss in inner folds, the outermost value" in line for line in messages)


@pytest.mark.parametrize("rows", [30, 200])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_ridge_chooses_by_the_errors_of_ridge_regressions(rows, class_weight):
    X, y = blobs([rows // 2, rows // 3, rows - rows // 2 - rows // 3], features=60)
    groups = np.arange(len(y)) // 2
    head = CalibratedRidge(steps=4, largest=1000.0, class_weight=class_weight).fit(X, y, groups)
    scaled = StandardScaler().fit_transform(X).astype(np.float64)
    targets, weights = np.where(y[:, None] == np.arange(3), 1.0, -1.0), row_weights(y, class_weight)
    for text, loss in head.chosen_["tried"].items():
        errors = 0.0
        for train, test in inner_splits(y, groups, 5, 0):
            regression = Ridge(float(text)).fit(scaled[train], targets[train], weights[train])
            errors += weights[test] @ ((regression.predict(scaled[test]) - targets[test]) ** 2).sum(axis=1)
        assert loss == pytest.approx(errors / weights.sum(), rel=1e-4)
    assert head.estimator_.alpha == pytest.approx(
        float(min(head.chosen_["tried"], key=head.chosen_["tried"].get)), rel=1e-4
    )


# Groups


@pytest.mark.parametrize("multi_label", [False, True])
@pytest.mark.parametrize("name", GROUPED)
def test_the_split_groups_of_rows_reach_the_inner_folds(name, multi_label, monkeypatch):
    if multi_label and not HEADS[name].multi_label:
        pytest.skip("has no several labels")
    X, y = blobs([30, 30, 30])
    groups = np.arange(90) // 3 + 7
    seen, real = [], fit.heads.sklearn.inner_splits

    def recorded(targets, given, *others):
        splits = real(targets, given, *others)
        seen.append(given)
        assert all(not set(given[train]) & set(given[test]) for train, test in splits)
        return splits

    for module in (fit.heads.sklearn, fit.heads.streamed):
        monkeypatch.setattr(module, "inner_splits", recorded)
    targets = np.stack([y == 0, y > 0, X[:, 0] > 0], axis=1) if multi_label else y
    build(name, 3, multi_label=multi_label).fit(Source(InMemory(X), np.arange(90), targets), None, groups)
    assert len(seen) == (3 if multi_label else 1)
    assert all(np.array_equal(given, groups) for given in seen)


def test_ridge_regularizes_as_much_for_views_as_for_images():
    """Left out one by one, views of the same image made any strength look right."""
    X, y = blobs([30, 30], features=100)
    images = CalibratedRidge().fit(X, y).chosen_["alpha"]
    views = np.repeat(X, 6, axis=0) + np.random.default_rng(0).normal(0, 0.01, (360, 100)).astype(np.float32)
    groups = np.repeat(np.arange(60), 6)
    assert CalibratedRidge().fit(views, np.repeat(y, 6), groups).chosen_["alpha"] >= images
    assert CalibratedRidge().fit(views, np.repeat(y, 6)).chosen_["alpha"] < images


# Rare classes


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 6))
def test_inner_folds_keep_every_class_in_every_training_side(seed, count):
    rng = np.random.default_rng(seed)
    y = rng.choice(4, 40, p=[0.6, 0.3, 0.07, 0.03])
    groups = rng.integers(0, 15, 40)  # of several classes
    splits = inner_splits(y, groups, count, seed)
    for train, test in splits:
        assert set(y[train]) == set(y)
        assert not set(groups[train]) & set(groups[test])
        assert sorted([*train, *test]) == list(range(40))
    tested = np.concatenate([test for _, test in splits]) if splits else []
    assert len(set(tested)) == len(tested)


def test_a_rare_class_does_not_make_the_folds_fewer():
    y = np.array([0] * 50 + [1] * 50 + [2] * 2 + [3])
    splits = inner_splits(y, None, 5, 0)
    assert len(splits) == 5
    assert sum(len(test) for _, test in splits) == 102  # all but the one of class 3
    assert all(set(y[train]) == {0, 1, 2, 3} for train, _ in splits)


@pytest.mark.parametrize("name", GROUPED)
def test_a_class_of_one_image_and_groups_of_several_classes_can_be_learned(name):
    X, y = blobs([40, 40, 1])
    groups = np.arange(81) % 12  # each of several classes
    classifier = build(name, 3)
    classifier.fit(Source(InMemory(X), np.arange(81), y), None, groups)
    values = classifier.predict_proba(X)
    assert values.shape == (81, 3)
    assert np.isfinite(values).all()
    assert classifier.chosen.get("folds", 5) == 5


def test_where_there_is_nothing_to_choose_by_it_is_said():
    X, y = blobs([1, 1, 1])
    head = Logistic().fit(X, y)
    assert head.chosen_ == {"C": pytest.approx(0.1), "by": "the middle of the grid: too few images for inner folds"}


# Unequal classes and calibration


@pytest.mark.parametrize("name", ["logistic", "ridge", "linear_svm"])
def test_class_weights_reach_the_probabilities(name):
    X, y = blobs([600, 30], spread=2.5)
    test, truth = blobs([600, 200], spread=2.5, seed=1)
    recalls = {}
    for weight in ("none", "balanced"):
        classifier = build(name, 2, weight)
        classifier.fit(Source(InMemory(X), np.arange(len(X)), y), None, np.arange(len(X)))
        recalls[weight] = recall_score(truth, classifier.predict_proba(test)[:, 1] >= 0.5)
    assert recalls["none"] < 0.5
    assert recalls["balanced"] > recalls["none"] + 0.2


@pytest.mark.parametrize("classes", [2, 4])
def test_calibration_is_that_of_scikit_learn(classes):
    X, y = blobs([50] * classes, spread=2.5)
    ours = Calibrated(RidgeClassifier(10.0)).fit(X, y)
    splits = inner_splits(y, None, 5, 0)
    theirs = CalibratedClassifierCV(RidgeClassifier(10.0), method="sigmoid", cv=splits, ensemble=False)
    scaled = StandardScaler().fit_transform(X)
    np.testing.assert_allclose(ours.predict_proba(X), theirs.fit(scaled, y).predict_proba(scaled), atol=2e-3)


def test_a_weight_counts_as_that_many_rows():
    rng = np.random.default_rng(0)
    scores, classes = rng.normal(0, 1, (60, 1)), rng.integers(0, 2, 60)
    weights = rng.integers(1, 4, 60)
    weighted = fit_sigmoids(scores, classes, weights.astype(float))
    repeated = fit_sigmoids(np.repeat(scores, weights, axis=0), np.repeat(classes, weights), np.ones(weights.sum()))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-3)


def test_scores_of_any_size_can_be_calibrated():
    classes = np.array([0, 1] * 30)
    for scale in (1e-6, 1.0, 1e6):
        scores = (classes[:, None] * 2.0 - 1 + np.random.default_rng(0).normal(0, 1, (60, 1))) * scale
        values = apply_sigmoids(scores, *fit_sigmoids(scores, classes, np.ones(60)))
        assert 0.7 < values[np.arange(60), classes].mean() < 0.95
        assert fit_temperature(scores, classes) * scale == pytest.approx(1.0, rel=0.6)


# Neighbors


def test_one_image_with_a_feature_of_its_kind_does_not_decide_the_temperature_of_class_means():
    """scikit-learn's NearestCentroid divides by deviations within classes: its log loss is 0.65 here."""
    X, y = blobs([60, 60, 60], features=60, spread=1.0)
    X = np.concatenate([X, np.zeros((180, 1), np.float32)], axis=1)
    X[7, -1] = 1e-3
    head = build("centroid", 3)
    head.fit(Source(InMemory(X), np.arange(180), y), None, np.arange(180))
    test, truth = blobs([300, 300, 300], features=60, spread=1.0, seed=1)
    test = np.concatenate([test, np.zeros((900, 1), np.float32)], axis=1)
    assert loss_of(truth, head.predict_proba(test)) < 0.1


def test_neighbors_vote_by_their_similarity():
    X, y = blobs([30, 20, 10])
    head = SimilarNeighbors(neighbors=7, temperature=0.07).fit(X, y)
    rows = X / np.linalg.norm(X, axis=1, keepdims=True)
    queries, _ = blobs([4, 4, 4], seed=3)
    directions = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    for query, values in zip(directions, head.predict_proba(queries), strict=True):
        cosines = rows @ query
        nearest = np.argsort(-cosines)[:7]
        weights = np.exp(cosines[nearest] / 0.07)
        votes = np.bincount(y[nearest], weights, 3) + weights[-1] * np.array([3, 2, 1]) / 6
        np.testing.assert_allclose(values, votes / votes.sum(), rtol=1e-4)


def test_neighbors_of_few_rows_and_of_several_labels():
    X, y = blobs([5, 5])
    assert np.isfinite(SimilarNeighbors(neighbors=20).fit(X, y).predict_proba(X)).all()
    targets = np.stack([y == 0, np.ones(10)], axis=1).astype(np.int64)
    values = SimilarNeighbors(neighbors=3).fit(X, targets).predict_proba(X)
    np.testing.assert_allclose(values[:, 1], 1)
    assert ((values[:, 0] > 0) & (values[:, 0] < 1)).all()
