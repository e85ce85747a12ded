"""How a head comes to decide otherwise than by the highest probability: from the options of a fit and its validation images."""

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter
from fit.experiment import Experiment
from fit.options import FitOptions
from fit.splits import Positions
from fit.task import DECISION, Decision, Task, first_names
from fit.threshold_rule import COST, RECALL, ThresholdRule
from fit.thresholds import choose_threshold, read_costs
from store.errors import UsageError
from store.files.names import printable


def require_decidable(options: FitOptions, experiment: Experiment) -> None:
    """Raise UsageError unless what --threshold, --positive and --abstain ask for is possible for these images."""
    task = experiment.task
    if options.abstain is not None and task.multi_label:
        raise UsageError(
            "--abstain is for one class per image; of several labels each has a threshold: use --threshold"
        )
    if options.positive is not None and (task.multi_label or task.position_of(options.positive) is None):
        known = (
            "each label has a threshold of its own"
            if task.multi_label
            else f"choose one of {first_names(task.classes)}"
        )
        raise UsageError(f"--positive {printable(options.positive)}: {known}")
    if options.threshold is None:
        return
    rule = ThresholdRule.parse(options.threshold)
    if rule.name == COST:
        if task.multi_label:
            raise UsageError("--threshold cost=FILE is for one class per image: use accuracy, f1 or recall=R")
        read_costs(rule.file, task.classes)
        return
    if not task.multi_label and len(task.classes) > 2:
        raise UsageError(
            f"--threshold {options.threshold} is for two classes, or for images with several labels: "
            f"for {len(task.classes)} classes say what errors cost, with --threshold cost=FILE"
        )
    if not len(experiment.split.validation):
        raise UsageError("--threshold is chosen on validation images, and there are none: ask for some with --val 0.2")
    if rule.name == RECALL:
        missing = [
            task.classes[at] for at in _thresholded(task, options, experiment) if not _marks(experiment)[:, at].any()
        ]
        if missing:
            raise UsageError(
                f"--threshold {options.threshold} needs validation images of {first_names(missing)}, and there are none: "
                "add some, raise --val, or use --threshold f1"
            )


def choose_decision(
    options: FitOptions, experiment: Experiment, probabilities: npt.NDArray[np.float64], reporter: Reporter = SILENT
) -> Decision:
    """How the head is to decide.

    Args:
        options: checked by `require_decidable`.
        experiment: whose validation images choose thresholds.
        probabilities: (validation images, classes), of the head that learned from train.
        reporter: labels whose threshold cannot be chosen are reported.

    Raises:
        UsageError: the table of costs cannot be read any more.
    """
    abstain = options.abstain or 0.0
    if options.threshold is None:
        return Decision(abstain=abstain)
    task, rule = experiment.task, ThresholdRule.parse(options.threshold)
    if rule.name == COST:
        return Decision(options.threshold, costs=read_costs(rule.file, task.classes), abstain=abstain)
    marks, thresholds, unchosen = _marks(experiment), [], []
    numbers = _thresholded(task, options, experiment)
    for at in numbers:
        if rule.name != RECALL and len(np.unique(marks[:, at])) < 2:
            unchosen.append(task.classes[at])
            thresholds.append(DECISION)
        else:
            thresholds.append(choose_threshold(rule, probabilities[:, at], marks[:, at]))
    if unchosen:
        reporter.message(
            f"note: all validation images are of {first_names(unchosen)}, or none is: the threshold there stays {DECISION}"
        )
    positive = "" if task.multi_label else task.classes[numbers[0]]
    return Decision(options.threshold, positive, tuple(thresholds), abstain=abstain)


def _thresholded(task: Task, options: FitOptions, experiment: Experiment) -> Positions:
    """The classes that get a threshold: every label; of two classes the positive one, by default the rarer in train."""
    if task.multi_label:
        return np.arange(len(task.classes))
    positive = None if options.positive is None else task.position_of(options.positive)
    if positive is not None:
        return np.array([positive])
    first, second = task.class_counts(experiment.images.targets[experiment.split.train]).tolist()
    return np.array([0 if first < second else 1])


def _marks(experiment: Experiment) -> npt.NDArray[np.bool_]:
    """(validation images, classes): whether each has the class."""
    return experiment.task.membership(experiment.images.targets[experiment.split.validation])
