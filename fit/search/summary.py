"""A sweep's outcome: its table as CSV, and its picture."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fit.metrics.intervals import Interval
from fit.report.comparisons import Change, draw_changes, draw_sweep
from fit.search.request import SweepRequest
from fit.search.space import Setting, format_setting
from fit.search.trials import Trial

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Sweep:
    """The result of a sweep.

    Attributes:
        metric: what the best trial was chosen by, on validation.
        names: the parameters that the trials differ in.
        trials: the best first, those that the head refused last.
        best: the folder of the chosen head.
        metrics: of the chosen head, as metrics.json has them.
    """

    metric: str
    names: tuple[str, ...]
    trials: tuple[Trial, ...]
    best: Path
    metrics: Mapping[str, object]

    @property
    def chosen(self) -> Trial:
        """The best trial."""
        return self.trials[0]

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "metric": self.metric,
            "trials": [trial.to_dict() for trial in self.trials],
            "chosen": dict(self.chosen.parameters),
            "best": str(self.best),
            "metrics": dict(self.metrics),
        }


def changed_names(request: SweepRequest, trials: Sequence[Trial]) -> tuple[str, ...]:
    """The parameters that the sweep tries or that its trials differ in, in the head's order."""
    tried = {dimension.name for dimension in request.space}
    return tuple(name for name in request.fit.parameters if name in tried or _differ(trials, name))


def sweep_csv(sweep: Sweep) -> bytes:
    """One line per trial: parameters, metrics with their intervals, seconds, why it was refused, whether it was chosen."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    bounds = [(metric, bound) for metric in sweep.chosen.scores or () for bound in ("value", "low", "high")]
    parameters = list(sweep.chosen.parameters)
    metrics = [metric if bound == "value" else f"{metric}_{bound}" for metric, bound in bounds]
    writer.writerow(["trial", *parameters, *metrics, "seconds", "refused", "chosen"])
    nothing = Interval(None, None, None)
    for trial in sweep.trials:
        scores = [getattr((trial.scores or {}).get(metric, nothing), bound) for metric, bound in bounds]
        settings = [trial.parameters[name] for name in parameters]
        chosen = "yes" if trial is sweep.chosen else ""
        writer.writerow([trial.number, *settings, *scores, trial.seconds, trial.refused, chosen])
    return table.getvalue().encode()


def sweep_figure(request: SweepRequest, sweep: Sweep) -> "Figure":
    """The trials as a picture: against the base settings for the method one, else one panel per parameter."""
    scored = [trial for trial in sweep.trials if trial.scores is not None]
    refused = len(sweep.trials) - len(scored)
    note = f"{len(sweep.trials):,} trials{f', {refused:,} refused' if refused else ''}"
    if request.options.method == "one" and request.settings is not None:
        base = _trial_with(request, sweep, request.settings[0]).interval(sweep.metric)
        if base is not None:
            return draw_changes(base, _changes(request, sweep), sweep.metric, note)
    names = [name for name in sweep.names if _differ(scored, name)] or list(sweep.names)
    values = {name: [trial.parameters[name] for trial in scored] for name in names}
    intervals = [trial.scores[sweep.metric] for trial in scored if trial.scores is not None]
    return draw_sweep(values, intervals, 0, sweep.metric, note)


def _changes(request: SweepRequest, sweep: Sweep) -> list[Change]:
    """The result of each setting after the first, which is the base."""
    changes = []
    for setting in (request.settings or ())[1:]:
        trial = _trial_with(request, sweep, setting)
        changes.append(Change(format_setting(setting), trial.interval(sweep.metric), trial is sweep.chosen))
    return changes


def _trial_with(request: SweepRequest, sweep: Sweep, setting: Setting) -> Trial:
    parameters = request.parameters(setting)
    return next(trial for trial in sweep.trials if trial.parameters == parameters)


def _differ(trials: Sequence[Trial], name: str) -> bool:
    return len({trial.parameters[name] for trial in trials}) > 1
