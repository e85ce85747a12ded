"""Choosing the best trial of a sweep, and fitting the head with its parameters."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from extract.api import Reporter
from fit.head_folder import read_earlier
from fit.request import resolve_fit
from fit.search.request import SweepRequest
from fit.search.trials import Trial
from fit.splits import TEST
from fit.train import fit_experiment


def rank_trials(trials: Iterable[Trial], metric: str, lower_is_better: bool) -> list[Trial]:
    """The best first, ties by number; trials that the head refused last."""
    sign = 1 if lower_is_better else -1

    def rank(trial: Trial) -> tuple[bool, float, int]:
        score = trial.score(metric)
        return score is None, sign * (score or 0.0), trial.number

    return sorted(trials, key=rank)


def fit_chosen_head(
    request: SweepRequest, folder: Path, trial: Trial, chosen_from: Mapping[str, object], reporter: Reporter
) -> Mapping[str, object]:
    """The metrics of the head with a trial's parameters, which is fitted unless it is in the folder already.

    This is the only place where a sweep evaluates on the test set, and only if that was asked for.

    Args:
        request: the sweep.
        folder: the head's.
        trial: the chosen one.
        chosen_from: what it was chosen from, which is written into the head's metrics.
        reporter: reports the fit.
    """
    earlier = read_earlier(folder)
    if earlier is not None:
        same = earlier.info.parameters == trial.parameters and earlier.metrics.get("chosen_from") == chosen_from
        if same and _evaluated_as_asked(request, earlier.metrics):
            return earlier.metrics
    fit = resolve_fit(request.fit.stores, replace(request.fit.options, parameters=trial.parameters))
    head = fit_experiment(fit, request.experiment, reporter)
    head.metrics["chosen_from"] = dict(chosen_from)
    head.save(folder, force=True)
    return head.metrics


def _evaluated_as_asked(request: SweepRequest, metrics: Mapping[str, object]) -> bool:
    """Whether the test images were evaluated, or nobody asks for that now, or there are none."""
    asked = request.fit.options.evaluate_test and len(request.experiment.split.test) > 0
    return metrics.get(TEST) is not None or not asked
