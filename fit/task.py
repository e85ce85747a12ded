"""What a head predicts: its classes, the targets of rows, and how probabilities become decisions.

Everything that differs between one class per image, several labels per image and a number per image is here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt

from fit.arrays import AnyFloats, Bools, Floats, Ints
from fit.numeric_labels import number_text, parse_numbers, quantile_strata
from store.errors import UsageError
from store.files.names import printable
from store.labels import SEPARATOR, plain_label, split_labels
from store.schema import Range, read_fields

DECISION = 0.5
"""The probability from which on a label is predicted, where an image may have several."""

Probabilities = AnyFloats
"""(rows, classes); of a regression the predicted numbers, (rows, 1)."""

Targets = Ints | Bools | Floats
"""int64 (rows,), positions in the classes; bool (rows, classes) where rows may have several labels; float64 (rows,) of a
regression."""

_SHOWN = 3


def is_multi_label(targets: npt.NDArray[np.generic]) -> bool:
    """Whether targets are those of rows that may have several labels."""
    return targets.ndim == 2


@dataclass(frozen=True)
class Decision:
    """How probabilities become predictions, where that is not the most probable class, or each label of 0.5 or more.

    Attributes:
        rule: as --threshold names it; "" for the default.
        positive: of two classes, the one that is predicted from its threshold on; "" without.
        thresholds: that of the positive class alone, or one per label; none without.
        costs: (classes, classes), what it costs if an image of a class (row) is predicted to be of a class (column):
            the class with the least expected cost is predicted; none without.
        abstain: nothing is predicted where the predicted class has a smaller probability.
    """

    rule: str = ""
    positive: str = ""
    thresholds: Annotated[tuple[float, ...], Range(0, 1)] = ()
    costs: tuple[tuple[float, ...], ...] = ()
    abstain: Annotated[float, Range(0, 1)] = 0.0

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values, without what is at its default."""
        values = {**asdict(self), "thresholds": list(self.thresholds), "costs": [list(row) for row in self.costs]}
        return {name: value for name, value in values.items() if value}

    @classmethod
    def from_dict(cls, values: Mapping[str, object], within: str = "") -> Self:
        """The decision that `to_dict` described; `within` comes before a field's name in messages.

        Raises:
            InvalidField: a field is not what it has to be.
        """
        found = read_fields(cls, values, within=within)
        return replace(found, costs=tuple(map(tuple, found.costs)))


DEFAULT_DECISION = Decision()


def decide(probabilities: Probabilities, multi_label: bool) -> Targets:
    """What is predicted: (rows,) the most probable class; or (rows, classes) whether the label has 0.5 or more."""
    if multi_label:
        labels: Bools = probabilities >= DECISION
        return labels
    highest: Ints = probabilities.argmax(axis=1)
    return highest


@dataclass(frozen=True)
class Task:
    """What a head predicts: one class of many, any number of labels per image, or a number.

    Attributes:
        classes: their names, sorted; none of a regression.
        multi_label: whether an image may have several labels.
        decision: how probabilities become predictions.
    """

    classes: tuple[str, ...]
    multi_label: bool
    decision: Decision = DEFAULT_DECISION

    @property
    def regression(self) -> bool:
        """Whether a number is predicted."""
        return not self.classes

    @property
    def outputs(self) -> int:
        """How many numbers a head gives for a row: one per class, or one."""
        return max(len(self.classes), 1)

    def encode(self, texts: Sequence[str | None], paths: Sequence[str] = ()) -> Targets:
        """Targets of rows with these labels; spaces around a label do not count, nor how its accents are encoded.

        Args:
            texts: the labels.
            paths: each row's image, for messages.

        Raises:
            UsageError: a label is missing or is not one of the classes, or there are several where one is expected; or
                it is not a number.
        """
        if self.regression:
            return parse_numbers(texts, paths)
        known = {plain_label(name): name for name in self.classes}
        split = [_split_labels(text) for text in texts]
        names = [tuple(known.get(name, name) for name in row) for row in split]
        if not self.multi_label and (labels := next((row for row in names if len(row) > 1), None)):
            raise UsageError(f"the label {SEPARATOR.join(labels)!r} names several classes: the head predicts one class")
        unknown = sorted({name for row in names for name in row} - set(self.classes))
        if unknown:
            raise UsageError(
                f"the head does not know the {'class' if len(unknown) == 1 else 'classes'} {first_names(unknown)}: it was "
                f"fitted on {first_names(self.classes)}; fit another head on these labels"
            )
        without = sum(not row for row in names)
        if without:
            raise UsageError(
                f"{without:,} of {len(texts):,} images have no label: label them with --labels FILE (path,label)"
            )
        return self.targets(names)

    def targets(self, names: Sequence[Sequence[str]]) -> Targets:
        """Targets of rows that have these classes."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        if not self.multi_label:
            return np.array([numbers[row[0]] for row in names], np.int64)
        targets = np.zeros((len(names), len(self.classes)), bool)
        for number, row in enumerate(names):
            targets[number, [numbers[name] for name in row]] = True
        return targets

    def membership(self, targets: Targets) -> Bools:
        """(rows, classes): whether each row has each class; no columns of a regression."""
        if self.regression:
            return np.empty((len(targets), 0), bool)
        return targets.astype(bool) if self.multi_label else np.eye(len(self.classes), dtype=bool)[targets]

    def position_of(self, name: str) -> int | None:
        """The position of a class, named as labels may be: see `encode`; None if there is no such class."""
        if name in self.classes:
            return self.classes.index(name)
        return {plain_label(known): at for at, known in enumerate(self.classes)}.get(plain_label(name))

    def class_counts(self, targets: Targets) -> Ints:
        """(classes,): how many rows have each class."""
        counts: Ints = self.membership(targets).sum(axis=0)
        return counts

    def strata(self, targets: Targets, different: int | None = None) -> Ints:
        """(rows,): the class by which splits distribute a row; of several labels the rarest, of numbers the quantile.

        `different` is how many split groups the rows are of, see `fit.numeric_labels.quantile_strata`.
        """
        if self.regression:
            return quantile_strata(targets.astype(np.float64), different)
        if not self.multi_label:
            return targets.astype(np.int64, copy=False)
        counts = targets.sum(axis=0)
        rarest: Ints = np.where(targets, counts, len(targets) + 1).argmin(axis=1)
        return rarest

    def decide(self, probabilities: Probabilities) -> Targets:
        """What is predicted from probabilities (rows, classes), encoded as targets are; see `answers` too."""
        rule = self.decision
        if self.regression:
            numbers: Floats = probabilities[:, 0].astype(np.float64)
            return numbers
        if rule.costs:
            cheapest: Ints = (probabilities @ np.array(rule.costs)).argmin(axis=1)
            return cheapest
        if rule.thresholds and self.multi_label:
            labels: Bools = probabilities >= np.array(rule.thresholds)
            return labels
        if rule.thresholds:
            positive = self.classes.index(rule.positive)
            return np.where(probabilities[:, positive] >= rule.thresholds[0], positive, 1 - positive)
        return decide(probabilities, self.multi_label)

    def confidence(self, probabilities: Probabilities) -> Probabilities:
        """(rows,): the probability of the predicted class; of several labels, the highest one."""
        if self.multi_label:
            highest: Probabilities = probabilities.max(axis=1)
            return highest
        of_predicted: Probabilities = probabilities[np.arange(len(probabilities)), self.decide(probabilities)]
        return of_predicted

    def answers(self, probabilities: Probabilities) -> Bools:
        """(rows,): whether the head predicts anything, rather than abstain."""
        if not self.decision.abstain:
            return np.ones(len(probabilities), bool)
        confident: Bools = self.confidence(probabilities) >= self.decision.abstain
        return confident

    def names(self, probabilities: Probabilities) -> list[str]:
        """Each row's predicted class; with several labels, their names joined by `|`."""
        return self.texts(self.decide(probabilities))

    def texts(self, targets: Targets) -> list[str]:
        """Each row's class, or its number; with several labels, their names joined by `|`: the inverse of `encode`."""
        if self.regression:
            return [number_text(value) for value in targets.tolist()]
        if not self.multi_label:
            return [self.classes[number] for number in targets.tolist()]
        return [SEPARATOR.join(name for name, has in zip(self.classes, row, strict=True) if has) for row in targets]

    def correct(self, targets: Targets, probabilities: Probabilities) -> Bools:
        """(rows,): whether exactly the row's class or labels are predicted."""
        same: Bools = np.equal(self.decide(probabilities), targets)
        whole_rows: Bools = np.all(same, axis=1) if self.multi_label else same
        return whole_rows


