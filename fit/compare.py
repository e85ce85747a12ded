"""Heads side by side: what each scored, and how far each is from the best on the test images that both have.

The best is chosen on validation. A test that chose among heads would no longer tell how good the chosen one is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from fit.evaluated import Evaluated, evaluated_rows
from fit.head import Results
from fit.metrics.scores import Interval, paired_difference
from fit.report.drawings import Compared, draw_comparison
from fit.splits import TEST, VALIDATION
from store.errors import UsageError
from store.files.names import printable


@dataclass(frozen=True)
class ComparedHead:
    """One head's line.

    `validation` and `test` are as metrics.json has them, or None. `difference` is its test accuracy less the best
    head's, on the `shared` images; None where there are none, and of the best itself.
    """

    name: str
    head: str
    backbone: str
    images: int
    validation: Mapping[str, Any] | None
    test: Mapping[str, Any] | None
    difference: Interval | None
    shared: int

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Comparison:
    """The heads in the order given, the position of the best, and what is to be known of how they were compared."""

    heads: tuple[ComparedHead, ...]
    best: int
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
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
    without = [printable(str(head.folder)) for head in heads if not head.metrics.get(VALIDATION)]
    if without:
        raise UsageError(
            f"{', '.join(without)} has no validation, by which the best is chosen: fit it with --val above 0"
        )
    best = int(np.argmax([head.metrics[VALIDATION]["accuracy"]["value"] for head in heads]))
    tests = [evaluated_rows(head, TEST) for head in heads]
    lines = tuple(_line(head, test, tests[best]) for head, test in zip(heads, tests, strict=True))
    return Comparison(lines, best, tuple(_notes(heads, tests, lines, best)))


def _require_same_classes(heads: Sequence[Results]) -> None:
    first = heads[0]
    for head in heads[1:]:
        if (head.info.classes, head.info.several) != (first.info.classes, first.info.several):
            strange = sorted(set(head.info.classes) ^ set(first.info.classes))
            shown = ", ".join(map(printable, strange[:3])) or "several labels an image"
            raise UsageError(
                f"{head.folder} and {first.folder} have other classes (only one of them has {shown}): "
                "compare heads of the same classes"
            )


def _line(head: Results, test: Evaluated, best: Evaluated) -> ComparedHead:
    pairs = _shared(test, best)
    own, others = pairs[:, 0], pairs[:, 1]
    differs = len(pairs) and test is not best
    return ComparedHead(
        name=str(head.folder),
        head=head.info.head,
        backbone=head.info.recipe.backbone,
        images=sum(head.metrics["rows"].values()),
        validation=head.metrics[VALIDATION],
        test=head.metrics[TEST],
        difference=paired_difference(test.right[own], best.right[others], head.info.seed) if differs else None,
        shared=len(pairs),
    )


def _shared(first: Evaluated, second: Evaluated) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """(images, 2): the row of each image that both have, under the same path and label."""
    places = {image: row for row, image in enumerate(zip(second.paths, second.labels, strict=True))}
    images = enumerate(zip(first.paths, first.labels, strict=True))
    pairs = [(row, places[image]) for row, image in images if image in places]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _notes(heads: Sequence[Results], tests: Sequence[Evaluated], lines: Sequence[ComparedHead], best: int) -> list[str]:
    name = printable(lines[best].name)
    notes = [f"best by validation accuracy: {name}; differences are paired, with 95 % intervals"]
    if len({frozenset(evaluated_rows(head, VALIDATION).paths) for head in heads}) > 1:
        notes.append("the heads were validated on different images: their validation accuracies compare only roughly")
    without = [printable(line.name) for line in lines if line.test is None]
    if without:
        notes.append(f"without a test: {', '.join(without)}")
    tested = [(line, test) for line, test in zip(lines, tests, strict=True) if len(test)]
    differing = [printable(line.name) for line, test in tested if line.shared < max(len(test), len(tests[best]))]
    if differing and len(tests[best]):
        notes.append(
            f"other test images than the best's: {', '.join(differing)}; the difference is on those that both have"
        )
    apart = [printable(line.name) for line, _ in tested if line.shared == 0]
    if apart:
        notes.append(f"no test image in common with the best: {', '.join(apart)}")
    return notes


def comparison_figure(comparison: Comparison) -> Figure:
    """The comparison as a picture."""
    heads = [
        Compared(head.name, _accuracy(head.validation), _accuracy(head.test), head.difference)
        for head in comparison.heads
    ]
    best = comparison.heads[comparison.best].name
    return draw_comparison(heads, best)


def _accuracy(scores: Mapping[str, Any] | None) -> Interval | None:
    return Interval(**scores["accuracy"]) if scores else None
