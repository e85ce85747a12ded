"""Many fits of one head, each with other parameters: chosen on validation, told on the test once, at the end.

The rows are loaded once. Each trial is fitted on train, scored on validation and kept at once, so that the same
command goes on where it was stopped. The folder is the study: whatever was tried in it before counts among what
the best is chosen from.
"""

import csv
import hashlib
import io
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from fit.head import INFO, Head, read_results
from fit.heads.table import Value
from fit.metrics.scores import METRICS, Interval
from fit.options import FitOptions
from fit.report.drawings import Change, draw_changes, draw_sweep
from fit.report.style import to_png
from fit.search.optuna import propose, require_optuna
from fit.search.space import Dimension, Setting, format_setting, grid, one_at_a_time, parse_space, random_settings, size
from fit.search.trials import BEST, Trial, TrialFolder, trial_key
from fit.train import Data, Fit, Say
from store import FeatureStore
from store.errors import StoppedEarly, UsageError
from store.files.local import write_whole

METHODS = ("grid", "random", "one", "optuna")
CHOOSING = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss")
"""The metrics that a sweep can choose by."""

LOWER_IS_BETTER = ("log_loss",)
DEFAULT_TRIALS = 20


@dataclass(frozen=True)
class SweepOptions:
    """What to try and how: `tries` as `--try` gives them, `trials` how many where the method makes no list of its own."""

    tries: tuple[str, ...]
    method: str = "grid"
    trials: int | None = None
    metric: str = "accuracy"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise UsageError(f"--method is {self.method!r}: expected one of {', '.join(METHODS)}")
        if self.metric not in CHOOSING:
            raise UsageError(f"--metric is {self.metric!r}: expected one of {', '.join(CHOOSING)}")
        if self.trials is not None and self.method in ("grid", "one"):
            raise UsageError(f"--trials is not for --method {self.method}, which tries all that is named: leave it out")
        if self.trials is not None and self.trials < 1:
            raise UsageError(f"--trials is {self.trials}: expected 1 or more")


@dataclass(frozen=True)
class Sweep:
    """What came out.

    `trials` are the best first, those that the head refused at the end; `names` the parameters that they differ in.
    `best` is the folder of the chosen head, `metrics` what it was told.
    """

    metric: str
    names: tuple[str, ...]
    trials: tuple[Trial, ...]
    best: Path
    metrics: Mapping[str, Any]

    @property
    def chosen(self) -> Trial:
        """The best trial."""
        return self.trials[0]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "metric": self.metric,
            "trials": [trial.to_dict() for trial in self.trials],
            "chosen": dict(self.chosen.parameters),
            "best": str(self.best),
            "metrics": dict(self.metrics),
        }


def sweep_head(
    store: FeatureStore, options: FitOptions, wanted: SweepOptions, out: Path, say: Say = lambda _: None
) -> Sweep:
    """Try settings of a head, choose on validation, and leave the chosen head in `out`/best.

    Args:
        store: the features.
        options: as of `fit head`; `parameters` are the base settings.
        wanted: what to try.
        out: the sweep's folder.
        say: takes a line of text now and then.

    Raises:
        UsageError: a wrong option, no validation, another sweep's folder, or no trial that the head took.
        StoppedEarly: a signal came; the same call goes on.
    """
    if wanted.method == "optuna":
        require_optuna()
    runner = _Runner(store, options, wanted, say)
    folder = TrialFolder(out, runner.study())
    try:
        for parameters in runner.parameters_to_try(folder):
            folder.keep(runner.run_trial(parameters, folder))
        return runner.conclude(folder)
    except KeyboardInterrupt:
        raise StoppedEarly(
            f"stopped; trials done so far, {len(folder.trials):,}, are kept in {out}: run the same command again to go on"
        ) from None


