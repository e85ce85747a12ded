"""The rules that --threshold can name."""

import math
from dataclasses import dataclass
from typing import Self

from store.errors import UsageError

ACCURACY, F1, RECALL, COST = "accuracy", "f1", "recall", "cost"


@dataclass(frozen=True)
class ThresholdRule:
    """What thresholds are chosen by.

    Attributes:
        name: accuracy, f1, recall or cost.
        recall: the least one, of `recall`.
        file: the table, of `cost`.
    """

    name: str
    recall: float = 0.0
    file: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The rule that `accuracy`, `f1`, `recall=R` or `cost=FILE` describes.

        Raises:
            UsageError: it is another text, or R is not above 0 and at most 1.
        """
        name, equals, value = text.partition("=")
        if name in (ACCURACY, F1) and not equals:
            return cls(name)
        if name == COST and value:
            return cls(name, file=value)
        if name == RECALL and value:
            return cls(name, recall=_recall(value, text))
        raise UsageError(f"--threshold {text}: expected accuracy, f1, recall=R (as in recall=0.95) or cost=FILE")


def _recall(value: str, text: str) -> float:
    try:
        recall = float(value)
    except ValueError:
        recall = math.nan
    if not 0 < recall <= 1:
        raise UsageError(f"--threshold {text}: expected a recall above 0 and at most 1, as in recall=0.95")
    return recall
