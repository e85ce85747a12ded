import numpy as np
import pytest
from scipy.stats import t

from fit.metrics.folds import compare_folds, corrected_resampled_test


def folds(*accuracies, learned=90, evaluated=10):
    return [
        {
            "repeat": at // 2,
            "fold": at % 2,
            "learned": learned,
            "evaluated": evaluated,
            "accuracy": accuracy,
            "log_loss": 1,
        }
        for at, accuracy in enumerate(accuracies)
    ]


def test_the_corrected_resampled_t_test_by_hand():
    differences = np.array([0.02, 0.05, -0.01, 0.04])
    found = corrected_resampled_test(differences, 1 / 9)
    error = np.sqrt((1 / 4 + 1 / 9) * differences.var(ddof=1))
    assert found.difference.value == pytest.approx(0.025)
    assert found.p_value == pytest.approx(2 * t.sf(0.025 / error, 3))
    assert found.difference.high - 0.025 == pytest.approx(t.ppf(0.975, 3) * error)
    assert 0.025 - found.difference.low == pytest.approx(t.ppf(0.975, 3) * error)


def test_more_repeats_of_the_same_images_do_not_make_any_difference_certain():
    differences = np.random.default_rng(0).normal(0.01, 0.02, 1000)
    plain = abs(differences.mean()) / np.sqrt(differences.var(ddof=1) / 1000)
    assert plain > 10
    assert corrected_resampled_test(differences, 1 / 4).p_value > 0.05


def test_the_same_difference_everywhere():
    assert corrected_resampled_test(np.zeros(5), 0.25).p_value == 1.0
    found = corrected_resampled_test(np.full(4, 0.5), 0.25)
    assert (found.difference.value, found.difference.low, found.p_value) == (0.5, None, 0.0)
    with pytest.raises(ValueError, match="two folds or more"):
        corrected_resampled_test(np.zeros(1), 0.25)


def test_heads_are_compared_in_the_same_folds_alone():
    first, second = folds(0.9, 0.8, 0.9, 0.7), folds(0.8, 0.8, 0.7, 0.7)
    found = compare_folds(first, second)
    assert found.folds == 4
    assert found == corrected_resampled_test(np.array([0.1, 0.0, 0.2, 0.0]), 1 / 9)
    assert compare_folds(first, folds(0.8, 0.8, 0.7, 0.7, evaluated=11)) is None
    assert compare_folds(first, second[:3]) is None
    assert compare_folds(first[:1], second[:1]) is None
    assert compare_folds(first, second, "log_loss").difference.value == 0
