import numpy as np
import pytest

from fit.metrics.intervals import Interval, Resampling, draw_weights, paired_difference
from fit.metrics.scores import score_classes


def test_resamples_draw_as_many_groups_as_there_are():
    for _, weights in draw_weights(20, Resampling(np.arange(20) // 2, count=30)):
        assert (weights.sum(axis=1) == 20).all()
        assert np.array_equal(weights[:, ::2], weights[:, 1::2])


def test_a_paired_difference_is_that_of_the_accuracies_and_narrower_than_each():
    rng = np.random.default_rng(0)
    hard = rng.random(400) < 0.3
    first, second = ~hard | (rng.random(400) < 0.1), ~hard & (rng.random(400) < 0.97)
    found = paired_difference(first, second)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert 0 < found.low < found.value < found.high
    own = score_classes(first.astype(int), np.eye(2)[[1] * 400], ["no", "yes"]).accuracy
    assert found.high - found.low < own.high - own.low
    assert paired_difference(first, first) == Interval(0.0, 0.0, 0.0)
    assert paired_difference(first, second) == found
    assert paired_difference(first[:0], second[:0]) == Interval(None, None, None)
