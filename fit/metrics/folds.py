"""Two heads in the folds of the same repeated cross-validation: the corrected resampled t-test."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from fit.arrays import Floats
from fit.metrics.intervals import Interval, without_interval


@dataclass(frozen=True)
class FoldDifferences:
    """The differences of two heads in the folds of a repeated cross-validation.

    Attributes:
        difference: the mean with its interval.
        p_value: of the corrected resampled t-test.
        folds: how many, of all repeats.
    """

    difference: Interval
    p_value: float
    folds: int

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**vars(self), "difference": self.difference.to_dict()}


def corrected_resampled_test(differences: Floats, test_share: float) -> FoldDifferences:
    """The corrected resampled t-test (Nadeau and Bengio 2003, Machine Learning 52, 239, equation 9).

    The heads of two folds learn from nearly the same images, so the differences of the folds are alike, and their
    variance alone is too small; the correction adds the share of images that a fold is evaluated on per image that it
    learns from.

    Args:
        differences: (folds,), of all repeats: the one head's score less the other's in each fold; two or more.
        test_share: images evaluated in a fold per image learned from, such as 1 / 9 for ten folds.

    Raises:
        ValueError: there are fewer than two folds.
    """
    count = len(differences)
    if count < 2:
        raise ValueError(f"expected the differences of two folds or more, got {count}")
    mean = float(differences.mean())
    variance = float(differences.var(ddof=1)) * (1 / count + test_share)
    if variance == 0:
        reason = "the difference is the same in every fold: nothing shows how much it varies"
        return FoldDifferences(without_interval(mean, reason), 1.0 if mean == 0 else 0.0, count)
    error = float(np.sqrt(variance))
    reach = float(stdtrit(count - 1, 0.975)) * error
    p_value = float(2 * stdtr(count - 1, -abs(mean) / error))
    return FoldDifferences(Interval(mean, mean - reach, mean + reach), p_value, count)


def compare_folds(
    first: Sequence[Mapping[str, float]], second: Sequence[Mapping[str, float]], metric: str = "accuracy"
) -> FoldDifferences | None:
    """Compare two heads by what metrics.json has of the folds, `cv_folds`.

    Args:
        first: of each fold of the one head: `repeat`, `fold`, how many images it `learned` from and was `evaluated` on,
            and its scores.
        second: of the other.
        metric: the name of a score.

    Returns:
        None unless both have the same folds, two or more.
    """
    described = [
        [(fold["repeat"], fold["fold"], fold["learned"], fold["evaluated"]) for fold in folds]
        for folds in (first, second)
    ]
    if len(first) < 2 or described[0] != described[1]:
        return None
    differences = np.array([one[metric] - other[metric] for one, other in zip(first, second, strict=True)])
    share = sum(fold["evaluated"] for fold in first) / sum(fold["learned"] for fold in first)
    return corrected_resampled_test(differences, share)
