"""Heads side by side: each head's scores, and its difference from the best on the test images that both have.

The best is chosen on validation, or in cross-validation where no head has one: if the test set chose it, its test
score would be too good.
"""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from fit.arrays import Ints
from fit.compare.costs import Costs, cost_notes, describe_features, measure_costs, pareto_front
from fit.compare.notes import on_differences, without_test
from fit.evaluated import Evaluated, evaluated_rows, shared_groups, shared_rows
from fit.head_folder import Results
from fit.metrics.folds import FoldDifferences, compare_folds
from fit.metrics.intervals import Interval, Sampling
from fit.metrics.paired import PairedDifference, compare_accuracies, holm
from fit.metrics.scores import Scores
from fit.predictions import CV
from fit.report.comparisons import Compared, draw_comparison
from fit.splits import TEST, VALIDATION
from store.errors import UsageError
from store.files.names import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure


CHOOSING = {VALIDATION: "validation", CV: "cross-validated"}
"""What chooses the best, in words."""


@dataclass(frozen=True)
class ComparedHead:
    """One head in a comparison.

    Attributes:
        name: its folder.
        head: its kind, as `fit heads` lists them.
        backbone: what its features were extracted with.
        features: the same and all else that determines its features, by what it is in words.
        images: how many it was fitted, validated and tested on.
        costs: what its features and its fit cost.
        validation: its scores on validation; None if it has none.
        cv: its scores in cross-validation; None if it has none.
        test: its scores on test; None if it was not tested.
        paired: its test accuracy less the best head's on the shared images; None if there are none, and for the best
            head itself.
        p_value: of `paired`, corrected for the number of heads that are compared with the best.
        folds: its accuracy less the best head's in the folds of a cross-validation; None unless both have the same.
        folds_p_value: of `folds`, corrected likewise.
        shared: how many test images it has in common with the best head.
    """

    name: str
    head: str
    backbone: str
    features: Mapping[str, str]
    images: int
    costs: Costs
    validation: Scores | None
    cv: Scores | None
    test: Scores | None
    paired: PairedDifference | None
    p_value: float | None
    folds: FoldDifferences | None
    folds_p_value: float | None
    shared: int

    @property
    def difference(self) -> Interval | None:
        """The test accuracy less the best head's."""
        return self.paired.difference if self.paired else None

    def scores(self, evaluation: str) -> Scores | None:
        """Its scores on validation, cv or test."""
        return {VALIDATION: self.validation, CV: self.cv, TEST: self.test}[evaluation]

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            **vars(self),
            "features": dict(self.features),
            "costs": asdict(self.costs),
            **{name: found.to_dict() if (found := self.scores(name)) else None for name in (VALIDATION, CV, TEST)},
            "difference": self.difference.to_dict() if self.difference else None,
            "paired": self.paired.to_dict() if self.paired else None,
            "folds": self.folds.to_dict() if self.folds else None,
        }


@dataclass(frozen=True)
class Comparison:
    """Heads side by side.

    Attributes:
        heads: in the order given.
        best: the position of the best.
        chosen_by: the evaluation by whose accuracy it was chosen: validation, or cv.
        measured: the evaluation whose accuracy is set against the costs: test if all have it, else cv, else validation.
        cost: what is set against it, a field of `Costs`: seconds per image where all heads have them, else bytes.
        front: the positions of the heads that no other head beats in both, by rising cost; empty if no cost is known.
        notes: what limits the comparison.
    """

    heads: tuple[ComparedHead, ...]
    best: int
    chosen_by: str
    measured: str
    cost: str
    front: tuple[int, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "heads": [head.to_dict() for head in self.heads],
            "best": self.heads[self.best].name,
            "chosen_by": self.chosen_by,
            "measured": self.measured,
            "cost": self.cost,
            "front": [self.heads[at].name for at in self.front],
            "notes": list(self.notes),
        }


