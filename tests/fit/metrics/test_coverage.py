"""The benchmark of coverage runs, and what it measures quickly is what the intervals promise."""

import numpy as np
import pytest

from benchmarks import coverage


def test_the_accuracy_of_independent_images_is_covered_exactly_as_wilson_does():
    cells = {(cell.images, cell.accuracy): cell for cell in coverage.exact_cells()}
    assert all(cells[12, accuracy].given == 0 for accuracy in coverage.ACCURACIES)
    for images in (45, 114, 1000):
        for accuracy in coverage.ACCURACIES:
            assert 0.93 <= cells[images, accuracy].covered <= 0.977, (images, accuracy)
    # Version 0.5.0 covered 0.59 and 0.89 of these.
    assert cells[45, 0.98].covered == pytest.approx(0.939, abs=0.001)
    assert cells[45, 0.95].covered == pytest.approx(0.976, abs=0.001)


def test_groups_are_of_unequal_size_and_each_has_an_image():
    groups = coverage.draw_groups(114, 30, np.random.default_rng(0))
    sizes = np.bincount(groups)
    assert (len(sizes), sizes.sum()) == (30, 114)
    assert sizes.min() >= 1
    assert sizes.max() > 2 * sizes.mean()


def test_a_population_has_its_accuracy():
    population = coverage.find_population(0.8, multi_label=False, grouped=True)
    assert population.draw_many().estimates()["accuracy"].value == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("errors", coverage.ERRORS)
def test_with_another_r2_all_errors_are_multiplied_by_one_number(errors):
    groups, drawn = np.arange(60) // 3, []
    for explained in coverage.EXPLAINED:
        population = coverage.NumberPopulation(errors, explained)
        targets, predicted = population.draw(60, groups, np.random.default_rng(0))
        drawn.append(predicted - targets)
    np.testing.assert_allclose(drawn[1] / drawn[0], np.sqrt(0.1 / 0.5))


def test_the_table_of_numbers_repeats_nothing():
    cells = list(coverage.number_cells(3, [(1000, coverage.INDEPENDENT)], coverage.NUMBER_POPULATIONS))
    table = coverage.format_number_table(cells)
    assert table[0] == "| interval of | images | groups | normal | heavy | skewed |"
    names = [line.split(" | ")[0] for line in table[2:]]
    assert names == ["| mean absolute error", "| r2", "| spearman, R2 0.5", "| spearman, R2 0.9"]


@pytest.mark.slow
def test_the_quick_benchmark_finds_nothing_that_covers_too_rarely():
    cells = coverage.measure(200, quick=True)
    table = coverage.format_table(cells)
    assert table[0].startswith("| interval of | images | groups | 0.5 | 0.8")
    assert [cell for cell in cells if cell.mark == "-"] == []
    assert sum(cell.given >= coverage.RARELY for cell in cells) > 40
