"""Running the trials of a sweep: which are still missing, and one after another."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from extract.api import SILENT, Reporter
from fit.evaluation import truth_of
from fit.fitting import fit_first, predict_images
from fit.heads.parameters import Value
from fit.request import resolve_fit
from fit.search.optuna import propose
from fit.search.request import SweepRequest
from fit.search.space import Setting, format_setting, size
from fit.search.trials import Trial, TrialFolder, trial_key
from store.errors import UsageError


def run_trials(request: SweepRequest, folder: TrialFolder, reporter: Reporter) -> None:
    """Run the trials that the folder does not have yet, and write each down as soon as it is done."""
    for parameters in _missing_trials(request, folder, reporter):
        folder.add(run_trial(request, parameters, len(folder.trials), reporter))


def run_trial(
    request: SweepRequest, parameters: Mapping[str, Value], number: int, reporter: Reporter = SILENT
) -> Trial:
    """Fit on the training images and score on the validation images; if the head refuses, the trial says why.

    Args:
        request: the sweep.
        parameters: all of the head's.
        number: the trial's, from 0.
        reporter: shows progress.
    """
    experiment, validation = request.experiment, request.experiment.split.validation
    started = time.perf_counter()
    scores, refused = None, ""
    try:
        fit = resolve_fit(request.fit.stores, replace(request.fit.options, parameters=parameters))
        classifier = fit_first(fit, experiment, reporter)
        predicted = predict_images(classifier, experiment, validation, reporter)
        scores = truth_of(experiment).score(validation, predicted).intervals()
    except UsageError as error:
        refused = str(error)
    return Trial(number, parameters, scores, round(time.perf_counter() - started, 3), refused, request.source)


def _missing_trials(request: SweepRequest, folder: TrialFolder, reporter: Reporter) -> Iterator[dict[str, Value]]:
    """All parameters of each trial to run; the next is looked up only when the trial before it is in the folder."""
    if request.settings is None:
        yield from _proposed_trials(request, folder, reporter)
        return
    for number, setting in enumerate(request.settings, start=1):
        parameters = request.parameters(setting)
        if trial_key(parameters, request.source) not in folder.trials:
            reporter.message(f"trial {number:,} of {len(request.settings):,}: {format_setting(setting)}")
            yield parameters


def _proposed_trials(request: SweepRequest, folder: TrialFolder, reporter: Reporter) -> Iterator[dict[str, Value]]:
    options = request.options
    most = min(options.most_trials, size(request.space))
    while len(done := _trials_in_space(request, folder.trials.values())) < most:
        setting = propose(request.space, done, request.lower_is_better, request.fit.options.seed)
        reporter.message(f"trial {len(done) + 1:,} of {most:,}: {format_setting(setting)}")
        yield request.parameters(setting)


def _trials_in_space(request: SweepRequest, trials: Iterable[Trial]) -> list[tuple[Setting, float | None]]:
    """The settings and scores of the trials that belong to the request's space."""
    names = {dimension.name for dimension in request.space}
    unchanged = {name: value for name, value in request.fit.parameters.items() if name not in names}
    return [
        ({name: trial.parameters[name] for name in names}, trial.score(request.metric))
        for trial in trials
        if unchanged.items() <= trial.parameters.items()
        and all(trial.parameters[dimension.name] in dimension for dimension in request.space)
    ]
