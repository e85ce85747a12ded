import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fit.splits import cut, find_split_groups, folds, nested_parts, reshuffled, split_rows
from store.errors import UsageError

CLASSES = 3


@st.composite
def data_sets(draw, groups=True):
    """Rows of three classes, each with two units or more; digests and groups repeat."""
    count = draw(st.integers(2 * CLASSES, 60))
    digests = [f"{number}" for number in draw(st.lists(st.integers(0, 200), min_size=count, max_size=count))]
    owners = draw(st.lists(st.none() | st.integers(0, 12).map(str), min_size=count, max_size=count)) if groups else None
    strata = np.arange(count) % CLASSES
    return digests, owners, strata


def draw_split(digests, owners, strata, seed=0, validation=0.2, test=0.2):
    units = find_split_groups(digests, owners, seed)
    return units, split_rows([None] * len(digests), strata, units, validation, test)


@given(data_sets(), st.integers(0, 5))
def test_every_row_stands_on_one_side_with_its_twins_and_its_group(data, seed):
    digests, owners, strata = data
    _, split = draw_split(digests, owners, strata, seed)
    sides = [split.train, split.validation, split.test]
    assert sorted(np.concatenate(sides).tolist()) == list(range(len(digests)))
    for names in (digests, owners):
        seen = [{names[row] for row in side} - {None} for side in sides]
        assert not (seen[0] & seen[1]) and not (seen[0] & seen[2]) and not (seen[1] & seen[2])


@given(data_sets(), st.integers(2, 6))
def test_folds_are_a_partition_and_keep_units_whole(data, count):
    digests, owners, strata = data
    units = find_split_groups(digests, owners, 0)
    parts = folds(np.arange(len(digests)), strata, units, count)
    assert len(parts) == count
    alone = {
        units.of_rows[strata == stratum][0]
        for stratum in range(CLASSES)
        if len(set(units.of_rows[strata == stratum])) == 1
    }
    in_folds = np.concatenate(parts)
    assert len(set(in_folds.tolist())) == len(in_folds)
    left_out = np.setdiff1d(np.arange(len(digests)), in_folds)
    assert alone <= set(units.of_rows[left_out])
    assert all(set(strata[np.setdiff1d(np.arange(len(digests)), part)]) == set(range(CLASSES)) for part in parts)
    if all(len(set(strata[units.of_rows == unit])) == 1 for unit in range(len(units.keys))):
        assert set(units.of_rows[left_out]) == alone
    for first in range(count):
        for second in range(first):
            assert not set(units.of_rows[parts[first]]) & set(units.of_rows[parts[second]])


@given(data_sets(groups=False), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(data, random):
    digests, _, _ = data
    strata = np.array([int(digest) % CLASSES for digest in digests])
    order = list(range(len(digests)))
    random.shuffle(order)
    _, split = draw_split(digests, None, strata)
    _, shuffled = draw_split([digests[row] for row in order], None, strata[order])
    for side, other in zip(
        (split.train, split.validation, split.test), (shuffled.train, shuffled.validation, shuffled.test), strict=True
    ):
        assert {digests[row] for row in side} == {digests[order[row]] for row in other}


@given(st.integers(10, 200), st.integers(1, 20))
def test_adding_images_moves_few_rows(count, more):
    digests = [f"{number:064x}" for number in range(count + more)]
    strata = np.zeros(count + more, np.int64)
    _, before = draw_split(digests[:count], None, strata[:count])
    _, after = draw_split(digests, None, strata)

    def side(split, row):
        return next(number for number, rows in enumerate((split.train, split.validation, split.test)) if row in rows)

    moved = sum(side(before, row) != side(after, row) for row in range(count))
    assert moved <= 2 * more


@pytest.mark.parametrize("count", [5, 10, 100, 1000])
def test_the_fractions_hold_in_each_class(count):
    digests = [f"{number}" for number in range(2 * count)]
    strata = np.arange(2 * count) // count
    _, split = draw_split(digests, None, strata, validation=0.2, test=0.3)
    for stratum in (0, 1):
        assert (strata[split.test] == stratum).sum() == pytest.approx(0.3 * count, abs=1)
        assert (strata[split.validation] == stratum).sum() == pytest.approx(0.2 * count, abs=1)


def test_small_classes_reach_train_first_then_test_then_validation():
    for size, expected in ((1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1))):
        units = find_split_groups([str(number) for number in range(size)], None, 0)
        parts = cut(np.arange(size), np.zeros(size, np.int64), units, 0.2, 0.2)
        assert tuple(map(len, parts)) == expected


def test_no_test_and_no_validation_can_be_asked_for():
    _, split = draw_split([str(number) for number in range(20)], None, np.zeros(20, np.int64), validation=0.0, test=0.0)
    assert (len(split.train), len(split.validation), len(split.test)) == (20, 0, 0)


def test_a_class_of_two_units_never_lies_in_one_fold():
    for seed in range(50):
        units = find_split_groups(["a", "b", "c", "d"], None, seed)
        parts = folds(np.arange(4), np.array([0, 0, 1, 1]), units, 5)
        assert all(len(part) <= 2 for part in parts)
        for stratum in ([0, 1], [2, 3]):
            assert not any(set(stratum) <= set(part.tolist()) for part in parts)