REGRESSION = Task((), multi_label=False)
"""The task of predicting a number."""


def find_numbers(texts: Sequence[str | None], paths: Sequence[str]) -> tuple[Task, Targets]:
    """The targets of a regression on rows with these labels; see `find_task`.

    Raises:
        UsageError: a label is not a number, or all are the same.
    """
    if not any(texts):
        _require_labels([_split_labels(text) for text in texts], paths)
    targets = parse_numbers(texts, paths)
    if len(np.unique(targets)) < 2:
        raise UsageError(
            f"all {len(targets):,} images have the number {number_text(targets[0])}: nothing is to be learned"
        )
    return REGRESSION, targets


def find_task(texts: Sequence[str | None], paths: Sequence[str]) -> tuple[Task, Targets]:
    """The task that rows with these labels pose, and their targets.

    Args:
        texts: each row's label, or its labels joined by `|`.
        paths: each row's image, for messages.

    Raises:
        UsageError: labels are missing, there is one class only, or a class has a single row.
    """
    names = [_split_labels(text) for text in texts]
    _require_labels(names, paths)
    counts = Counter(name for row in names for name in row)
    _require_classes(counts, len(texts))
    task = Task(tuple(sorted(counts)), multi_label=any(len(row) > 1 for row in names))
    return task, task.targets(names)


def _require_labels(names: Sequence[tuple[str, ...]], paths: Sequence[str]) -> None:
    missing = [path for row, path in zip(names, paths, strict=True) if not row]
    if len(missing) == len(names):
        raise UsageError(
            "no image has a label: put the images into one folder per class and extract again (nothing is computed "
            "again where paths stay the same), or give a table with --labels FILE (path,label)"
        )
    if missing:
        raise UsageError(
            f"{len(missing):,} of {len(names):,} images have no label ({first_names(missing)}): label them, or leave "
            "them out with a table of the others, --labels FILE (path,label)"
        )


def _require_classes(counts: Counter[str], rows: int) -> None:
    if len(counts) < 2:
        raise UsageError(f"all {rows:,} images have the label {next(iter(counts))!r}: a head needs two classes or more")
    single = sorted(name for name, count in counts.items() if count == 1)
    if single:
        raise UsageError(
            f"{'the class' if len(single) == 1 else 'the classes'} {first_names(single)} "
            f"{'has' if len(single) == 1 else 'have'} a single image: a class needs two or more, one to learn from and "
            "one to test on; add images, or merge or leave out the class with --labels FILE"
        )


def _split_labels(text: str | None) -> tuple[str, ...]:
    return tuple(sorted(split_labels(text or "")))


def first_names(names: Sequence[str], most: int = _SHOWN) -> str:
    """The first of some names, as a message has them."""
    shown = ", ".join(map(printable, names[:most]))
    return f"{shown}, …" if len(names) > most else shown
