"""How a threshold is chosen from the probabilities of images whose class is known, and the table of costs."""

import math
import os
from collections.abc import Sequence

import numpy as np

from extract.api import read_csv_rows
from fit.arrays import Bools, Floats
from fit.task import DECISION
from fit.threshold_rule import ACCURACY, RECALL, ThresholdRule
from store.errors import UsageError
from store.files.names import printable
from store.labels import plain_label


def choose_threshold(rule: ThresholdRule, probabilities: Floats, marks: Bools) -> float:
    """The threshold from which on a class is predicted, that suits these rows best.

    Of `recall` it is the highest one with at least that recall; of accuracy and F1 the best one, which lies half way
    between two probabilities, and of equally good ones the nearest to 0.5.

    Args:
        rule: accuracy, f1 or recall.
        probabilities: (rows,), of the class.
        marks: (rows,), whether the row is of the class; some are, and for accuracy and F1 some are not.
    """
    if rule.name == RECALL:
        of_class = -np.sort(-probabilities[marks])
        needed = math.ceil(rule.recall * len(of_class) - 1e-9)  # 0.95 * 20 is 19, whatever its last bit
        return float(of_class[needed - 1])
    thresholds, found, predicted = _cuts(probabilities, marks)
    wrong = predicted - found + marks.sum() - found
    quality = -wrong if rule.name == ACCURACY else 2 * found / np.maximum(predicted + marks.sum(), 1)
    best = np.flatnonzero(quality == quality.max())
    return float(thresholds[best[np.abs(thresholds[best] - DECISION).argmin()]])


def _cuts(probabilities: Floats, marks: Bools) -> tuple[Floats, Floats, Floats]:
    """Every decision that a threshold can make: the threshold, how many marked rows it finds, and how many it predicts."""
    values, place = np.unique(-probabilities, return_inverse=True)
    values = -values  # descending
    found = np.concatenate([[0], np.bincount(place, weights=marks, minlength=len(values)).cumsum()])
    predicted = np.concatenate([[0], np.bincount(place, minlength=len(values)).cumsum()])
    upper, lower = np.concatenate([[1.0], values]), np.concatenate([values, [0.0]])
    # All thresholds in (lower, upper] decide alike. Above a probability of 1 there are none.
    has_default = (lower < DECISION) & (upper >= DECISION)
    middle = np.where(has_default, DECISION, (upper + lower) / 2)
    thresholds = np.where(middle > lower, middle, upper)  # the middle of two neighboring numbers is one of them
    first = int(values[0] >= 1)
    return thresholds[first:], found[first:], predicted[first:]


def read_costs(path: str | os.PathLike[str], classes: Sequence[str]) -> tuple[tuple[float, ...], ...]:
    """The table of costs in a CSV file: its first row names the predicted classes, its first column the actual ones.

    It is read as tables of labels are: commas, semicolons or tabs, UTF-8 or UTF-16.

    Args:
        path: the file.
        classes: the names, in the order of the result.

    Returns:
        (classes, classes), actual x predicted.

    Raises:
        UsageError: there is no such table, its classes are others, or a cost is not a finite number.
        EnvironmentFailure: it cannot be read now.
    """
    known = {plain_label(name): name for name in classes}

    def named(cells: Sequence[str]) -> list[str]:
        return [known.get(name, name) for name in map(plain_label, cells)]

    rows = read_csv_rows(os.fspath(path), lambda header: sorted(named(header[1:])) == sorted(classes))
    expected = f"expected a first row `actual,{printable(','.join(classes))}` and one row per class"
    if not rows or any(len(row) != len(rows[0]) for row in rows):
        raise UsageError(f"{path}: the rows have different lengths, or there are none: {expected}")
    predicted, actual = named(rows[0][1:]), named([row[0] for row in rows[1:]])
    for names in (predicted, actual):
        if sorted(names) != sorted(classes):
            raise UsageError(f"{path} has costs of {printable(', '.join(names)) or 'nothing'}: {expected}")
    costs = [[_cost(cell, row[0], path) for cell in row[1:]] for row in rows[1:]]
    return tuple(tuple(costs[actual.index(one)][predicted.index(other)] for other in classes) for one in classes)


def _cost(cell: str, actual: str, path: str | os.PathLike[str]) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(
            f"{path} has the cost {printable(cell)!r} in the row of {printable(actual)}: expected a number, as in 2.5"
        )
    return value
