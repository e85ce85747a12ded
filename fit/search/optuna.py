"""Proposing the next setting, by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011, NIPS 24): extra `search`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fit.search.space import Choices, Dimension, Setting, endless_draws
from store.errors import UsageError
from store.suggestions import suggest_install

_PROPOSALS = 10  # after this many that repeat earlier settings, one is drawn at random


def require_optuna() -> None:
    """Raise UsageError unless Optuna is installed."""
    try:
        import optuna  # noqa: F401
    except ImportError:
        raise UsageError(
            f"--method optuna needs Optuna: {suggest_install('stillframe[search]')}, or use --method random"
        ) from None


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Keep Optuna's messages below errors off the terminal inside the block."""
    import optuna

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def propose(
    space: Sequence[Dimension], done: Sequence[tuple[Setting, float | None]], lower_is_better: bool, seed: int
) -> Setting:
    """A new setting, a function of the earlier ones alone: a stopped sweep continues as it would have without the stop.

    Args:
        space: the parameters.
        done: earlier settings and their scores, in order; None where the head refused the setting.
        lower_is_better: whether a lower score is better.
        seed: of the sampler.
    """
    known = [setting for setting, _ in done]
    with quiet_optuna():
        for attempt in range(_PROPOSALS):
            seeds = np.random.SeedSequence([seed, len(done), attempt])
            proposed = _ask(space, done, lower_is_better, int(seeds.generate_state(1)[0]))
            if proposed not in known:
                return proposed
    return next(setting for setting in endless_draws(space, seed + len(done)) if setting not in known)


def _ask(
    space: Sequence[Dimension], done: Sequence[tuple[Setting, float | None]], lower_is_better: bool, seed: int
) -> Setting:
    """What a sampler with that seed proposes; it may repeat an earlier setting."""
    import optuna

    distributions = {dimension.name: _distribution(dimension) for dimension in space}
    sampler = optuna.samplers.TPESampler(seed=seed)
    study = optuna.create_study(direction="minimize" if lower_is_better else "maximize", sampler=sampler)
    for setting, score in done:
        state = optuna.trial.TrialState.FAIL if score is None else optuna.trial.TrialState.COMPLETE
        study.add_trial(
            optuna.trial.create_trial(params=setting, distributions=distributions, value=score, state=state)
        )
    proposed: Setting = study.ask(distributions).params
    return proposed


def _distribution(dimension: Dimension) -> Any:
    import optuna

    if isinstance(dimension, Choices):
        return optuna.distributions.CategoricalDistribution(dimension.values)
    kind = optuna.distributions.IntDistribution if dimension.whole else optuna.distributions.FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)
