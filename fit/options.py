"""What can be asked of a fit, checked: one frozen dataclass that the command line and Python fill alike."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from fit.data import REDUCTIONS, WHOLE
from fit.heads.build import find_kind
from fit.heads.table import DEFAULT_HEAD, HEADS, HeadKind, Value, heads_with
from store.errors import UsageError

CLASS_WEIGHTS = ("none", "balanced")
SHORTCUTS = ("epochs", "batch_size", "learning_rate", "optimizer")
"""Parameters that have an option of their own."""


@dataclass(frozen=True)
class FitOptions:
    """The options of `fit head`. `parameters` are the head's own; `reduction` None is the head's own way.

    `own` is the function of a head of one's own, where Python gives it; the command line names it module:function.
    """

    head: str = DEFAULT_HEAD
    output: str | None = None
    reduction: str | None = None
    labels: str | os.PathLike[str] | None = None
    validation: float = 0.2
    test: float = 0.2
    cv: int = 0
    group_by: str | None = None
    class_weight: str = "none"
    seed: int = 0
    parameters: Mapping[str, Value] = field(default_factory=dict)
    tensorboard: str | None = None
    own: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        if self.reduction is not None and self.reduction not in REDUCTIONS:
            raise UsageError(f"--reduce is {self.reduction!r}: expected one of {', '.join(REDUCTIONS)}")
        if self.class_weight not in CLASS_WEIGHTS:
            raise UsageError(f"--class-weight is {self.class_weight!r}: expected one of {', '.join(CLASS_WEIGHTS)}")
        for name, value in (("--val", self.validation), ("--test", self.test)):
            if not 0 <= value < 1:
                raise UsageError(f"{name} is {value}: expected a fraction from 0 to below 1")
        if self.validation + self.test >= 1:
            raise UsageError(f"--val {self.validation} and --test {self.test} leave nothing to train on: lower them")
        if self.cv < 0 or self.cv == 1:
            raise UsageError(f"--cv is {self.cv}: expected 2 folds or more")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}: expected 0 or more")

    @property
    def kind(self) -> HeadKind:
        """The head asked for."""
        return find_kind(self.head, self.own)

    def checked_parameters(self) -> dict[str, Value]:
        """All of the head's parameters.

        Raises:
            UsageError: one that it does not have, or that cannot be; or an option that it has no use for.
        """
        kind = self.kind
        known = {parameter.name for parameter in kind.parameters}
        for name in SHORTCUTS:
            if name in self.parameters and name not in known:
                raise UsageError(
                    f"--{name.replace('_', '-')} is not for the head {kind.name}, but for {', '.join(heads_with(name))}"
                )
        if self.class_weight != "none" and not kind.weighted:
            raise UsageError(f"--class-weight is not for the head {kind.name}, which has no weights: leave it out")
        if self.tensorboard is not None and kind.library == "scikit-learn":
            fitted_by_keras = [other.name for other in HEADS.values() if other.library == "keras"]
            raise UsageError(
                f"--tensorboard is not for the head {kind.name}, but for those that Keras fits: {', '.join(fitted_by_keras)}"
            )
        values = kind.complete(self.parameters)
        for name in (
            "epochs",
            "batch_size",
            "patience",
            "ratio",
            "steps",
            "rounds",
            "trees",
            "neighbors",
            "inner_folds",
        ):
            if name in values and float(values[name]) < 1:
                raise UsageError(f"{name} is {values[name]}: expected 1 or more")
        return values

    def reduction_for(self, spatial: bool) -> str:
        """How features become what the head takes.

        Raises:
            UsageError: the head takes tensors and the features are vectors, or are to be made vectors.
        """
        if not self.kind.spatial:
            if self.kind.library == "own" and self.reduction is None:
                return WHOLE
            return self.reduction or "avg"
        if not spatial:
            raise UsageError(
                f"the head {self.head} takes spatial tensors and these features are vectors: "
                "extract with --pooling none, or use --head dense"
            )
        if self.reduction is not None:
            raise UsageError(f"--reduce is not for the head {self.head}, which takes tensors as they are: leave it out")
        return WHOLE
