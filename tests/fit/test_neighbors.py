"""Nearest rows and near pairs: every answer is that of one large matrix of cosines."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fit.neighbors
from fit.neighbors import NO_ROW, compare_all, near_groups, near_pairs, nearest, unit_rows


def grid_rows(seed, count, columns=3):
    """Rows of few different directions, some of zeros: many are equally near."""
    return np.random.default_rng(seed).integers(-1, 2, (count, columns)).astype(np.float32)


def cosines_of(left, right):
    def unit(rows):
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
        return rows / np.where(lengths == 0, 1, lengths)[:, None]

    # Rounded as float32 is: directions of this grid that are equal are equal here too.
    return np.round(unit(left) @ unit(right).T, 5)


def expected_neighbors(cosines, k):
    """(rows, cosines) by falling cosine, then by row, of what is finite."""
    rows = np.full((len(cosines), k), NO_ROW)
    for query, values in enumerate(cosines):
        order = [row for row in np.lexsort((np.arange(len(values)), -values)) if np.isfinite(values[row])][:k]
        rows[query, : len(order)] = order
    return rows


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(fit.neighbors, "BLOCK_ROWS", 4)


def batches_of(features, sizes):
    start = 0
    for size in sizes:
        rows = np.arange(start, min(start + size, len(features)))
        yield features[rows], rows
        start += size


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(1, 5), st.integers(1, 7), st.integers(1, 30))
def test_nearest_are_those_of_all_cosines(seed, count, queries, k, size):
    features, asked = grid_rows(seed, count), grid_rows(seed + 1, queries)
    # Powers of two change no direction and no bit of a cosine.
    scales = np.float32(2) ** np.random.default_rng(seed).integers(-9, 9, count)[:, None]
    found = nearest(asked, batches_of(features * scales, [size] * count), k)
    cosines = cosines_of(asked, features)
    # The last bits of equal cosines may differ from block to block: compare the cosines of what was found.
    expected = expected_neighbors(cosines, k)
    there = expected != NO_ROW
    assert np.array_equal(found.rows != NO_ROW, there)
    assert np.all(np.isneginf(found.cosines[~there]))
    at = np.nonzero(there)
    assert np.allclose(found.cosines[at], cosines[at[0], expected[at]], atol=1e-5)
    assert np.allclose(cosines[at[0], found.rows[at]], cosines[at[0], expected[at]], atol=1e-5)
    assert all(len(set(rows[rows != NO_ROW])) == np.sum(rows != NO_ROW) for rows in found.rows)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 30), st.integers(0, 5), st.sampled_from([0.4, 0.7, 0.99]))
def test_all_pairs_are_those_of_all_cosines(seed, count, k, threshold):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit.neighbors, "BLOCK_ROWS", 4)
        features = grid_rows(seed, count)
        done = []
        neighbors, pairs = compare_all(features, k, threshold, done=done.append)
    cosines = cosines_of(features, features)
    first, second = np.nonzero(np.triu(cosines >= threshold, 1))
    assert np.array_equal(pairs.first, first)
    assert np.array_equal(pairs.second, second)
    assert np.allclose(pairs.cosines, cosines[first, second], atol=1e-5)
    assert pairs.found == len(first)
    assert sum(done) == count
    np.fill_diagonal(cosines, -np.inf)
    expected = expected_neighbors(cosines, k)
    there = np.nonzero(expected != NO_ROW)
    assert np.array_equal(neighbors.rows != NO_ROW, expected != NO_ROW)
    assert np.allclose(neighbors.cosines[there], cosines[there[0], expected[there]], atol=1e-5)
    assert not np.any(neighbors.rows == np.arange(count)[:, None])


def test_of_equally_near_rows_the_lower_numbers_come_first(small_blocks):
    features = np.tile(np.eye(2, dtype=np.float32), (50, 1))
    found = nearest(features[:1], batches_of(features, [7] * 20), 6)
    assert found.rows.tolist() == [[0, 2, 4, 6, 8, 10]]
    backwards = [(features[rows], rows) for rows in np.array_split(np.arange(100)[::-1], 9)]
    assert nearest(features[:1], backwards, 6).rows.tolist() == [[0, 2, 4, 6, 8, 10]]
    assert compare_all(features, 3, 0.9)[0].rows[[0, 2, 99]].tolist() == [[2, 4, 6], [0, 4, 6], [1, 3, 5]]


def test_a_row_of_zeros_is_near_nothing():
    features = np.zeros((4, 3), np.float32)
    assert len(near_pairs(features, 0.1)) == 0
    assert nearest(features[:1], [(features, np.arange(4))], 2).cosines.tolist() == [[0, 0]]


@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1, 1e25, 1e38])
def test_directions_of_large_and_tiny_values_are_exact(scale):
    values = np.array([[3, 4]], np.float64) * scale / 5
    assert np.allclose(unit_rows(values.astype(np.float32)), [[0.6, 0.8]], rtol=1e-5)


def test_what_is_given_stays_as_it_is():
    values = np.array([[3, 4]], np.float32)
    unit_rows(values)
    assert values.tolist() == [[3, 4]]


def test_half_precision_features_are_compared_in_single_precision():
    features = np.full((2, 30_000), 8, np.float16)  # the sum of squares is beyond float16
    assert np.isclose(near_pairs(features, 0.9).cosines[0], 1)


@pytest.mark.parametrize("count", [40, 41, 200])
def test_too_many_pairs_leave_those_that_hold_the_groups_together(count, small_blocks):
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(5, 16))
    features = (centers[np.arange(count) % 5] + rng.normal(0, 0.03, (count, 16))).astype(np.float32)
    whole, thinned = near_pairs(features, 0.95), near_pairs(features, 0.95, most=30)
    assert thinned.found == whole.found == len(whole) > 30
    assert len(thinned) == count - 5
    assert np.array_equal(near_groups(thinned, count), near_groups(whole, count))
    assert near_groups(whole, count).tolist() == [number % 5 for number in range(count)]
    # The best cosine of a row is always in the forest.
    best = [max(whole.cosines[(whole.first == row) | (whole.second == row)]) for row in range(count)]
    kept = [max(thinned.cosines[(thinned.first == row) | (thinned.second == row)]) for row in range(count)]
    assert np.allclose(best, kept, atol=1e-6)


def test_groups_are_numbered_by_their_first_row():
    features = np.array([[1, 0], [0, 1], [1, 0.01], [-1, 0], [0.01, 1]], np.float32)
    assert near_groups(near_pairs(features, 0.99), 5).tolist() == [0, 1, 0, 2, 1]
    assert near_groups(near_pairs(features[:0], 0.99), 0).tolist() == []


@pytest.mark.parametrize("threshold", [0, -0.5, 1.01])
def test_a_threshold_that_cannot_be_is_refused(threshold):
    with pytest.raises(ValueError, match=r"expected a cosine above 0"):
        near_pairs(np.eye(2), threshold)


def test_rows_that_are_read_as_they_are_needed_give_the_same(small_blocks):
    features = grid_rows(1, 30)

    class Read:
        def __len__(self):
            return 30

        def __getitem__(self, part):
            assert part.stop - part.start == 4
            return features[part]

    assert np.array_equal(near_pairs(Read(), 0.9).first, near_pairs(features, 0.9).first)
