"""What to try next, by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011, NIPS 24): extra `search`."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fit.search.space import Choices, Dimension, Setting, endless_draws
from store.errors import UsageError

_PROPOSALS = 10  # that may repeat what is done, before chance decides


def require_optuna() -> None:
    """Raise UsageError unless Optuna is installed."""
    try:
        import optuna
    except ImportError:
        raise UsageError(
            "--method optuna needs Optuna: pip install 'stillframe[search]', or use --method random"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)


def propose(
    space: Sequence[Dimension], done: Sequence[tuple[Setting, float | None]], lower_is_better: bool, seed: int
) -> Setting:
    """A setting that is not done yet: a function of what is done, so that a sweep that was stopped goes on as it would have.

    Args:
        space: the parameters.
        done: settings and their scores, in order; None where the head refused.
        lower_is_better: of the scores.
        seed: of the sampler.
    """
    import optuna

    distributions = {dimension.name: _distribution(dimension) for dimension in space}
    known = [setting for setting, _ in done]
    for attempt in range(_PROPOSALS):
        own_seed = np.random.SeedSequence([seed, len(done), attempt]).generate_state(1)[0]
        sampler = optuna.samplers.TPESampler(seed=int(own_seed))
        study = optuna.create_study(direction="minimize" if lower_is_better else "maximize", sampler=sampler)
        for setting, score in done:
            state = optuna.trial.TrialState.FAIL if score is None else optuna.trial.TrialState.COMPLETE
            study.add_trial(
                optuna.trial.create_trial(params=setting, distributions=distributions, value=score, state=state)
            )
        proposed: Setting = study.ask(distributions).params
        if proposed not in known:
            return proposed
    return next(setting for setting in endless_draws(space, seed + len(done)) if setting not in known)


def _distribution(dimension: Dimension) -> Any:
    import optuna

    if isinstance(dimension, Choices):
        return optuna.distributions.CategoricalDistribution(dimension.values)
    kind = optuna.distributions.IntDistribution if dimension.whole else optuna.distributions.FloatDistribution
    return kind(dimension.low, dimension.high, log=dimension.log)
