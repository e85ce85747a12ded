"""What a head that may abstain answers, and how good its answers are."""

from dataclasses import dataclass

from fit.arrays import Bools, Ints
from fit.metrics.estimates import share_of
from fit.metrics.intervals import Clusters, Interval, interval_of
from fit.metrics.scores import SHARE


@dataclass(frozen=True)
class Answered:
    """The answers of some rows.

    Attributes:
        rows: how many rows are answered.
        fraction: of all rows.
        accuracy: of the answered rows; undefined without any.
    """

    rows: int
    fraction: Interval
    accuracy: Interval

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {"rows": self.rows, "fraction": self.fraction.to_dict(), "accuracy": self.accuracy.to_dict()}


def score_answered(answered: Bools, right: Bools, groups: Ints) -> Answered:
    """Score the answers.

    Args:
        answered: (rows,), whether the row is answered.
        right: (rows,), whether what would be answered is right.
        groups: (rows,), the rows' split groups.
    """
    fraction = interval_of(share_of(answered), Clusters(len(answered), groups), SHARE)
    clusters = Clusters(int(answered.sum()), groups[answered])
    return Answered(clusters.rows, fraction, interval_of(share_of(right[answered]), clusters, SHARE))
