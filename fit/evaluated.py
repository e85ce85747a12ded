"""The images that a head was evaluated on, as its folder has them: labels, probabilities, and which are wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from fit.arrays import Bools, Floats, Ints
from fit.head_folder import Results
from fit.metrics.arrays import join_groups
from fit.metrics.intervals import NO_INTERVALS
from fit.metrics.regression import RegressionScores, score_numbers
from fit.metrics.scores import Scores, score
from fit.numeric_labels import parse_numbers
from fit.predictions import class_columns, split_group_column
from fit.task import Targets, Task


@dataclass(frozen=True)
class Evaluated:
    """Images with their labels and probabilities, one row each.

    Attributes:
        task: what is predicted.
        paths: (rows,).
        labels: (rows,), as text; several labels joined by `|`.
        targets: (rows,) or (rows, classes), see `Task.encode`.
        probabilities: (rows, classes).
        split_groups: (rows,), rows with the same number are of one group or identical; None in heads of 0.5.0.
    """

    task: Task
    paths: Sequence[str]
    labels: Sequence[str]
    targets: Targets
    probabilities: Floats
    split_groups: Ints | None = None

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def predicted(self) -> list[str]:
        """Each row's class, or its classes joined by `|`."""
        return self.task.names(self.probabilities)

    @property
    def right(self) -> Bools:
        """(rows,): whether exactly the row's class or labels are predicted."""
        return self.task.correct(self.targets, self.probabilities)

    @property
    def confidence(self) -> Floats:
        """(rows,): the probability of the predicted class; with several labels, of the most confident wrong decision."""
        if not self.task.multi_label:
            of_predicted: Floats = self.task.confidence(self.probabilities).astype(np.float64, copy=False)
            return of_predicted
        of_wrong: Floats = np.where(self.targets, 1 - self.probabilities, self.probabilities).max(axis=1)
        return of_wrong

    def decisions(self) -> tuple[Floats, Bools]:
        """(decisions,): the confidence of each and whether it is right; one per row, or one per row and label."""
        if not self.task.multi_label:
            return self.confidence, self.right
        decided = self.task.decide(self.probabilities)
        confidence = np.where(decided, self.probabilities, 1 - self.probabilities)
        return confidence.ravel(), (decided == self.targets).ravel()

    def score(self) -> Scores:
        """The scores, without intervals."""
        predicted = self.task.decide(self.probabilities)
        return score(self.targets, self.probabilities, self.task.classes, NO_INTERVALS, predicted)


@dataclass(frozen=True)
class EvaluatedNumbers:
    """Images with their numbers and predictions, one row each.

    Attributes:
        paths: (rows,).
        targets: (rows,).
        predicted: (rows,).
        split_groups: (rows,), rows with the same number are of one group or identical.
    """

    paths: Sequence[str]
    targets: Floats
    predicted: Floats
    split_groups: Ints | None

    def __len__(self) -> int:
        return len(self.paths)

    def score(self) -> RegressionScores:
        """The scores, without intervals."""
        return score_numbers(self.targets, self.predicted, NO_INTERVALS)


def evaluated_numbers(results: Results, split: str) -> EvaluatedNumbers:
    """The evaluated numbers of a regression, as `evaluated_rows` for classes."""
    rows = results.predictions.filter(pc.equal(results.predictions["split"], split))
    paths = rows["path"].to_pylist()
    targets = parse_numbers(rows["label"].to_pylist(), paths)
    return EvaluatedNumbers(paths, targets, rows["predicted"].to_numpy(), split_group_column(rows))


def evaluated_rows(results: Results, split: str) -> Evaluated:
    """The rows of predictions.parquet of one evaluation, maybe none; `split` is train, validation, test or cv."""
    rows = results.predictions.filter(pc.equal(results.predictions["split"], split))
    task = results.info.task
    targets = task.encode(rows["label"].to_pylist())
    probabilities = class_columns(rows, task.classes)
    return Evaluated(
        task, rows["path"].to_pylist(), task.texts(targets), targets, probabilities, split_group_column(rows)
    )


def shared_rows(first: Iterable[tuple[str, object]], second: Iterable[tuple[str, object]]) -> Ints:
    """(images, 2): for each image that both have, its row in the one and the other; images are (path, label)."""
    row_in_second = {image: row for row, image in enumerate(second)}
    pairs = [(row, row_in_second[image]) for row, image in enumerate(first) if image in row_in_second]
    return np.array(pairs, np.int64).reshape(-1, 2)


def shared_groups(first: Ints | None, second: Ints | None, rows: Ints) -> Ints | None:
    """(images,): images that are of one split group for either head have one number; None if neither knows any.

    Args:
        first: (rows,), the split groups of the one head's rows; None where it does not know them.
        second: likewise, of the other's.
        rows: what `shared_rows` found.
    """
    known = [groups[rows[:, side]] for side, groups in enumerate((first, second)) if groups is not None]
    return join_groups(known) if known else None
