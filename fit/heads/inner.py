"""Inner folds, on which a head makes choices of its own, and the weights of rows in them."""

from collections.abc import Mapping

import numpy as np

from fit.arrays import Floats, Ints, Matrix
from fit.splits import SplitGroups, folds

ClassWeight = str | Mapping[int, float] | None
"""balanced, a weight for each class, or none."""


_LARGEST_KEY = 2**63


def inner_splits(y: Matrix, groups: Matrix | None, count: int, seed: int) -> list[tuple[Ints, Ints]]:
    """(train, test) positions of at most `count` folds: groups whole, every class in each training side.

    Rows of a class that has a single group are in every training side and in no test side, so that a rare class neither
    makes the folds fewer nor is missing from one; see `fit.splits.folds`. There are none if every class is so.

    Args:
        y: (rows,), classes.
        groups: (rows,), rows with the same number stay together; None for every row by itself.
        count: how many folds.
        seed: of their order.
    """
    if count < 2:
        return []
    every = np.arange(len(y))
    of_rows = every if groups is None else np.unique(groups, return_inverse=True)[1].astype(np.int64)
    strata = np.unique(y, return_inverse=True)[1].astype(np.int64)
    keys = np.random.default_rng(seed).integers(0, _LARGEST_KEY, int(of_rows.max()) + 1, np.uint64)
    parts = folds(every, strata, SplitGroups(of_rows, keys), count)
    return [(np.setdiff1d(every, test), test) for test in parts if len(test)]


def row_weights(y: Matrix, class_weight: ClassWeight) -> Floats:
    """(rows,): the weight of each row; balanced is rows / (classes * rows of the class), as scikit-learn has it."""
    if class_weight is None:
        return np.ones(len(y))
    classes, position, counts = np.unique(y, return_inverse=True, return_counts=True)
    if isinstance(class_weight, Mapping):
        return np.array([float(class_weight.get(value, 1.0)) for value in classes.tolist()])[position]
    weights: Floats = (len(y) / (len(classes) * counts))[position]
    return weights
