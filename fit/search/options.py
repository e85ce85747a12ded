"""What can be asked of a sweep, checked: one frozen dataclass that the command line and Python fill alike."""

from dataclasses import dataclass
from typing import Annotated

from fit.choices import CHOOSING_METRICS, CLASSIFICATION, REGRESSION, SWEEP_METHODS
from store.errors import UsageError
from store.options import Option

DEFAULT_TRIALS = 20


@dataclass(frozen=True)
class SweepOptions:
    """What a sweep tries, and how.

    Raises:
        UsageError: an unknown method, or a number of trials that does not suit the method.
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
        str | None,
        Option(
            f"The validation metric that chooses the best trial: {', '.join(CHOOSING_METRICS[CLASSIFICATION])}; of a "
            f"regression: {', '.join(CHOOSING_METRICS[REGRESSION])}.",
            default="the first of these",
        ),
    ] = None

    def __post_init__(self) -> None:
        if self.method not in SWEEP_METHODS:
            raise UsageError(f"--method is {self.method!r}: expected one of {', '.join(SWEEP_METHODS)}")
        if self.trials is not None and self.method in ("grid", "one"):
            raise UsageError(f"--trials is not for --method {self.method}, which tries every value given: leave it out")
        if self.trials is not None and self.trials < 1:
            raise UsageError(f"--trials is {self.trials}: expected 1 or more")

    def metric_of(self, task: str) -> str:
        """The metric that chooses where the task is classification or regression.

        Raises:
            UsageError: the task does not have it.
        """
        known = CHOOSING_METRICS[task]
        if self.metric is not None and self.metric not in known:
            raise UsageError(f"--metric is {self.metric!r}: for --task {task} expected one of {', '.join(known)}")
        return self.metric or known[0]

    @property
    def most_trials(self) -> int:
        """How many trials to run where the method does not list its settings."""
        return self.trials or DEFAULT_TRIALS
