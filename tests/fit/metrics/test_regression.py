"""Metrics of numbers: values as scikit-learn and SciPy have them, influences as derivatives, intervals that cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as reference

from benchmarks import coverage
from fit.metrics.by_value import error_by
from fit.metrics.correlation import spearman
from fit.metrics.intervals import NO_INTERVALS, Sampling
from fit.metrics.paired_errors import compare_errors
from fit.metrics.regression import REGRESSION_METRICS, RegressionScores, regression_estimates, score_numbers


def numbers(rows=30, seed=0, digits=1):
    """Skewed numbers with ties, and predictions whose errors grow with them."""
    rng = np.random.default_rng(seed)
    targets = np.round(rng.lognormal(0, 0.8, rows), digits)
    return targets, np.round(targets + rng.normal(0, 0.2 + 0.3 * targets), digits)


@given(st.integers(0, 2**32 - 1), st.integers(3, 60), st.integers(0, 3))
def test_values_are_those_of_scikit_learn_and_scipy(seed, rows, digits):
    targets, predicted = numbers(rows, seed, digits)
    scores = score_numbers(targets, predicted, NO_INTERVALS)
    assert scores.mean_absolute_error.value == pytest.approx(reference.mean_absolute_error(targets, predicted))
    assert scores.root_mean_squared_error.value == pytest.approx(reference.root_mean_squared_error(targets, predicted))
    if len(set(targets)) > 1:
        assert scores.r2.value == pytest.approx(reference.r2_score(targets, predicted))
        if len(set(predicted)) > 1:
            assert scores.spearman.value == pytest.approx(stats.spearmanr(targets, predicted)[0])


def test_influences_are_the_derivatives_by_the_weight_of_a_row():
    targets, predicted = numbers()
    estimates, copies = regression_estimates(targets, predicted), 1000
    repeated = np.repeat(np.arange(len(targets)), copies)
    for row in range(0, len(targets), 4):
        rows = np.r_[repeated, row]
        changed = regression_estimates(targets[rows], predicted[rows])
        for name, estimate in estimates.items():
            found = (changed[name].value - estimate.value) * copies
            assert found == pytest.approx(estimate.influence[row], rel=0.02, abs=2e-5), name
    for name, estimate in estimates.items():
        assert estimate.influence.sum() == pytest.approx(0, abs=1e-9), name


def test_what_is_undefined_has_no_value_and_a_reason():
    same = np.full(50, 2.0)
    scores = score_numbers(same, np.arange(50.0))
    assert scores.r2.value is scores.spearman.value is None
    assert "all images have the same number" in scores.r2.reason
    assert "all images have one value" in score_numbers(np.arange(50.0), same).spearman.reason
    assert score_numbers(np.empty(0), np.empty(0)).mean_absolute_error.value is None
    perfect = score_numbers(np.arange(2000.0), np.arange(2000.0))
    assert (perfect.r2.value, perfect.r2.low, perfect.spearman.value, perfect.spearman.low) == (1, None, 1, None)
    assert not spearman(np.zeros(3), np.arange(3.0)).defined


def test_few_images_or_groups_and_squared_errors_have_no_interval():
    few = score_numbers(*numbers(29))
    assert all(few.metric(name).low is None for name in REGRESSION_METRICS)
    some, many = score_numbers(*numbers(100)), score_numbers(*numbers(1000))
    assert (some.mean_absolute_error.low is None, some.r2.low is None, some.spearman.low is None) == (
        False,
        True,
        False,
    )
    assert many.r2.low < many.r2.value < many.r2.high < 1
    assert many.root_mean_squared_error.low is None
    assert "no interval covers" in many.root_mean_squared_error.reason
    grouped = score_numbers(*numbers(1000), Sampling(np.arange(1000) % 29))
    assert "too few groups" in grouped.mean_absolute_error.reason
    assert grouped.groups == 29


def test_copies_of_images_do_not_make_an_interval_narrower():
    targets, predicted = numbers(200)
    plain = score_numbers(targets, predicted)
    copies = np.repeat(np.arange(200), 5)
    repeated = score_numbers(targets[copies], predicted[copies], Sampling(copies))
    for name in ("mean_absolute_error", "spearman"):
        widths = [scores.metric(name).high - scores.metric(name).low for scores in (plain, repeated)]
        assert widths[1] == pytest.approx(widths[0], rel=0.02), name


def test_scores_are_read_as_they_were_written():
    scores = score_numbers(*numbers(300))
    assert RegressionScores.from_dict(scores.to_dict()) == scores


def test_the_value_with_the_largest_error_comes_first():
    errors = np.array([1.0, 3.0, 2.0, 5.0, 0.0])
    found = error_by(["a", "b", "a", None, "b"], errors, None)
    assert [(one.value, one.rows, one.mean_absolute_error.value) for one in found] == [
        (None, 1, 5),
        ("a", 2, 1.5),
        ("b", 2, 1.5),
    ]
    assert found[0].to_dict()["mean_absolute_error"]["value"] == 5


def test_paired_errors_are_a_paired_t_test_of_groups():
    rng = np.random.default_rng(1)
    hard = rng.lognormal(size=200)
    first, second = hard + rng.random(200), hard + rng.random(200)
    found = compare_errors(first, second)
    assert found.difference.value == pytest.approx((first - second).mean())
    assert found.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=0.05)
    interval = stats.ttest_rel(first, second).confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high), abs=0.005)
    groups = np.repeat(np.arange(200), 4)
    copied = compare_errors(np.repeat(first, 4), np.repeat(second, 4), Sampling(groups))
    assert copied.difference.high - copied.difference.low == pytest.approx(interval.high - interval.low, rel=0.05)
    few = compare_errors(first[:30], second[:30])
    assert few.difference.low is few.p_value is None
    assert compare_errors(first, first).p_value == 1


@pytest.mark.parametrize("population", coverage.NUMBER_POPULATIONS)
def test_intervals_cover_the_truth(population):
    for images, groups in ((114, coverage.INDEPENDENT), (1000, 100)):
        for cell in coverage.number_cells(120, [(images, groups)], [population]):
            if cell.given >= coverage.RARELY:
                assert cell.covered >= 0.88, cell  # of 120 draws: 3 standard errors below the target
