"""Two heads on the same images: the difference of their accuracies, with its interval and a test.

Only images that one head has right and the other wrong say anything about the difference. Where images are
independent, their numbers have the exact test of McNemar 1947 (Psychometrika 12, 153) and the score interval of Tango
1998 (Statistics in Medicine 17, 891). Where images come in groups, the sum of each group counts: the test is that of
Durkalski et al. 2003 (Statistics in Medicine 22, 2417) with a t distribution, and the interval is Tango's of the
numbers divided by the factor by which the groups enlarge the variance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr, stdtr

from fit.arrays import Bools, Floats
from fit.metrics.arrays import require_same_rows
from fit.metrics.estimates import mean_of
from fit.metrics.intervals import (
    NORMAL,
    ROW_BY_ROW,
    Clusters,
    Interval,
    Requirement,
    Sampling,
    Spread,
    measure_spread,
    too_few_groups,
    without_interval,
)

REQUIREMENT = Requirement(images=20, groups=10)
"""The images and groups that a difference needs for an interval."""

LEAST_DISCORDANT = 5
"""Images, or groups, in which one head is right and the other wrong: fewer allow no interval."""

_BISECTIONS = 60


@dataclass(frozen=True)
class PairedDifference:
    """The accuracy of a head less that of another on the same images.

    Attributes:
        difference: with its interval.
        first_only: how many images the head alone has right.
        second_only: how many the other alone has right.
        groups: how many split groups the images are of.
        p_value: how probable a difference as large as this would be if the heads were equally good; None where the
            groups are too few.
        test: which test that is.
    """

    difference: Interval
    first_only: int
    second_only: int
    groups: int
    p_value: float | None
    test: str

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**vars(self), "difference": self.difference.to_dict()}


def compare_accuracies(first: Bools, second: Bools, sampling: Sampling = ROW_BY_ROW) -> PairedDifference:
    """Compare the predictions of two heads for the same rows.

    Args:
        first: (rows,), whether the one prediction is right; one row or more.
        second: (rows,), whether the other is.
        sampling: the rows' split groups.

    Raises:
        ValueError: the shapes differ, or there is no row.
    """
    require_same_rows(first, second)
    clusters = Clusters(len(first), sampling.groups)
    counts = _Counts(float((first & ~second).sum()), float((~first & second).sum()), float(len(first)))
    gains = first.astype(np.float64) - second
    only, count = (int(counts.first), int(counts.second)), clusters.count
    if clusters.independent:
        p_value = exact_mcnemar(*only)
        return PairedDifference(_independent_interval(counts, clusters), *only, count, p_value, "exact McNemar")
    difference, clustered_p = _clustered(gains, counts, clusters)
    return PairedDifference(difference, *only, count, clustered_p, f"McNemar over {count:,} groups")


@dataclass(frozen=True)
class _Counts:
    """How many rows the first head alone has right, the second alone, and all."""

    first: float
    second: float
    rows: float

    @property
    def difference(self) -> float:
        return (self.first - self.second) / self.rows

    @property
    def variance(self) -> float:
        """The variance of the difference, if rows are independent."""
        return (self.first + self.second - (self.first - self.second) ** 2 / self.rows) / self.rows**2

    def divided(self, factor: float) -> "_Counts":
        return _Counts(self.first / factor, self.second / factor, self.rows / factor)


def exact_mcnemar(first_only: float, second_only: float) -> float:
    """The probability of numbers as unequal as these if each of the images could as well be the other head's."""
    total = first_only + second_only
    return float(min(1.0, 2 * bdtr(min(first_only, second_only), int(total), 0.5))) if total else 1.0


def _independent_interval(counts: _Counts, clusters: Clusters) -> Interval:
    if reason := clusters.too_few(REQUIREMENT):
        return without_interval(counts.difference, reason)
    discordant = int(counts.first + counts.second)
    if discordant < LEAST_DISCORDANT:
        return without_interval(
            counts.difference,
            f"{'' if discordant == 0 else 'only '}{discordant} of {int(counts.rows):,} images are right for one head "
            f"and wrong for the other: too few for an interval ({LEAST_DISCORDANT} or more)",
        )
    return tango_interval(counts.first, counts.second, counts.rows)


def _clustered(gains: Floats, counts: _Counts, clusters: Clusters) -> tuple[Interval, float | None]:
    value = counts.difference
    if reason := too_few_groups(clusters, REQUIREMENT):
        return without_interval(value, reason), None
    discordant = int((clusters.sums(np.abs(gains)) > 0).sum())
    spread = measure_spread(mean_of(gains).influence, clusters)
    p_value = _clustered_p_value(clusters.sums(gains), spread)
    if discordant < LEAST_DISCORDANT:
        reason = (
            f"{'' if discordant == 0 else 'only '}{discordant} of {clusters.count:,} groups have an image that is right "
            f"for one head and wrong for the other: too few for an interval ({LEAST_DISCORDANT} or more)"
        )
        return without_interval(value, reason), p_value
    enlarged = spread.variance / counts.variance * (spread.quantile / NORMAL) ** 2 if counts.variance else 1.0
    scaled = counts.divided(max(enlarged, 1.0))
    return tango_interval(scaled.first, scaled.second, scaled.rows), p_value


def _clustered_p_value(sums: Floats, spread: Spread) -> float:
    squares = float((sums**2).sum())
    if squares == 0:
        return 1.0
    statistic = abs(float(sums.sum())) / np.sqrt(squares)
    return float(2 * stdtr(spread.freedom, -statistic))


def tango_interval(first_only: float, second_only: float, rows: float) -> Interval:
    """The difference of two paired shares with the differences that a score test at 5 % does not reject.

    Args:
        first_only: how many rows only the first has right.
        second_only: how many rows only the second has right.
        rows: the number of rows; none of the three needs to be whole.
    """
    value = (first_only - second_only) / rows

    def score(difference: float) -> float:
        """How many standard errors the value is above `difference`, if that were true."""
        linear = (2 * rows - first_only + second_only) * difference - first_only - second_only
        root = np.sqrt(max(linear**2 + 8 * rows * second_only * difference * (1 - difference), 0.0))
        other = (root - linear) / (4 * rows)  # the likeliest share of rows that only the second has right
        variance = rows * (2 * other + difference * (1 - difference))
        away = rows * (value - difference)
        return float(away / np.sqrt(variance)) if variance > 0 else float(np.sign(away) * np.inf)

    def end(outermost: float, sign: int) -> float:
        """The difference nearest to `outermost` that is not rejected."""
        outside, inside = outermost, value
        for _ in range(_BISECTIONS):
            middle = (outside + inside) / 2
            if sign * score(middle) > NORMAL:
                outside = middle
            else:
                inside = middle
        return inside

    return Interval(value, end(-1.0, 1), end(1.0, -1))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values of several tests, corrected for their number; None stays None.

    The smallest is multiplied by the number of tests, the next by one less, and so on, and none is smaller than the one
    before (Holm 1979, Scandinavian Journal of Statistics 6, 65).
    """
    known = sorted((value, at) for at, value in enumerate(p_values) if value is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for place, (value, at) in enumerate(known):
        largest = max(largest, min(1.0, value * (len(known) - place)))
        corrected[at] = largest
    return corrected
