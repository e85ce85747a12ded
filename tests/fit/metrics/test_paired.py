import numpy as np
import pytest
from scipy.stats import binomtest

from fit.metrics.intervals import Sampling
from fit.metrics.paired import compare_accuracies, exact_mcnemar, holm, tango_interval


def pair(both, first_only, second_only, neither):
    """Whether the one and the other head are right."""
    first = np.repeat([True, True, False, False], [both, first_only, second_only, neither])
    return first, np.repeat([True, False, True, False], [both, first_only, second_only, neither])


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 5), (3, 12), (40, 22)])
def test_mcnemars_test_is_exact(first, second):
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert exact_mcnemar(first, second) == pytest.approx(expected)


def test_tangos_interval_is_the_same_from_both_sides():
    found = tango_interval(1, 0, 44)
    assert found.low < 0 < found.value < found.high
    swapped = tango_interval(0, 1, 44)
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))


def test_tangos_interval_has_the_differences_that_its_score_test_does_not_reject():
    # Of n rows with b and c discordant ones, the likelihood is that of a multinomial: maximize it without the formula.
    first, second, rows = 9, 3, 50
    found = tango_interval(first, second, rows)
    shares = np.linspace(1e-6, 0.5, 200_001)
    for end in (found.low, found.high):
        other = shares[(shares + end > 0) & (2 * shares + end < 1)]
        rest = rows - first - second
        likelihood = first * np.log(other + end) + second * np.log(other) + rest * np.log(1 - 2 * other - end)
        best = other[likelihood.argmax()]
        score = (first - second - rows * end) / np.sqrt(rows * (2 * best + end * (1 - end)))
        assert abs(score) == pytest.approx(1.96, abs=0.001)


def test_independent_images_have_counts_an_interval_and_an_exact_test():
    found = compare_accuracies(*pair(60, 20, 8, 12))
    assert (found.first_only, found.second_only, found.groups) == (20, 8, 100)
    assert found.difference.value == pytest.approx(0.12)
    assert 0 < found.difference.low < 0.12 < found.difference.high
    assert found.test == "exact McNemar"
    assert found.p_value == pytest.approx(binomtest(8, 28).pvalue)
    assert found.p_value < 0.05


def test_few_discordant_images_have_no_interval():
    found = compare_accuracies(*pair(90, 3, 1, 6))
    assert found.difference.value == pytest.approx(0.02)
    assert found.difference.low is None
    assert "only 4 of 100 images are right for one head and wrong for the other" in found.difference.reason
    assert found.p_value == pytest.approx(0.625)
    same = compare_accuracies(*pair(90, 0, 0, 10))
    assert (same.difference.value, same.difference.low, same.p_value) == (0, None, 1.0)


def test_images_of_one_group_count_together():
    rng = np.random.default_rng(0)
    first, second = rng.random(60) < 0.8, rng.random(60) < 0.7
    once = compare_accuracies(first, second)
    copies = [np.repeat(marks, 10) for marks in (first, second)]
    grouped = compare_accuracies(*copies, Sampling(np.repeat(np.arange(60), 10)))
    naive = compare_accuracies(*copies)
    widths = [found.difference.high - found.difference.low for found in (once, grouped, naive)]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)
    assert widths[2] < 0.5 * widths[0]
    assert grouped.test == "McNemar over 60 groups"
    assert grouped.p_value == pytest.approx(once.p_value, abs=0.1)
    assert naive.p_value < 0.5 * grouped.p_value


def test_few_groups_have_neither_interval_nor_test():
    first, second = pair(60, 20, 8, 12)
    found = compare_accuracies(first, second, Sampling(np.arange(100) % 4))
    assert found.difference.reason == "100 images in 4 groups: too few groups for an interval (10 or more)"
    assert (found.difference.low, found.p_value) == (None, None)
    assert found.first_only == 20


def test_few_discordant_groups_have_no_interval():
    found = compare_accuracies(*pair(70, 10, 0, 20), Sampling(np.arange(100) // 5))
    assert "only 2 of 20 groups" in found.difference.reason
    assert found.p_value > 0.05


@pytest.mark.parametrize("grouped", [False, True])
def test_intervals_of_differences_cover_the_truth_as_often_as_they_say(grouped):
    rng = np.random.default_rng(0)
    covered, rejected, draws = 0, 0, 400
    groups = np.arange(300) // 10
    for _ in range(draws):
        hard = rng.normal(0, 0.8, 300)
        easy = [hard + rng.normal(0, 0.6, 300) + (rng.normal(0, 0.5, 30)[groups] if grouped else 0) for _ in range(2)]
        found = compare_accuracies(easy[0] < 0.8, easy[1] < 0.8, Sampling(groups if grouped else None))
        covered += found.difference.low <= 0 <= found.difference.high
        rejected += found.p_value < 0.05
    assert 0.92 <= covered / draws <= 0.98
    assert 0.01 <= rejected / draws <= 0.075


def test_holms_correction():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, None, 0.6]) == [1.0, None, 1.0]
    assert holm([0.04]) == [0.04]
    assert holm([]) == []


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="one shape"):
        compare_accuracies(np.ones(3, bool), np.ones(2, bool))
    with pytest.raises(ValueError, match="a row or more"):
        compare_accuracies(np.ones(0, bool), np.ones(0, bool))


def test_thirty_groups_of_ten_images_are_thirty():
    # Version 0.5.0 resampled images: its intervals covered the truth in 51 % of such cases.
    rng, groups = np.random.default_rng(0), np.arange(300) // 10
    covered = naive = 0
    for _ in range(300):
        right = [rng.random(300) < rng.beta(0.3, 0.1, 30)[groups] for _ in range(2)]
        found, alone = (compare_accuracies(*right, Sampling(known)) for known in (groups, None))
        covered += found.difference.low <= 0 <= found.difference.high
        naive += alone.difference.low <= 0 <= alone.difference.high
    assert 0.92 <= covered / 300 <= 0.98
    assert naive / 300 < 0.6
