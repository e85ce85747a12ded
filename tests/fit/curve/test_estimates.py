"""Scores of many heads on the same images: their means, and how far these may be from what other images and draws give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.curve.estimates import MEASURES, accuracy_interval, crossed_spread, gained_accuracy
from fit.metrics.estimates import mean_of
from fit.metrics.intervals import Clusters, measure_spread

ALONE = Clusters(400, None)
LOG_LOSS = MEASURES["log_loss"]


def draw(draws, images, groups, rng, of_draws=0.0, of_groups=0.0, alone=1.0):
    """(draws, images) values that vary with the draw, with the image's group, and by themselves; and the groups."""
    numbers = np.arange(images) % groups
    values = of_draws * rng.normal(size=(draws, 1)) + (of_groups * rng.normal(size=groups))[numbers]
    return values + alone * rng.normal(size=(draws, images)), Clusters(images, numbers)


@pytest.mark.parametrize(
    ("of_draws", "of_groups", "alone"), [(0.3, 0.0, 1.0), (0.0, 0.5, 1.0), (0.1, 0.3, 1.0), (0.0, 0.0, 1.0)]
)
def test_the_variance_is_that_of_the_mean_over_draws_and_images(of_draws, of_groups, alone):
    rng = np.random.default_rng(0)
    drawn = [draw(5, 200, 40, rng, of_draws, of_groups, alone) for _ in range(1500)]
    truth = np.var([values.mean() for values, _ in drawn])
    found = np.mean([crossed_spread(*one).variance for one in drawn])
    assert 0.95 < found / truth < 1.45  # at least the truth; without any effect of draws or groups, a floor is above it
    if of_draws or of_groups:
        assert found / truth < 1.15


def test_one_draw_varies_with_its_images_alone():
    values, clusters = draw(1, 200, 40, np.random.default_rng(0), of_groups=0.5)
    assert crossed_spread(values, clusters) == measure_spread(mean_of(values[0]).influence, clusters)


@given(st.integers(2, 6), st.integers(0, 1000))
def test_neither_source_alone_is_more_than_both(draws, seed):
    values, clusters = draw(draws, 60, 20, np.random.default_rng(seed), of_draws=0.2, of_groups=0.2)
    found = crossed_spread(values, clusters)
    of_images = measure_spread(mean_of(values.mean(axis=0)).influence, clusters).variance
    of_draws = values.mean(axis=1).var(ddof=1) / draws
    assert max(of_images, of_draws) <= found.variance <= of_images + of_draws + 1e-12
    assert found.freedom >= min(draws - 1, 1)


def test_a_gain_is_between_the_same_images_and_the_same_draws():
    rng = np.random.default_rng(0)
    easy = rng.random(400) < 0.7
    before = np.array([easy ^ (rng.random(400) < 0.02) for _ in range(5)]).astype(float)
    after = np.maximum(before, (rng.random((5, 400)) < 0.1).astype(float))
    gained = gained_accuracy(before, after, ALONE)
    assert gained.value == pytest.approx(after.mean() - before.mean())
    assert 0 < gained.low < gained.value < gained.high
    apart = accuracy_interval(after, ALONE)
    assert gained.high - gained.low < 0.6 * (apart.high - apart.low)
    whole = gained_accuracy(before, after[:1], ALONE)
    assert whole.value == pytest.approx(after[0].mean() - before.mean())


def test_few_images_that_changed_allow_no_interval():
    before = np.zeros((3, 400))
    after = before.copy()
    after[:, :4] = 1
    gained = gained_accuracy(before, after, ALONE)
    assert (gained.value, gained.low) == (pytest.approx(0.01), None)
    assert gained.reason.startswith("only 4 images are predicted better or worse: too few")


def test_few_images_or_groups_allow_no_interval():
    rng = np.random.default_rng(0)
    correct, losses = (rng.random((3, 400)) < 0.8).astype(float), rng.random((3, 400))
    few = Clusters(400, np.arange(400) % 4)
    for found in (
        accuracy_interval(correct, few),
        LOG_LOSS.mean(losses, few),
        gained_accuracy(correct, 1 - correct, few),
        LOG_LOSS.change(losses, losses + 1, few),
    ):
        assert found.low is None
        assert "400 images in 4 groups: too few groups" in found.reason


def test_a_loss_is_positive_at_both_ends_and_what_all_share_is_no_variation():
    losses = np.random.default_rng(0).gamma(0.2, 1, (5, 400))
    found = LOG_LOSS.mean(losses, ALONE)
    assert 0 < found.low < losses.mean() < found.high
    changed = LOG_LOSS.change(losses, losses + 1, ALONE)
    assert changed.value == pytest.approx(1.0)
    assert changed.low is None or changed.high - changed.low < 1e-9
