"""What can be asked of a sweep, checked: one frozen dataclass that the command line and Python fill alike."""

from dataclasses import dataclass
from typing import Annotated

from fit.choices import CHOOSING_METRICS, SWEEP_METHODS
from store.errors import UsageError
from store.options import Option

LOWER_IS_BETTER = ("log_loss",)
DEFAULT_TRIALS = 20


@dataclass(frozen=True)
class SweepOptions:
    """What a sweep tries, and how.

    Raises:
        UsageError: an unknown method or metric, or a number of trials that does not suit the method.
    """

    tries: Annotated[
        tuple[str, ...],
        Option(
            "A parameter and its values, or KEY=LOW..HIGH; repeatable. Values with commas: KEY=V1;V2.",
            ("--try",),
            metavar="KEY=V1,V2",
        ),
    ] = ()
    method: Annotated[str, Option("grid, random, one (one change at a time) or optuna (extra search).")] = "grid"
    trials: Annotated[int | None, Option("How many: random, optuna.", default=str(DEFAULT_TRIALS))] = None
    metric: Annotated[
        str,
        Option("The validation metric that chooses the best trial: accuracy, balanced_accuracy, macro_f1 or log_loss."),
    ] = "accuracy"

    def __post_init__(self) -> None:
        if self.method not in SWEEP_METHODS:
            raise UsageError(f"--method is {self.method!r}: expected one of {', '.join(SWEEP_METHODS)}")
        if self.metric not in CHOOSING_METRICS:
            raise UsageError(f"--metric is {self.metric!r}: expected one of {', '.join(CHOOSING_METRICS)}")
        if self.trials is not None and self.method in ("grid", "one"):
            raise UsageError(f"--trials is not for --method {self.method}, which tries every value given: leave it out")
        if self.trials is not None and self.trials < 1:
            raise UsageError(f"--trials is {self.trials}: expected 1 or more")

    @property
    def lower_is_better(self) -> bool:
        """Whether a lower value of the metric is better."""
        return self.metric in LOWER_IS_BETTER

    @property
    def most_trials(self) -> int:
        """How many trials to run where the method does not list its settings."""
        return self.trials or DEFAULT_TRIALS
