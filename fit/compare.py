"""Heads side by side: each head's scores, and its difference from the best on the test images that both have.

The best is chosen on validation: if the test set chose it, its test score would be too good.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fit.evaluated import Evaluated, evaluated_rows
from fit.head_folder import Results
from fit.metrics.arrays import Ints
from fit.metrics.intervals import Interval, Resampling, paired_difference
from fit.metrics.scores import Scores
from fit.report.comparisons import Compared, draw_comparison
from fit.splits import TEST, VALIDATION
from store.errors import UsageError
from store.files.names import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class ComparedHead:
    """One head in a comparison.

    Attributes:
        name: its folder.
        head: its kind, as `fit heads` lists them.
        backbone: what its features were extracted with.
        images: how many it was fitted, validated and tested on.
        validation: its scores on validation.
        test: its scores on test; None if it was not tested.
        difference: its test accuracy less the best head's on the shared images; None if there are none, and for the
            best head itself.
        shared: how many test images it has in common with the best head.
    """

    name: str
    head: str
    backbone: str
    images: int
    validation: Scores
    test: Scores | None
    difference: Interval | None
    shared: int

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            **vars(self),
            "validation": self.validation.to_dict(),
            "test": self.test.to_dict() if self.test else None,
            "difference": self.difference.to_dict() if self.difference else None,
        }


@dataclass(frozen=True)
class Comparison:
    """The heads in the order given, the position of the best, and notes on what limits the comparison."""

    heads: tuple[ComparedHead, ...]
    best: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "heads": [head.to_dict() for head in self.heads],
            "best": self.heads[self.best].name,
            "notes": list(self.notes),
        }


def compare_heads(heads: Sequence[Results]) -> Comparison:
    """Compare heads of the same classes.

    Raises:
        UsageError: fewer than two, other classes, or one without a validation: then nothing says which is best.
    """
    if len(heads) < 2:
        raise UsageError("a comparison needs two heads or more: name their folders")
    _require_same_classes(heads)
    _require_validation(heads)
    best = int(np.argmax([head.metrics[VALIDATION]["accuracy"]["value"] for head in heads]))
    tests = [evaluated_rows(head, TEST) for head in heads]
    compared = tuple(_compared_head(head, test, tests[best]) for head, test in zip(heads, tests, strict=True))
    return Comparison(compared, best, tuple(_notes(heads, tests, compared, best)))


def _require_same_classes(heads: Sequence[Results]) -> None:
    first = heads[0]
    for head in heads[1:]:
        if head.info.task != first.info.task:
            differing = sorted(set(head.info.classes) ^ set(first.info.classes))
            named = ", ".join(map(printable, differing[:3])) or "several labels per image"
            raise UsageError(
                f"{head.folder} and {first.folder} have other classes (only one of them has {named}): "
                "compare heads of the same classes"
            )


def _require_validation(heads: Sequence[Results]) -> None:
    without = [printable(str(head.folder)) for head in heads if not head.metrics.get(VALIDATION)]
    if without:
        raise UsageError(
            f"{', '.join(without)} has no validation, by which the best is chosen: fit it with --val above 0"
        )


def _compared_head(head: Results, test: Evaluated, best_test: Evaluated) -> ComparedHead:
    rows = _shared_rows(test, best_test)
    difference = None
    if len(rows) and test is not best_test:
        right, best_right = test.right[rows[:, 0]], best_test.right[rows[:, 1]]
        difference = paired_difference(right, best_right, Resampling(seed=head.info.seed))
    return ComparedHead(
        name=str(head.folder),
        head=head.info.head,
        backbone=head.info.recipe.backbone,
        images=sum(head.metrics["rows"].values()),
        validation=Scores.from_dict(head.metrics[VALIDATION]),
        test=Scores.from_dict(head.metrics[TEST]) if head.metrics[TEST] else None,
        difference=difference,
        shared=len(rows),
    )


def _shared_rows(first: Evaluated, second: Evaluated) -> Ints:
    """(images, 2): for each image that both have under the same path and label, its row in the one and the other."""
    row_in_second = {image: row for row, image in enumerate(zip(second.paths, second.labels, strict=True))}
    images = enumerate(zip(first.paths, first.labels, strict=True))
    pairs = [(row, row_in_second[image]) for row, image in images if image in row_in_second]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _notes(
    heads: Sequence[Results], tests: Sequence[Evaluated], compared: Sequence[ComparedHead], best: int
) -> list[str]:
    name = printable(compared[best].name)
    notes = [f"best by validation accuracy: {name}; differences are paired, with 95 % intervals"]
    if len({frozenset(evaluated_rows(head, VALIDATION).paths) for head in heads}) > 1:
        notes.append("the heads were validated on different images: their validation accuracies compare only roughly")
    return notes + _notes_on_tests(tests, compared, tests[best])


def _notes_on_tests(tests: Sequence[Evaluated], compared: Sequence[ComparedHead], best_test: Evaluated) -> list[str]:
    """Which heads have no test, other test images than the best head's, or none in common with it."""
    notes = []
    without = [printable(head.name) for head in compared if head.test is None]
    if without:
        notes.append(f"without a test: {', '.join(without)}")
    tested = [(head, test) for head, test in zip(compared, tests, strict=True) if len(test)]
    differing = [printable(head.name) for head, test in tested if head.shared < max(len(test), len(best_test))]
    if differing and len(best_test):
        notes.append(
            f"other test images than the best's: {', '.join(differing)}; the difference is on those that both have"
        )
    apart = [printable(head.name) for head, _ in tested if head.shared == 0]
    if apart:
        notes.append(f"no test image in common with the best: {', '.join(apart)}")
    return notes


def comparison_figure(comparison: Comparison) -> "Figure":
    """The comparison as a picture."""
    heads = [
        Compared(head.name, head.validation.accuracy, head.test.accuracy if head.test else None, head.difference)
        for head in comparison.heads
    ]
    best = comparison.heads[comparison.best].name
    return draw_comparison(heads, best)