def test_no_class_lies_in_one_fold_where_groups_are_of_several_classes():
    for seed in range(200):
        rng = np.random.default_rng(seed)
        strata = rng.choice(CLASSES, 30, p=[0.8, 0.15, 0.05])
        owners = rng.integers(0, 9, 30).astype(str).tolist()
        for part in folds(np.arange(30), strata, find_split_groups([str(row) for row in range(30)], owners, seed), 3):
            assert set(np.delete(strata, part)) == set(strata)


@given(data_sets(), st.sampled_from([0.2, 0.6]))
def test_no_class_is_missing_from_train_where_groups_are_of_several_classes(data, validation):
    digests, owners, strata = data
    _, split = draw_split(digests, owners, strata, validation=validation)
    assert set(strata[split.train]) == set(range(CLASSES))


def test_a_class_that_only_minorities_of_groups_are_of_is_in_train():
    owners = [str(row // 3) for row in range(18)]
    strata = np.array([0, 0, 1] * 2 + [0, 0, 0] * 4)
    for seed in range(20):
        _, split = draw_split([str(row) for row in range(18)], owners, strata, seed, validation=0.3, test=0.5)
        assert set(strata[split.train]) == {0, 1}


def test_a_group_that_is_the_only_one_of_its_class_is_in_no_fold():
    units = find_split_groups(["a", "b", "c", "d", "e"], ["1", "2", "3", "4", "4"], 0)
    parts = folds(np.arange(5), np.array([0, 0, 0, 1, 1]), units, 3)
    assert sorted(np.concatenate(parts).tolist()) == [0, 1, 2]


def test_repeats_have_other_keys_and_the_same_groups():
    units = find_split_groups([str(number) for number in range(50)], None, 0)
    again = reshuffled(units, 1)
    assert reshuffled(units, 0) is units
    assert np.array_equal(again.of_rows, units.of_rows)
    assert len({units.keys.tobytes(), again.keys.tobytes(), reshuffled(units, 2).keys.tobytes()}) == 3


def test_near_twins_are_of_one_split_group_with_what_else_belongs_to_them():
    units = find_split_groups(["a", "b", "c", "a"], None, 0, np.array([0, 0, 1, 2]))
    assert units.of_rows[0] == units.of_rows[1] == units.of_rows[3] != units.of_rows[2]


def test_another_seed_is_another_split():
    digests, strata = [str(number) for number in range(100)], np.zeros(100, np.int64)
    assert set(draw_split(digests, None, strata, 0)[1].test) != set(draw_split(digests, None, strata, 1)[1].test)


OWN = ["train", "train", "train", "train", "test", "test"]


def test_an_own_split_is_kept_and_validation_taken_from_train():
    units = find_split_groups(list("abcdef"), None, 0)
    split = split_rows(OWN, np.zeros(6, np.int64), units, 0.25, 0.5)
    assert split.test.tolist() == [4, 5]
    assert len(split.validation) == 1
    assert sorted([*split.train, *split.validation]) == [0, 1, 2, 3]


def test_an_own_split_without_test_has_none():
    split = split_rows(["train"] * 6, np.zeros(6, np.int64), find_split_groups(list("abcdef"), None, 0), 0.2, 0.5)
    assert len(split.test) == 0


def test_of_an_own_split_train_loses_what_stands_in_test_too():
    own = [*OWN, "validation", "validation"]
    units = find_split_groups(["a", "b", "c", "t", "t", "e", "a", "t"], None, 0)
    split = split_rows(own, np.zeros(8, np.int64), units, 0.2, 0.2)
    assert split.test.tolist() == [4, 5]
    assert split.validation.tolist() == [6]
    assert split.train.tolist() == [1, 2]


@pytest.mark.parametrize(("own", "words"), [(["train", None], "no split"), (["test", "test"], "no train")])
def test_a_split_that_cannot_be_is_refused(own, words):
    with pytest.raises(UsageError, match=words):
        split_rows(own, np.zeros(2, np.int64), find_split_groups(["a", "b"], None, 0), 0.2, 0.2)


@given(data_sets(), st.integers(1, 3), st.integers(0, 9))
def test_nested_parts_are_whole_groups_with_every_class_each_within_the_next(data, least, draw):
    digests, owners, strata = data
    units = reshuffled(find_split_groups(digests, owners, 0), draw)
    rows = np.arange(0, len(digests)) if len(digests) < 40 else np.arange(5, len(digests))
    parts = nested_parts(rows, strata, units, (0.25, 0.5, 1.0), least)
    assert parts[-1].tolist() == rows.tolist()
    for part, larger in itertools.pairwise(parts):
        assert set(part) <= set(larger)
    for part in parts:
        left_out = np.setdiff1d(rows, part)
        assert not set(units.of_rows[part]) & set(units.of_rows[left_out])
        for stratum in range(CLASSES):
            inside, every = (set(units.of_rows[side][strata[side] == stratum]) for side in (part, rows))
            assert len(inside) >= min(least, len(every))


def test_nested_parts_keep_the_proportions_of_classes_and_differ_between_orders():
    strata = np.repeat([0, 1], [300, 100])
    units = find_split_groups([f"{number}" for number in range(400)], None, 0)
    halves = [nested_parts(np.arange(400), strata, reshuffled(units, draw), (0.5,), 1)[0] for draw in range(2)]
    assert [np.bincount(strata[half]).tolist() for half in halves] == [[150, 50]] * 2
    assert 80 < len(set(halves[0]) & set(halves[1])) < 120
