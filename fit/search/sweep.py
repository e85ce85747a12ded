"""A sweep: many fits of one head with different parameters; the best is chosen on validation.

The rows are loaded once. Each trial is fitted on train, scored on validation and written down at once, so that the same
command continues where it was stopped. The best is chosen from all trials in the folder, those of earlier sweeps too.
"""

from collections.abc import Sequence
from pathlib import Path

from extract.api import SILENT, Reporter
from fit.options import FitOptions
from fit.report.style import to_png
from fit.search.choosing import fit_chosen_head, rank_trials
from fit.search.options import SweepOptions
from fit.search.optuna import require_optuna
from fit.search.request import SweepRequest, resolve_sweep
from fit.search.running import run_trials
from fit.search.summary import Sweep, changed_names, sweep_csv, sweep_figure
from fit.search.trials import BEST, CSV, PICTURE, TrialFolder
from store.errors import StoppedEarly, UsageError
from store.files.local import write_whole
from store.reader import FeatureStore


def sweep_head(
    store: FeatureStore | Sequence[FeatureStore],
    fit_options: FitOptions,
    options: SweepOptions,
    out: Path,
    reporter: Reporter = SILENT,
) -> Sweep:
    """Try settings of a head, choose on validation, and write the chosen head into `out`/best.

    Args:
        store: the features; several stores are joined.
        fit_options: as for `fit head`; `parameters` are the base settings.
        options: what to try.
        out: the sweep's folder.
        reporter: reports each trial.

    Raises:
        UsageError: a wrong option, no validation images, another sweep's folder, or the head refused every trial.
        StoppedEarly: the sweep was interrupted; the same call continues it.
    """
    if options.method == "optuna":
        require_optuna()
    request = resolve_sweep(store, fit_options, options, reporter)
    folder = TrialFolder(out, request.study(), request.source)
    try:
        run_trials(request, folder, reporter)
        return _conclude(request, folder, reporter)
    except KeyboardInterrupt:
        raise StoppedEarly(
            f"stopped; trials done so far, {len(folder.trials):,}, are kept in {out}: run the same command again to continue"
        ) from None


def _conclude(request: SweepRequest, folder: TrialFolder, reporter: Reporter) -> Sweep:
    """Choose the best trial, fit the chosen head, and write the table and the picture."""
    metric = request.metric
    trials = rank_trials(folder.trials.values(), metric, request.lower_is_better)
    if trials[0].scores is None:
        raise UsageError(f"the head refused every trial, the first with: {trials[0].refused}")
    refused = sum(trial.scores is None for trial in trials)
    chosen_from = {"trials": len(trials), "refused": refused, "metric": metric}
    if request.source:
        chosen_from["source"] = request.source
    best = folder.root / BEST
    metrics = fit_chosen_head(request, best, trials[0], chosen_from, reporter)
    sweep = Sweep(metric, changed_names(request, trials), tuple(trials), best, metrics)
    write_whole(folder.root / CSV, sweep_csv(sweep))
    write_whole(folder.root / PICTURE, to_png(sweep_figure(request, sweep)))
    return sweep
