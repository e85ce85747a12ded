"""Metrics of a ranking of the rows by a class's probability: area under the ROC curve, average precision."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from fit.arrays import Bools, Floats, Ints
from fit.metrics.estimates import Estimate, Scale, undefined


@dataclass(frozen=True, eq=False)
class RankedRows:
    """Rows by ascending score.

    Attributes:
        order: (rows,), positions of the rows.
        tie: (rows,), in that order, the number of the run of equal scores that a row belongs to.
        positive: (rows,), in that order, whether the row is of the class.
    """

    order: Ints
    tie: Ints
    positive: Bools

    @classmethod
    def by_score(cls, scores: Floats, positive: Bools) -> Self:
        """Rank rows. `scores` and `positive` are (rows,)."""
        order = np.argsort(scores, kind="stable")
        ordered = scores[order]
        first = np.ones(len(ordered), bool)
        first[1:] = ordered[1:] != ordered[:-1]
        return cls(order, np.cumsum(first) - 1, positive[order])

    def roc_auc(self) -> Estimate:
        """The share of positive-negative pairs in the right order, a tie counting half.

        The influence is that of DeLong et al. 1988, Biometrics 44, 837; summed over the rows of a group it is that of
        Obuchowski 1997, Biometrics 53, 567.
        """
        positives, negatives = int(self.positive.sum()), int((~self.positive).sum())
        if not positives or not negatives:
            return undefined(len(self.order), _one_sided(positives))
        below = self._half_ties(~self.positive) / negatives
        above = 1 - self._half_ties(self.positive) / positives
        area = float(below[self.positive].mean())
        ordered = np.where(self.positive, (below - area) / positives, (above - area) / negatives)
        return Estimate(area, self._in_place(ordered), Scale.UNIT)

    def average_precision(self) -> Estimate:
        """The mean over the positives of the precision among the rows that are ranked as high or higher.

        It is the area under the curve of precision over recall, drawn in steps, as scikit-learn has it.
        """
        positives = int(self.positive.sum())
        if not positives or positives == len(self.order):
            return undefined(len(self.order), _one_sided(positives))
        of_tie = np.bincount(self.tie), np.bincount(self.tie, weights=self.positive)
        ranked, found = (np.cumsum(counts[::-1])[::-1] for counts in of_tie)
        precision = found / ranked
        value = float((of_tie[1] * precision).sum()) / positives
        # A row of weight w also changes the precision at every positive that is ranked as low or lower.
        lower = np.cumsum(of_tie[1] / ranked)[self.tie]
        weighted = np.cumsum(of_tie[1] * precision / ranked)[self.tie]
        own = self.positive * (precision[self.tie] - value)
        return Estimate(value, self._in_place((own + self.positive * lower - weighted) / positives), Scale.UNIT)

    def _half_ties(self, marked: Bools) -> Floats:
        """(rows,) in order: how many marked rows rank lower, those of equal score counting half."""
        per_tie = np.bincount(self.tie, weights=marked)
        return (np.cumsum(per_tie) - per_tie / 2)[self.tie]

    def _in_place(self, ordered: Floats) -> Floats:
        values = np.empty_like(ordered)
        values[self.order] = ordered
        return values


def _one_sided(positives: int) -> str:
    return "every image is of the class" if positives else "no image is of the class"