class _Runner:
    """A sweep's request, resolved against the store, and the data, loaded once."""

    def __init__(self, store: FeatureStore, options: FitOptions, wanted: SweepOptions, say: Say) -> None:
        self.store = store
        self.options = options
        self.wanted = wanted
        self.say = say
        self.base = options.checked_parameters()
        self.space = parse_space(wanted.tries, options.kind)
        self.listed = self._list()
        self.fit = Fit(store, options, say)
        self.data: Data = self.fit.load()
        if len(self.data.split.validation) == 0:
            raise UsageError("there are no validation images to choose by: give --val a fraction above 0")

    def _list(self) -> list[Setting] | None:
        """The settings of methods that know them beforehand."""
        trials = self.wanted.trials or DEFAULT_TRIALS
        match self.wanted.method:
            case "grid":
                return grid(self.space)
            case "one":
                return one_at_a_time(self.space, self.base)
            case "random":
                return random_settings(self.space, trials, self.options.seed)
            case _:
                return None

    def study(self) -> dict[str, Any]:
        """What all trials of a folder have in common."""
        return {
            "format": "stillframe-sweep",
            "version": 1,
            "head": self.options.head,
            "fingerprint": self.store.fingerprint,
            "output": self.fit.output.name,
            "reduction": self.fit.reduction,
            "class_weight": self.options.class_weight,
            "seed": self.options.seed,
            "metric": self.wanted.metric,
            "split": _split_digest(self.data),
        }

    # Trials

    def parameters_to_try(self, folder: TrialFolder) -> Iterator[dict[str, Value]]:
        """All parameters of each trial that is still to be done; each is looked for once the one before it is kept."""
        if self.listed is None:
            yield from self._proposals(folder)
            return
        for number, setting in enumerate(self.listed, start=1):
            parameters = {**self.base, **setting}
            if trial_key(parameters) not in folder.trials:
                self.say(f"trial {number:,} of {len(self.listed):,}: {format_setting(setting)}")
                yield parameters

    def _proposals(self, folder: TrialFolder) -> Iterator[dict[str, Value]]:
        wanted = min(self.wanted.trials or DEFAULT_TRIALS, size(self.space))
        while len(done := self._within(folder)) < wanted:
            setting = propose(self.space, done, self.wanted.metric in LOWER_IS_BETTER, self.options.seed)
            self.say(f"trial {len(done) + 1:,} of {wanted:,}: {format_setting(setting)}")
            yield {**self.base, **setting}

    def _within(self, folder: TrialFolder) -> list[tuple[Setting, float | None]]:
        """The trials of the folder that belong to the space, as settings and scores."""
        names = {dimension.name for dimension in self.space}
        rest = {name: value for name, value in self.base.items() if name not in names}
        return [
            ({name: trial.parameters[name] for name in names}, self._score(trial))
            for trial in folder.trials.values()
            if rest.items() <= trial.parameters.items() and _all_within(self.space, trial.parameters)
        ]

    def _score(self, trial: Trial) -> float | None:
        return trial.scores[self.wanted.metric].value if trial.scores else None

    def run_trial(self, parameters: Mapping[str, Value], folder: TrialFolder) -> Trial:
        """Fit on train and score on validation; a head that refuses is a trial too."""
        split = self.data.split
        started = time.perf_counter()
        scores, refused = None, ""
        try:
            fit = Fit(self.store, replace(self.options, parameters=parameters), self.say)
            estimator = fit.fit_on(self.data, split.train, split.validation)
            predicted = self.data.predict(estimator, split.validation)
            measured = self.data.truth(self.options.seed).score(split.validation, predicted)
            scores = {name: getattr(measured, name) for name in METRICS}
        except UsageError as error:
            refused = str(error)
        return Trial(len(folder.trials), parameters, scores, round(time.perf_counter() - started, 3), refused)

    # The end

    def conclude(self, folder: TrialFolder) -> Sweep:
        """Choose, fit the chosen head if that is not done, and write table and picture."""
        trials = self._ranked(folder.trials.values())
        if trials[0].scores is None:
            raise UsageError(f"the head refused every trial, the first with: {trials[0].refused}")
        best = folder.root / BEST
        chosen_from = {
            "trials": len(trials),
            "refused": sum(trial.scores is None for trial in trials),
            "metric": self.wanted.metric,
        }
        metrics = self._chosen_head(best, trials[0], chosen_from)
        names = tuple(name for name in self.base if _differ(trials, name) or name in {d.name for d in self.space})
        sweep = Sweep(self.wanted.metric, names, tuple(trials), best, metrics)
        write_whole(folder.root / "sweep.csv", _as_csv(sweep))
        write_whole(folder.root / "sweep.png", to_png(self._figure(sweep)))
        return sweep

    def _ranked(self, trials: Iterable[Trial]) -> list[Trial]:
        """The best first, of equal ones the earlier; those that were refused at the end."""
        sign = 1 if self.wanted.metric in LOWER_IS_BETTER else -1

        def place(trial: Trial) -> tuple[bool, float, int]:
            score = self._score(trial)
            return score is None, sign * (score or 0.0), trial.number

        return sorted(trials, key=place)

    def _chosen_head(self, folder: Path, trial: Trial, chosen_from: Mapping[str, Any]) -> dict[str, Any]:
        """The metrics of the chosen head, which is fitted unless it stands there already."""
        if (folder / INFO).is_file():
            there = read_results(folder)
            if there.info.parameters == trial.parameters and there.metrics.get("chosen_from") == chosen_from:
                return there.metrics
        head: Head = Fit(self.store, replace(self.options, parameters=trial.parameters), self.say).fit(self.data)
        head.metrics["chosen_from"] = dict(chosen_from)
        head.save(folder, force=True)
        return head.metrics

    def _figure(self, sweep: Sweep) -> Figure:
        scored = [trial for trial in sweep.trials if trial.scores is not None]
        refused = len(sweep.trials) - len(scored)
        note = f"{len(sweep.trials):,} trials{f', {refused:,} refused' if refused else ''}"
        if self.wanted.method == "one" and self.listed is not None:
            base, *changed = (self._found(sweep, setting) for setting in self.listed)
            if base.scores is not None:
                changes = [
                    Change(format_setting(setting), trial.interval(sweep.metric), trial is sweep.chosen)
                    for setting, trial in zip(self.listed[1:], changed, strict=True)
                ]
                return draw_changes(base.scores[sweep.metric], changes, sweep.metric, note)
        names = [name for name in sweep.names if _differ(scored, name)] or list(sweep.names)
        values = {name: [trial.parameters[name] for trial in scored] for name in names}
        intervals = [trial.scores[sweep.metric] for trial in scored if trial.scores is not None]
        return draw_sweep(values, intervals, 0, sweep.metric, note)

    def _found(self, sweep: Sweep, setting: Setting) -> Trial:
        wanted = {**self.base, **setting}
        return next(trial for trial in sweep.trials if trial.parameters == wanted)


def _all_within(space: Sequence[Dimension], parameters: Mapping[str, Value]) -> bool:
    return all(parameters[dimension.name] in dimension for dimension in space)


def _differ(trials: Sequence[Trial], name: str) -> bool:
    return len({trial.parameters[name] for trial in trials}) > 1


def _split_digest(data: Data) -> str:
    """SHA-256 of which image of which content and label stands on which side."""
    digest = hashlib.sha256()
    columns = [data.rows[name].to_pylist() for name in ("path", "sha256", "label")]
    images = list(zip(*columns, strict=True))
    for name, rows in (("train", data.split.train), ("validation", data.split.validation), ("test", data.split.test)):
        for row in rows.tolist():
            digest.update(repr((name, *images[row])).encode())
    return digest.hexdigest()


def _as_csv(sweep: Sweep) -> bytes:
    """A line a trial: all parameters, all metrics with their intervals, seconds, why it was refused, which was chosen."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    bounds = [(metric, bound) for metric in METRICS for bound in ("value", "low", "high")]
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
