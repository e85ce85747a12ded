import numpy as np
import pytest

from fit.metrics.calibration import reliability
from fit.metrics.intervals import NO_INTERVALS
from fit.metrics.scores import score_classes


def test_calibration_error_by_hand():
    chances = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    targets = np.array([0] * 8 + [1] * 2 + [0] * 3 + [1] * 7)
    scores = score_classes(targets, chances, ["a", "b"], NO_INTERVALS)
    assert scores.calibration_error.value == pytest.approx(0.5 * abs(0.8 - 0.9) + 0.5 * abs(0.3 - 0.6))


def test_reliability_bins_give_the_calibration_error():
    rng = np.random.default_rng(1)
    chances = rng.dirichlet([0.5, 0.5, 0.5], 300)
    targets = rng.integers(0, 3, 300)
    scores = score_classes(targets, chances, ["a", "b", "c"], NO_INTERVALS)
    bins = reliability(chances.max(axis=1), chances.argmax(axis=1) == targets)
    assert sum(entry.decisions for entry in bins) == 300
    error = sum(entry.decisions * abs(entry.accuracy.value - entry.confidence) for entry in bins) / 300
    assert error == pytest.approx(scores.calibration_error.value)
    for entry in bins:
        assert 0 <= entry.accuracy.low <= entry.accuracy.value <= entry.accuracy.high <= 1


def test_wilsons_interval():
    (found,) = reliability(np.full(10, 0.99), np.array([True] * 9 + [False]))
    # Nine of ten, as R's prop.test(9, 10, correct = FALSE) has it.
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((0.5958500, 0.9821238), abs=1e-6)
