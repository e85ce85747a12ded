import numpy as np
import pytest

from fit.search.optuna import propose
from fit.search.space import Choices, Range, random_settings

pytest.importorskip("optuna")

SPACE = (Range("rate", 1e-4, 1.0), Choices("optimizer", ("adam", "sgd")), Range("units", 1, 64))


def done_trials(count, lower_is_better):
    """Random settings; the smaller the rate, the better."""
    sign = 1 if lower_is_better else -1
    return [(setting, sign * float(np.log(setting["rate"]))) for setting in random_settings(SPACE, count, 0)]


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_proposals_go_where_it_was_good(lower_is_better):
    done = done_trials(30, lower_is_better)
    rates = [propose(SPACE, done, lower_is_better, seed)["rate"] for seed in range(10)]
    assert np.median(rates) < 1e-3


def test_a_proposal_is_new_within_the_space_and_the_same_each_time():
    done = done_trials(12, lower_is_better=True)
    done[3] = (done[3][0], None)
    proposed = propose(SPACE, done, True, 5)
    assert proposed == propose(SPACE, done, True, 5)
    assert proposed not in [setting for setting, _ in done]
    assert all(proposed[dimension.name] in dimension for dimension in SPACE)


def test_the_last_setting_is_found():
    space = (Choices("units", tuple(range(6))),)
    done = [({"units": number}, -float(number)) for number in range(5)]
    assert propose(space, done, False, 0) == {"units": 5}


def test_optunas_verbosity_is_put_back():
    import optuna

    before = optuna.logging.get_verbosity()
    propose(SPACE, done_trials(2, lower_is_better=True), True, 0)
    assert optuna.logging.get_verbosity() == before
