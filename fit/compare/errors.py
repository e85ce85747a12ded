"""Heads that predict numbers side by side, as `fit.compare.heads` does it for classes: by the mean absolute error."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fit.arrays import Ints
from fit.compare.heads import require_different
from fit.compare.notes import on_differences, without_test
from fit.evaluated import EvaluatedNumbers, evaluated_numbers, shared_groups, shared_rows
from fit.head_folder import Results
from fit.metrics.intervals import Interval, Sampling
from fit.metrics.paired import holm
from fit.metrics.paired_errors import PairedErrors, compare_errors
from fit.metrics.regression import RegressionScores
from fit.report.comparisons import Compared, draw_comparison
from fit.splits import TEST, VALIDATION
from store.errors import UsageError
from store.files.names import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ComparedErrors:
    """One head in a comparison.

    Attributes:
        name: its folder.
        head: its kind.
        backbone: what its features were extracted with.
        validation: its scores on validation.
        test: its scores on test; None if it was not tested.
        paired: its mean absolute error less the best head's on the test images that both have; None if there are none,
            and for the best head itself.
        p_value: of `paired`, corrected for the number of heads that are compared with the best.
        shared: how many test images it has in common with the best head.
    """

    name: str
    head: str
    backbone: str
    validation: RegressionScores
    test: RegressionScores | None
    paired: PairedErrors | None
    p_value: float | None
    shared: int

    @property
    def difference(self) -> Interval | None:
        """The mean absolute error less the best head's."""
        return self.paired.difference if self.paired else None

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            **vars(self),
            "validation": self.validation.to_dict(),
            "test": self.test.to_dict() if self.test else None,
            "paired": self.paired.to_dict() if self.paired else None,
        }


@dataclass(frozen=True)
class ErrorComparison:
    """The heads in the order given, the position of the best, and notes on what limits the comparison."""

    heads: tuple[ComparedErrors, ...]
    best: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        heads = [head.to_dict() for head in self.heads]
        return {"heads": heads, "best": self.heads[self.best].name, "notes": list(self.notes)}


def compare_errors_of(heads: Sequence[Results]) -> ErrorComparison:
    """Compare heads that predict numbers.

    Raises:
        UsageError: fewer than two, one twice, one that predicts classes, or one without a validation.
    """
    require_different(heads)
    for head in heads:
        if not head.info.task.regression:
            raise UsageError(
                f"{printable(str(head.folder))} predicts classes, and another head a number: compare heads of one task"
            )
        if not head.metrics.get(VALIDATION):
            raise UsageError(
                f"{printable(str(head.folder))} has no validation, by which the best is chosen: fit it with --val above 0"
            )
    validations = [RegressionScores.from_dict(head.metrics[VALIDATION]) for head in heads]
    best = int(np.argmin([scores.mean_absolute_error.value or 0.0 for scores in validations]))
    tests = [evaluated_numbers(head, TEST) for head in heads]
    images = [list(zip(test.paths, test.targets.tolist(), strict=True)) for test in tests]
    shared = [shared_rows(each, images[best]) for each in images]
    paired = [
        _paired(test, tests[best], rows) if at != best and len(rows) else None
        for at, (test, rows) in enumerate(zip(tests, shared, strict=True))
    ]
    p_values = holm([found.p_value if found else None for found in paired])
    compared = tuple(
        ComparedErrors(
            name=str(head.folder),
            head=head.info.head,
            backbone=head.info.backbone,
            validation=validations[at],
            test=RegressionScores.from_dict(head.metrics[TEST]) if head.metrics[TEST] else None,
            paired=paired[at],
            p_value=p_values[at],
            shared=len(shared[at]),
        )
        for at, head in enumerate(heads)
    )
    return ErrorComparison(compared, best, tuple(_notes(compared, best)))


def _paired(test: EvaluatedNumbers, best: EvaluatedNumbers, rows: Ints) -> PairedErrors:
    sides = ((test, rows[:, 0]), (best, rows[:, 1]))
    errors = [np.abs(side.targets - side.predicted)[chosen] for side, chosen in sides]
    groups = shared_groups(test.split_groups, best.split_groups, rows)
    return compare_errors(errors[0], errors[1], Sampling(groups))


def _notes(compared: Sequence[ComparedErrors], best: int) -> list[str]:
    notes = [f"best by the mean absolute error on validation: {printable(compared[best].name)}"]
    notes += without_test([head.name for head in compared if head.test is None])
    return notes + on_differences(
        [head.difference for head in compared if head.difference],
        "a difference is that of the mean absolute errors on the same test images, below 0 if smaller than the best's",
    )


def error_figure(comparison: ErrorComparison) -> "Figure":
    """The comparison as a picture."""
    heads = [
        Compared(
            head.name,
            head.validation.mean_absolute_error,
            head.test.mean_absolute_error if head.test else None,
            head.difference,
        )
        for head in comparison.heads
    ]
    return draw_comparison(heads, comparison.heads[comparison.best].name, "mean absolute error")
