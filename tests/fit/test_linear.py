"""The head `linear`: descent for a grid of settings at once, batch by batch, chosen on whole groups that are left out."""

import math
from dataclasses import dataclass, field

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

import fit.heads.streamed
from fit.data import InMemory, Source
from fit.heads.linear import linear_form
from fit.heads.streamed import StreamedSoftmax
from tests.fit.test_softmax import hard_rows


@dataclass
class Recorded:
    """Features that can only be read in batches; `passes` has the rows of each pass, `largest` the largest batch."""

    values: np.ndarray
    passes: list = field(default_factory=list)
    largest: int = 0

    @property
    def shape(self):
        return self.values.shape[1:]

    def take(self, rows):
        raise AssertionError("all rows were asked for at once")

    def batches(self, rows, batch_size, seed):
        self.passes.append(np.sort(rows))
        for part, numbers in InMemory(self.values).batches(rows, batch_size, seed):
            self.largest = max(self.largest, len(numbers))
            yield part, numbers


@pytest.fixture
def quick_steps(monkeypatch):
    """One step size, that of Newton: it comes nearest to the minimum where rows are few."""
    monkeypatch.setattr(fit.heads.streamed, "_RATES", (1.0,))


def given(c, **parameters):
    """The head with one C; with one step size too, it chooses nothing."""
    return StreamedSoftmax(smallest=c, largest=c, steps=1, **parameters)


@pytest.mark.parametrize("c", [0.01, 1.0])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.usefixtures("quick_steps")
def test_it_comes_near_scikit_learns_result(c, class_weight, classes):
    X, y = hard_rows(600, 40, classes)
    weights = compute_sample_weight(class_weight, y)
    expected = LogisticRegression(C=c, max_iter=5000).fit(X, y, weights).predict_proba(X)
    found = given(c, class_weight=class_weight).fit(3 + 2 * X, y).predict_proba(3 + 2 * X)
    assert np.abs(found - expected).max() < 0.04
    assert np.abs(found - expected).mean() < 0.004


def test_the_choice_is_as_good_as_scikit_learns_best():
    X, y = hard_rows(900, 40, 5)
    test, truth = hard_rows(4000, 40, 5)
    X, y, test, truth = test[:900], truth[:900], test[900:], truth[900:]
    head = StreamedSoftmax().fit(X, y)
    rows = np.arange(len(truth))
    losses = {
        c: -np.log(LogisticRegression(C=c, max_iter=5000).fit(X, y).predict_proba(test)[rows, truth]).mean()
        for c in np.geomspace(0.001, 10, 5)
    }
    loss = -np.log(head.predict_proba(test)[rows, truth]).mean()
    assert loss < min(losses.values()) + 0.02
    assert pytest.approx(head.chosen_["C"]) == head.C_
    assert len(head.chosen_["tried"]) == 10
    assert min(head.chosen_["tried"], key=head.chosen_["tried"].get) == f"C {head.C_:g}, rate {head.chosen_['rate']:g}"


@pytest.mark.parametrize("steps", [2, 7])
def test_one_pass_serves_all_settings_and_groups_are_left_out_whole(steps, monkeypatch):
    monkeypatch.setattr(fit.heads.streamed, "_BATCH_SIZE", 128)
    X, y = hard_rows(1500, 12, 3)
    groups = np.arange(1500) // 5
    y = y[groups * 5]
    features = Recorded(X)
    head = StreamedSoftmax(steps=steps, epochs=2)
    head.fit_batches(Source(features, np.arange(1500), y), groups)
    lengths = [len(rows) for rows in features.passes]
    left_out = head.chosen_["left_out"]
    assert 200 < left_out < 400
    inner, passes = (math.ceil(400 / math.ceil(rows / 128)) for rows in (1500 - left_out, 1500))
    assert lengths == [1500, 1500, *[1500 - left_out] * inner, left_out, *[1500] * passes]
    assert features.largest == 128
    inside, outside = features.passes[2], features.passes[2 + inner]
    assert not set(groups[inside]) & set(groups[outside])
    assert sorted([*inside, *outside]) == list(range(1500))


@pytest.mark.usefixtures("quick_steps")
def test_only_the_rows_of_the_source_are_learned_from():
    X, y = hard_rows(400, 12, 3)
    rows = np.flatnonzero(np.arange(400) % 2)
    features = Recorded(X)
    whole = given(0.1).fit_batches(Source(features, rows, y), np.arange(len(rows)))
    assert set(np.concatenate(features.passes)) == set(rows)
    assert np.array_equal(whole.predict_proba(X), given(0.1).fit(X[rows], y[rows]).predict_proba(X))


def test_a_rare_class_alone_in_its_group_is_learned():
    X, y = hard_rows(200, 12, 3)
    y[:] = y % 2
    y[0], X[0] = 2, 4
    head = StreamedSoftmax().fit(X, y)
    assert head.predict_proba(X).shape == (200, 3)
    assert head.predict(X[:1]) == [2]


def test_nothing_is_chosen_where_no_fold_can_be_left_out():
    X, y = hard_rows(3, 12, 3)
    head = StreamedSoftmax().fit(X, y)
    assert head.chosen_["by"] == "the middle of the grid: too few images for inner folds"
    assert pytest.approx(0.1) == head.C_


def test_balanced_weights_reach_the_choice_and_the_fit():
    X, y = hard_rows(800, 12, 2)
    y = (np.random.default_rng(0).random(800) < 0.08).astype(int)
    X[:, 0] += 1.0 * y
    plain, balanced = (StreamedSoftmax(class_weight=weight).fit(X, y) for weight in (None, "balanced"))
    assert plain.predict(X)[y == 1].mean() < 0.4
    assert balanced.predict(X)[y == 1].mean() > 0.6
    assert plain.chosen_["tried"] != balanced.chosen_["tried"]


@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_one_matrix_product(classes):
    X, y = hard_rows(300, 12, classes)
    head = given(0.1).fit(X, y)
    layers = linear_form(head)
    scores = X @ layers.kernel + layers.bias
    scores = np.concatenate([np.zeros_like(scores), scores], axis=1) if classes == 2 else scores
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(head.predict_proba(X), expected, atol=1e-5)
    assert layers.link == ("sigmoid" if classes == 2 else "softmax")
