import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fit.heads.table import get_head
from fit.search.space import Choices, Range, format_setting, grid, one_at_a_time, parse_space, random_settings, size
from store.errors import UsageError

DENSE = get_head("dense")


@st.composite
def ranges(draw, name="r"):
    low, high = draw(
        st.one_of(
            st.tuples(st.integers(-50, 500), st.integers(-50, 500)),
            st.tuples(st.floats(1e-9, 10.0), st.floats(1e-9, 1e4)),
            st.tuples(st.floats(-10.0, 10.0), st.floats(-10.0, 10.0)),
        )
        .map(sorted)
        .filter(lambda ends: ends[0] < ends[1])
    )
    return Range(name, low, high)


def choices(name):
    values = st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True)
    return values.map(lambda chosen: Choices(name, tuple(chosen)))


discrete = st.tuples(choices("a"), choices("b"), choices("c"))
mixed = st.tuples(choices("a"), ranges())


@given(discrete)
def test_a_grid_is_every_combination_once(space):
    listed = grid(space)
    assert len(listed) == size(space) == len({tuple(setting.items()) for setting in listed})
    assert all(setting[dimension.name] in dimension for setting in listed for dimension in space)
    assert listed[0] == {dimension.name: dimension.values[0] for dimension in space}


@given(discrete, st.fixed_dictionaries({name: st.integers(0, 9) for name in "abc"}))
def test_one_at_a_time_changes_one_and_begins_with_the_base(space, base):
    first, *changes = one_at_a_time(space, base)
    assert first == {}
    assert all(len(change) == 1 and not change.items() <= base.items() for change in changes)
    assert len(changes) == sum(len(set(dimension.values) - {base[dimension.name]}) for dimension in space)


@settings(deadline=None)
@given(st.one_of(discrete, mixed), st.integers(1, 30), st.integers(0, 10), st.integers(0, 5))
def test_random_settings_are_different_within_the_space_and_go_on(space, count, more, seed):
    listed = random_settings(space, count, seed)
    assert len(listed) == min(count, size(space))
    assert all(setting[dimension.name] in dimension for setting in listed for dimension in space)
    assert all(first != second for first, second in itertools.combinations(listed, 2))
    assert random_settings(space, count + more, seed)[: len(listed)] == listed
    wholes = [dimension for dimension in space if isinstance(dimension, Range) and dimension.whole]
    assert all(isinstance(setting[dimension.name], int) for setting in listed for dimension in wholes)


def test_a_wide_range_is_drawn_from_on_a_logarithmic_scale():
    (dimension,) = parse_space(["learning_rate=1e-5..1e-1"], DENSE)
    rates = [setting["learning_rate"] for setting in random_settings([dimension], 400, 0)]
    assert 0.4 < sum(rate < 1e-3 for rate in rates) / 400 < 0.6
    (dimension,) = parse_space(["dropout=0.1..0.9"], DENSE)
    rates = [setting["dropout"] for setting in random_settings([dimension], 400, 0)]
    assert 0.4 < sum(rate < 0.5 for rate in rates) / 400 < 0.6


def test_values_have_the_parameters_type():
    space = parse_space(["units=64, 128", "dropout=0", "optimizer=adam,sgd", "batch_size=8..64"], DENSE)
    assert space == (
        Choices("units", (64, 128)),
        Choices("dropout", (0.0,)),
        Choices("optimizer", ("adam", "sgd")),
        Range("batch_size", 8, 64),
    )
    assert parse_space(["optimizer=a,b;c"], DENSE) == (Choices("optimizer", ("a,b", "c")),)
    assert format_setting({"learning_rate": 0.000123456, "units": 64}) == "learning_rate=0.0001235, units=64"


@pytest.mark.parametrize(
    ("tries", "words"),
    [
        ([], "nothing to try"),
        (["units"], "expected key=v1,v2 or key=low..high"),
        (["units="], "expected key=v1,v2"),
        (["unit=3"], "has no parameter 'unit'"),
        (["units=3,x"], "units is 'x': expected a whole number"),
        (["units=3,"], "units is '': expected a whole number"),
        (["units=3,3"], "some are there twice"),
        (["units=3", "units=4"], "--try units is given twice"),
        (["units=9..3"], "a range from a lower to a higher"),
        (["units=1..x"], "units is 'x'"),
    ],
)
def test_what_cannot_be_tried_is_refused(tries, words):
    with pytest.raises(UsageError, match=words):
        parse_space(tries, DENSE)


@pytest.mark.parametrize("listed", [grid, lambda space: one_at_a_time(space, {"units": 3})])
def test_a_range_has_no_list(listed):
    with pytest.raises(UsageError, match=r"--try units=3\.\.9 is a range, which --method"):
        listed(parse_space(["units=3..9"], DENSE))
