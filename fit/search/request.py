"""A sweep's options, looked up in a store, with the experiment that all trials share."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from extract.api import Reporter
from fit.choices import LOWER_IS_BETTER
from fit.experiment import Experiment, load_experiment
from fit.heads.custom import source_digest
from fit.heads.parameters import Value
from fit.options import FitOptions
from fit.request import FitRequest, resolve_fit
from fit.search.options import SweepOptions
from fit.search.space import Dimension, Setting, grid, one_at_a_time, parse_space, random_settings
from fit.splits import TEST, TRAIN, VALIDATION
from store.errors import UsageError
from store.reader import FeatureStore


@dataclass(frozen=True)
class SweepRequest:
    """What a sweep fits and tries.

    Attributes:
        fit: the fit with the base settings, before any change.
        options: what to try, as the user gave it.
        space: the parameters to change, and their values.
        settings: the changes to try, in order; None if each is proposed from the trials before it.
        metric: what the best is chosen by, on validation.
        experiment: the rows that all trials use.
        source: the digest of a custom head's code, or "".
    """

    fit: FitRequest
    options: SweepOptions
    space: tuple[Dimension, ...]
    settings: Sequence[Setting] | None
    metric: str
    experiment: Experiment
    source: str = ""

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value of the metric is better."""
        return self.metric in LOWER_IS_BETTER

    def parameters(self, setting: Setting) -> dict[str, Value]:
        """All parameters of the head: the base settings with a change."""
        return {**self.fit.parameters, **setting}

    def study(self) -> Mapping[str, object]:
        """What all trials of a folder have in common, as plain JSON values."""
        return {
            "format": "stillframe-sweep",
            "version": 1,
            "head": self.fit.options.head,
            "fingerprint": self.fit.fingerprint,
            "output": " + ".join(block.output.name for block in self.fit.stored),
            "reduction": " + ".join(block.reduction for block in self.fit.stored),
            "class_weight": self.fit.options.class_weight,
            "stop": self.fit.options.stop,
            "seed": self.fit.options.seed,
            "metric": self.metric,
            "split": _split_digest(self.experiment),
        }


def resolve_sweep(
    store: FeatureStore | Sequence[FeatureStore], fit_options: FitOptions, options: SweepOptions, reporter: Reporter
) -> SweepRequest:
    """Check a sweep's options and load its rows.

    Raises:
        UsageError: a wrong option, or no validation images.
        StoppedEarly: the store is not complete.
    """
    metric = options.metric_of(fit_options.task)
    fit = resolve_fit(store, fit_options)
    space = parse_space(options.tries, fit.kind)
    settings = _listed_settings(options, space, fit)
    experiment = load_experiment(fit, reporter)
    if len(experiment.split.validation) == 0:
        raise UsageError("there are no validation images to choose by: give --val a fraction above 0")
    source = source_digest(fit_options.head, fit_options.custom_head)
    return SweepRequest(fit, options, space, settings, metric, experiment, source)


def _listed_settings(options: SweepOptions, space: Sequence[Dimension], fit: FitRequest) -> list[Setting] | None:
    """The settings to try; None for methods that propose each from the trials before it."""
    match options.method:
        case "grid":
            return grid(space)
        case "one":
            return one_at_a_time(space, fit.parameters)
        case "random":
            return random_settings(space, options.most_trials, fit.options.seed)
        case _:
            return None


def _split_digest(experiment: Experiment) -> str:
    """SHA-256 of each image's part of the split, path, content and label."""
    digest = hashlib.sha256()
    rows, split = experiment.images.rows, experiment.split
    images = list(zip(*(rows.texts(name) for name in ("path", "sha256", "label")), strict=True))
    for name, positions in ((TRAIN, split.train), (VALIDATION, split.validation), (TEST, split.test)):
        for position in positions.tolist():
            digest.update(repr((name, *images[position])).encode())
    return digest.hexdigest()