def compare_heads(heads: Sequence[Results]) -> Comparison:
    """Compare heads of the same classes.

    Raises:
        UsageError: fewer than two, one twice, other classes, or nothing that says which is best: no validation, and no
            cross-validation of all.
    """
    require_different(heads)
    _require_same_classes(heads)
    chosen_by = _chosen_by(heads)
    best = int(np.argmax([head.metrics[chosen_by]["accuracy"]["value"] for head in heads]))
    tests = [evaluated_rows(head, TEST) for head in heads]
    images = [list(zip(test.paths, test.labels, strict=True)) for test in tests]
    shared = [shared_rows(each, images[best]) for each in images]
    paired = [_paired(test, tests[best], rows) for test, rows in zip(tests, shared, strict=True)]
    folds = [None if head is heads[best] else _compare_folds(head, heads[best]) for head in heads]
    p_values = holm([found.p_value if found else None for found in paired])
    folds_p_values = holm([found.p_value if found else None for found in folds])
    compared = tuple(
        ComparedHead(
            name=str(head.folder),
            head=head.info.head,
            backbone=head.info.backbone,
            features=describe_features(head.info),
            images=sum(head.metrics["rows"].values()),
            costs=measure_costs(head),
            validation=_scores(head, VALIDATION),
            cv=_scores(head, CV),
            test=_scores(head, TEST),
            paired=paired[at],
            p_value=p_values[at],
            folds=folds[at],
            folds_p_value=folds_p_values[at],
            shared=len(shared[at]),
        )
        for at, head in enumerate(heads)
    )
    measured = next((name for name in (TEST, CV) if all(head.scores(name) for head in compared)), chosen_by)
    cost, front = _front(compared, measured)
    return Comparison(compared, best, chosen_by, measured, cost, front, tuple(_notes(heads, tests, compared, best)))


def _scores(head: Results, evaluation: str) -> Scores | None:
    return Scores.from_dict(head.metrics[evaluation]) if head.metrics.get(evaluation) else None


def _front(heads: Sequence[ComparedHead], measured: str) -> tuple[str, tuple[int, ...]]:
    """By which cost, and which heads no other beats in both this and the accuracy."""
    accuracies = [scores.accuracy.value if (scores := head.scores(measured)) else None for head in heads]
    seconds = [head.costs.seconds_per_image for head in heads]
    if None not in seconds:
        return "seconds_per_image", pareto_front(seconds, accuracies)
    return "bytes_per_image", pareto_front([head.costs.bytes_per_image for head in heads], accuracies)


def require_different(heads: Sequence[Results]) -> None:
    """Raise UsageError for fewer than two heads, or for one that is named twice."""
    if len(heads) < 2:
        raise UsageError("a comparison needs two heads or more: name their folders")
    (folder, times), *_ = Counter(os.path.realpath(head.folder) for head in heads).most_common(1)
    if times > 1:
        raise UsageError(f"{printable(folder)} is named {times} times: name each head once")


def _require_same_classes(heads: Sequence[Results]) -> None:
    first = heads[0]
    for head in heads[1:]:
        if (head.info.classes, head.info.multi_label) != (first.info.classes, first.info.multi_label):
            differing = sorted(set(head.info.classes) ^ set(first.info.classes))
            named = ", ".join(map(printable, differing[:3])) or "several labels per image"
            raise UsageError(
                f"{head.folder} and {first.folder} have other classes (only one of them has {named}): "
                "compare heads of the same classes"
            )


def _chosen_by(heads: Sequence[Results]) -> str:
    """The evaluation by which the best is chosen: validation, or cross-validation where each head has one.

    Raises:
        UsageError: neither is there for all heads.
    """
    for evaluation in (VALIDATION, CV):
        if all(head.metrics.get(evaluation) for head in heads):
            return evaluation
    without = [printable(str(head.folder)) for head in heads if not head.metrics.get(VALIDATION)]
    raise UsageError(
        f"{', '.join(without)} has no validation, by which the best is chosen: fit it with --val above 0, or all heads "
        "with --cv 5"
    )


