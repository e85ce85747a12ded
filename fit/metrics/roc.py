"""The area under the ROC curve, of weighted rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from fit.metrics.arrays import Bools, Floats, Ints, mean_of_known, ratio

ROC_CELLS = 2 * 10**9
LEAST_ROC_RESAMPLES = 100
"""The area sorts rows by every class, so it has fewer resamples where resamples x rows x classes passes ROC_CELLS."""


@dataclass(frozen=True)
class RankedRows:
    """Rows by ascending score.

    Attributes:
        order: (rows,), positions of the rows.
        starts: (different scores,), where in that order each run of equal scores begins.
        positive: (rows,), in that order, whether the row is of the class.
    """

    order: Ints
    starts: Ints
    positive: Bools

    @classmethod
    def by_score(cls, scores: Floats, positive: Bools) -> Self:
        """Rank rows. `scores` and `positive` are (rows,)."""
        order = np.argsort(scores, kind="stable")
        ordered = scores[order]
        starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        return cls(order, starts, positive[order])

    def area(self, weights: Ints) -> Floats:
        """The area (resamples,): the share of positive-negative pairs in the right order, a tie counting half.

        Args:
            weights: (resamples, rows).
        """
        ordered = weights[:, self.order].astype(np.float64)
        positives = np.add.reduceat(ordered * self.positive, self.starts, axis=1)
        negatives = np.add.reduceat(ordered * ~self.positive, self.starts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        return ratio((positives * (below + negatives / 2)).sum(axis=1), pairs)


def mean_area(ranked: Sequence[RankedRows], weights: Ints) -> Floats:
    """The mean area over classes, (resamples,), leaving out classes for which it is undefined."""
    if not ranked:
        return undefined_areas(weights)
    return mean_of_known(np.stack([ranks.area(weights) for ranks in ranked], axis=-1))


def undefined_areas(weights: Ints) -> Floats:
    """NaN for each resample: an area that was not computed."""
    return np.full(len(weights), np.nan)


def resamples_for_area(rows: int, classes: int) -> int:
    """How many resamples the area's interval takes at most."""
    return max(LEAST_ROC_RESAMPLES, ROC_CELLS // max(1, rows * classes))
