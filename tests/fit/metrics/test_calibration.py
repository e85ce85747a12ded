import numpy as np
import pytest

from fit.metrics.calibration import calibration_error, reliability
from fit.metrics.intervals import NO_INTERVALS, Clusters
from fit.metrics.scores import score_classes


def test_calibration_error_by_hand():
    chances = np.array([[0.9, 0.1]] * 10 + [[0.6, 0.4]] * 10)
    targets = np.array([0] * 8 + [1] * 2 + [0] * 3 + [1] * 7)
    scores = score_classes(targets, chances, ["a", "b"], NO_INTERVALS)
    # Squared gaps of two bins, less the variance of a mean of ten.
    squared = [(0.8 - 0.9) ** 2 - 0.8 * 0.2 / 9, (0.3 - 0.6) ** 2 - 0.3 * 0.7 / 9]
    assert scores.calibration_error.value == pytest.approx(np.sqrt(np.mean(squared)))


def test_perfect_calibration_has_no_error_on_average():
    # Version 0.5.0 said 0.083 (0.066..0.173) of 114 such images.
    squared, rng = [], np.random.default_rng(0)
    for _ in range(300):
        confidence = rng.uniform(0.5, 1, (114, 1))
        found = calibration_error(confidence, rng.random((114, 1)) < confidence, Clusters(114, None))
        squared.append(found)
    assert np.median(squared) < 0.01
    assert (np.array(squared) == 0).mean() > 0.45


def test_a_true_error_is_found_and_copies_of_images_do_not_change_it():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.6, 1, (2000, 1))
    correct = rng.random((2000, 1)) < confidence - 0.1
    found = calibration_error(confidence, correct, Clusters(2000, None))
    assert found == pytest.approx(0.1, abs=0.02)
    few = slice(0, 60)
    once = calibration_error(confidence[few], correct[few], Clusters(60, None))
    copies = [np.repeat(values[few], 10, axis=0) for values in (confidence, correct)]
    grouped = calibration_error(*copies, Clusters(600, np.repeat(np.arange(60), 10)))
    assert grouped == pytest.approx(once)
    assert calibration_error(*copies, Clusters(600, None)) > grouped


def test_one_image_has_no_calibration_error():
    scores = score_classes(np.array([0]), np.array([[0.9, 0.1]]), ["a", "b"])
    assert scores.calibration_error.value is None
    assert "too few images" in scores.calibration_error.reason


def test_reliability_bins_hold_every_decision():
    rng = np.random.default_rng(1)
    chances = rng.dirichlet([0.5, 0.5, 0.5], 300)
    right = chances.argmax(axis=1) == rng.integers(0, 3, 300)
    bins = reliability(chances.max(axis=1), right)
    assert sum(entry.decisions for entry in bins) == 300
    assert sum(entry.decisions * entry.accuracy.value for entry in bins) == pytest.approx(right.sum())
    for entry in bins:
        assert 0 <= entry.accuracy.low <= entry.accuracy.value <= entry.accuracy.high <= 1


def test_wilsons_interval():
    (found,) = reliability(np.full(10, 0.99), np.array([True] * 9 + [False]))
    # Nine of ten, as R's prop.test(9, 10, correct = FALSE) has it.
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((0.5958500, 0.9821238), abs=1e-6)