def _paired(test: Evaluated, best_test: Evaluated, rows: Ints) -> PairedDifference | None:
    """Compare a head with the best on these pairs of rows; None if there are none, or for the best itself."""
    if test is best_test or not len(rows):
        return None
    groups = shared_groups(test.split_groups, best_test.split_groups, rows)
    return compare_accuracies(test.right[rows[:, 0]], best_test.right[rows[:, 1]], Sampling(groups))


def _compare_folds(head: Results, best: Results) -> FoldDifferences | None:
    """Compare a head with the best in cross-validation; None unless both predicted the same images in the same folds."""
    folds, best_folds = head.metrics.get("cv_folds"), best.metrics.get("cv_folds")
    if head.info.seed != best.info.seed or not folds or not best_folds:
        return None
    rows, best_rows = evaluated_rows(head, CV), evaluated_rows(best, CV)
    if sorted(zip(rows.paths, rows.labels, strict=True)) != sorted(zip(best_rows.paths, best_rows.labels, strict=True)):
        return None
    return compare_folds(folds, best_folds)


def _notes(
    heads: Sequence[Results], tests: Sequence[Evaluated], compared: Sequence[ComparedHead], best: int
) -> list[str]:
    name, chosen_by = printable(compared[best].name), _chosen_by(heads)
    notes = [f"best by {CHOOSING[chosen_by]} accuracy: {name}"]
    if chosen_by == VALIDATION and len({frozenset(evaluated_rows(head, VALIDATION).paths) for head in heads}) > 1:
        notes.append("the heads were validated on different images: their validation accuracies compare only roughly")
    if chosen := [printable(str(head.folder)) for head in heads if head.info.decision.thresholds]:
        notes.append(
            f"thresholds were chosen on validation, whose accuracy is optimistic therefore: {', '.join(chosen)}"
        )
    others = [*_notes_on_tests(tests, compared, tests[best]), *_notes_on_differences(tests, compared)]
    return [*notes, *others, *cost_notes([head.costs for head in compared])]


def _notes_on_differences(tests: Sequence[Evaluated], compared: Sequence[ComparedHead]) -> list[str]:
    """What the intervals and p-values say, why some are missing, and what they do not know."""
    differences = [head.difference for head in compared if head.difference]
    notes = on_differences(
        differences,
        "a difference is on the same test images: its 95 % interval holds the differences that these images allow",
    )
    ungrouped = [printable(head.name) for head, test in zip(compared, tests, strict=True) if test.split_groups is None]
    if ungrouped and differences:
        notes.append(
            f"{', '.join(ungrouped)} of an earlier version did not note which images are of one group: where no other "
            "head says so, every image counts by itself"
        )
    if folds := [head.folds for head in compared if head.folds]:
        notes.append(
            f"differences in cross-validation are means over {folds[0].folds} folds, with the corrected resampled t-test "
            "(Nadeau and Bengio 2003)"
        )
    return notes


def _notes_on_tests(tests: Sequence[Evaluated], compared: Sequence[ComparedHead], best_test: Evaluated) -> list[str]:
    """Which heads have no test, other test images than the best head's, or none in common with it."""
    notes = without_test([head.name for head in compared if head.test is None])
    tested = [(head, test) for head, test in zip(compared, tests, strict=True) if len(test)]
    differing = [printable(head.name) for head, test in tested if head.shared < max(len(test), len(best_test))]
    if differing and len(best_test):
        notes.append(
            f"other test images than the best's: {', '.join(differing)}; the difference is on those that both have"
        )
    apart = [printable(head.name) for head, _ in tested if head.shared == 0]
    if apart and len(best_test):
        notes.append(f"no test image in common with the best: {', '.join(apart)}")
    return notes


def comparison_figure(comparison: Comparison) -> "Figure":
    """The comparison as a picture."""
    heads = [
        Compared(head.name, scores.accuracy, head.test.accuracy if head.test else None, head.difference)
        for head in comparison.heads
        if (scores := head.scores(comparison.chosen_by))
    ]
    best = comparison.heads[comparison.best].name
    return draw_comparison(heads, best)
