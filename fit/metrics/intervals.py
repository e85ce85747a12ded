"""95 % intervals of metrics, where their coverage was measured to be near 95 % (`benchmarks/coverage.py`), and the
reason where there is none.

Images that come from one group (a patient, a site, copies of one image) resemble each other, so the unit that is
counted is the split group: its rows' influences are summed first (see `fit.metrics.estimates`). A sum of a group is
divided by 1 - (the group's share of the rows), which makes the variance of a share that of the jackknife that leaves
out a group at a time.

- A share of independent images has Wilson's interval (1927, Journal of the American Statistical Association 22, 209).
- A share of images in groups, and every other metric between two bounds, has Wilson's interval with the number of
  images that would have the same variance, as Korn and Graubard 1998 (Survey Methodology 24, 193) do for surveys, and
  with a t quantile in place of the normal one. Its degrees of freedom follow Satterthwaite: fewer where groups are of
  unequal size or where few of them make up the variance.
- A rank correlation, and R2, have a t interval of Fisher's transformation, or of the logarithm of what is not explained,
  with the same degrees of freedom.
- A mean loss has a studentized bootstrap interval of its logarithm (Efron and Tibshirani 1993, An Introduction to the
  Bootstrap, section 12.5): losses are so skewed that a t interval misses too often.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import stdtrit

from fit.arrays import Bools, Floats, Ints
from fit.metrics.estimates import Estimate, Scale

LEAST_MIXED_GROUPS, LARGE_GROUP = 6, 20
"""Of groups of more than 20 images, 6 must have an image that is wrong, and 6 one that is right."""

LEAST_EFFECTIVE_GROUPS = 4.0
"""As good as this number of groups of equal size: fewer where one group has most of the images."""

NORMAL = 1.959963984540054
"""The quantile of the normal distribution for 95 %."""

_TAIL = 0.975
_RESAMPLES = 999
_MOST_RESAMPLED_GROUPS = 1000  # of more groups, the bootstrap's distribution is that of t
_LEAST_CONTRIBUTING = 1.5
_FEW_TOGETHER = 1.5
_NO_VARIATION = "every image gives the same: nothing shows how much it varies"
_ROUNDING = 1e-9  # a metric that varies less, relative to itself, does so by rounding alone


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % interval; None where undefined.

    Attributes:
        value: None if the rows do not have one.
        low: the interval's lower end; None without an interval.
        high: the upper end.
        reason: why there is no value or no interval; "" otherwise.
    """

    value: float | None
    low: float | None
    high: float | None
    reason: str = ""

    def to_dict(self) -> dict[str, float | str | None]:
        """As plain JSON values: `{value, low, high}`, and `reason` where there is one."""
        values: dict[str, float | str | None] = {"value": self.value, "low": self.low, "high": self.high}
        return {**values, "reason": self.reason} if self.reason else values


@dataclass(frozen=True, eq=False)
class Sampling:
    """How rows were sampled, which intervals depend on.

    Attributes:
        groups: (rows,), rows with the same number belong together; None if every row is by itself.
        intervals: False for values alone.
    """

    groups: Ints | None = None
    intervals: bool = True


ROW_BY_ROW = Sampling()
NO_INTERVALS = Sampling(intervals=False)


@dataclass(frozen=True)
class Requirement:
    """What a metric needs for an interval, by simulation.

    Attributes:
        images: how many images, of independent ones.
        groups: how many split groups, of images that come in groups.
        per_class: how many split groups of each class that occurs.
        errors: how many independent images would have to be wrong for the metric to be as uncertain as it is.
    """

    images: int
    groups: int
    per_class: int = 0
    errors: float = 0.0


class Clusters:
    """The split groups of some rows.

    Args:
        rows: how many.
        groups: (rows,), the group of each; None if every row is by itself.

    Raises:
        ValueError: there is not one group per row.
    """

    def __init__(self, rows: int, groups: Ints | None) -> None:
        if groups is not None and len(groups) != rows:
            raise ValueError(f"{len(groups)} groups for {rows} rows: expected one number per row")
        self.rows = rows
        self.of_rows = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
        self.sizes = np.bincount(self.of_rows).astype(np.float64)

    @property
    def count(self) -> int:
        """The number of groups."""
        return len(self.sizes)

    @property
    def independent(self) -> bool:
        """Whether every row is a group by itself."""
        return self.count == self.rows

    @property
    def effective(self) -> float:
        """The number of groups of equal size that would have the same variance."""
        return float(self.rows**2 / (self.sizes**2).sum())

    def sums(self, values: Floats | Bools) -> Floats:
        """(groups,): the sum of the rows' values (rows,) in each group."""
        return np.bincount(self.of_rows, weights=values, minlength=self.count).astype(np.float64)

    def of_class(self, marks: Bools) -> int:
        """The number of groups with a row that is marked in `marks` (rows,)."""
        return len(np.unique(self.of_rows[marks]))

    def described(self) -> str:
        """The number of rows, and of groups where they have several."""
        images = f"{self.rows:,} image{'' if self.rows == 1 else 's'}"
        return images if self.independent else f"{images} in {self.count:,} group{'' if self.count == 1 else 's'}"

    def too_few(self, requirement: Requirement) -> str:
        """Why there is no interval if there are fewer groups, or images, than it needs; "" if there are enough."""
        alone = self.rows < _FEW_TOGETHER * self.effective  # but for some identical images, say
        least, of = (requirement.images, "") if alone else (requirement.groups, " groups")
        if self.count < least:
            return f"{self.described()}: too few{of} for an interval ({least} or more)"
        if self.rows < requirement.images:
            return f"{self.described()}: too few images for an interval ({requirement.images} or more)"
        return ""


@lru_cache(maxsize=4)
def draw_resamples(groups: int) -> Floats:
    """(resamples, groups): how often each group is drawn; the same numbers for the same number of groups."""
    drawn = np.random.default_rng(0).integers(0, groups, (_RESAMPLES, groups))
    drawn += np.arange(_RESAMPLES)[:, None] * groups
    counts = np.bincount(drawn.ravel(), minlength=_RESAMPLES * groups)
    return counts.reshape(_RESAMPLES, groups).astype(np.float64)


@dataclass(frozen=True)
class Spread:
    """How much a metric varies between groups.

    Attributes:
        variance: of the metric.
        freedom: the degrees of freedom of its t quantile.
    """

    variance: float
    freedom: float

    @property
    def quantile(self) -> float:
        """The quantile of the t distribution for an interval of 95 %."""
        return float(stdtrit(self.freedom, _TAIL))


def measure_spread(influence: Floats, clusters: Clusters) -> Spread:
    """The variance of a metric from its rows' influences (rows,), with two groups or more."""
    count = clusters.count
    sums = clusters.sums(influence) / (1 - clusters.sizes / clusters.rows)
    squares = sums**2
    total = float(squares.sum())
    if total == 0:
        return Spread(0.0, count - 1)
    kurtosis = count * float((squares**2).sum()) / total**2
    freedom = min(clusters.effective - 1, 2 * count / max(kurtosis - 1, 1e-9))
    return Spread((count - 1) / count * total, max(freedom, 1.0))


def interval_of(estimate: Estimate, clusters: Clusters, requirement: Requirement) -> Interval:
    """A metric with its interval, or with the reason why there is none.

    Args:
        estimate: the metric.
        clusters: the split groups of its rows.
        requirement: what the metric needs.
    """
    if not estimate.defined:
        return value_alone(estimate)
    if estimate.scale is Scale.SHARE:
        return _share_interval(estimate, clusters, requirement)
    if reason := too_few_groups(clusters, requirement):
        return without_interval(estimate.value, reason)
    if estimate.scale is Scale.LOSS:
        return _loss_interval(estimate, clusters)
    if estimate.scale in (Scale.CORRELATION, Scale.EXPLAINED):
        return _transformed_interval(estimate, measure_spread(estimate.influence, clusters))
    return bounded_interval(estimate, measure_spread(estimate.influence, clusters), requirement)


def value_alone(estimate: Estimate) -> Interval:
    """A metric where no interval is asked for: its value, or why there is none."""
    return Interval(estimate.value if estimate.defined else None, None, None, estimate.reason)


def without_interval(value: float, reason: str) -> Interval:
    """A value that has no interval, and why."""
    return Interval(value, None, None, reason)


def too_few_groups(clusters: Clusters, requirement: Requirement) -> str:
    """Why the number of the groups, or of images, or their sizes allow no interval; "" if they do."""
    if reason := clusters.too_few(requirement):
        return reason
    if clusters.effective < LEAST_EFFECTIVE_GROUPS:
        return f"{clusters.described()}, most of them in one or two groups: no interval"
    return ""


def _share_interval(estimate: Estimate, clusters: Clusters, requirement: Requirement) -> Interval:
    share, rows = estimate.value, clusters.rows
    if reason := too_few_groups(clusters, requirement) or _rarely_mixed(estimate, clusters):
        return without_interval(share, reason)
    if clusters.independent:
        return wilson_interval(share, rows)
    spread = measure_spread(estimate.influence, clusters)
    if spread.variance == 0:  # all groups alike, so nothing shows how much the images of one resemble each other
        return wilson_interval(share, clusters.effective)
    same_variance = share * (1 - share) / spread.variance * (NORMAL / spread.quantile) ** 2
    return wilson_interval(share, min(same_variance, rows))


def _rarely_mixed(estimate: Estimate, clusters: Clusters) -> str:
    """Why groups that are large, and nearly all alike, allow no interval: the next one may be very different."""
    if clusters.rows / clusters.effective <= LARGE_GROUP:
        return ""
    right = clusters.sums(estimate.influence > 0)
    counts = {"right": int((right > 0).sum()), "wrong": int((right < clusters.sizes).sum())}
    if estimate.value == 1:  # the influences are 0
        counts = {"right": clusters.count, "wrong": 0}
    rarer = min(counts, key=lambda side: counts[side])
    if counts[rarer] >= LEAST_MIXED_GROUPS:
        return ""
    return (
        f"only {counts[rarer]} of {clusters.count:,} large groups have an image that is {rarer}: too few for an "
        f"interval ({LEAST_MIXED_GROUPS} or more)"
    )


def bounded_interval(estimate: Estimate, spread: Spread, requirement: Requirement) -> Interval:
    """The interval of a metric that has two bounds, from its variance."""
    low, high = (-1.0, 1.0) if estimate.scale is Scale.SIGNED else (0.0, 1.0)
    place = (estimate.value - low) / (high - low)
    if spread.variance <= _ROUNDING**2 or not 0 < place < 1:
        return without_interval(estimate.value, _NO_VARIATION)
    same_variance = place * (1 - place) * (high - low) ** 2 / spread.variance
    if same_variance * min(place, 1 - place) < requirement.errors:
        return without_interval(estimate.value, f"too near {high if place > 0.5 else low:g} for an interval")
    found = wilson_interval(place, same_variance, spread.quantile)
    lower, upper = (low + (high - low) * end for end in (found.low or 0.0, found.high or 0.0))
    return Interval(estimate.value, lower, upper)


def _transformed_interval(estimate: Estimate, spread: Spread) -> Interval:
    """Of Fisher's transformation (1915, Biometrika 10, 507) of a correlation, or of the logarithm of what is not explained."""
    value = estimate.value
    if spread.variance <= _ROUNDING**2 or (abs(value) >= 1 and estimate.scale is Scale.CORRELATION) or value >= 1:
        return without_interval(value, _NO_VARIATION)
    error = spread.quantile * np.sqrt(spread.variance)
    if estimate.scale is Scale.CORRELATION:
        reach = error / (1 - value**2)
        return Interval(value, float(np.tanh(np.arctanh(value) - reach)), float(np.tanh(np.arctanh(value) + reach)))
    left = 1 - value
    return Interval(value, float(1 - left * np.exp(error / left)), float(1 - left * np.exp(-error / left)))


def _loss_interval(estimate: Estimate, clusters: Clusters) -> Interval:
    """Of the logarithm, which bounds the interval by 0 and evens out the skewness of losses."""
    mean, rows = estimate.value, clusters.rows
    sums = clusters.sums(estimate.influence) * rows
    squares = sums**2
    if mean <= 0 or squares.sum() <= (_ROUNDING * mean * rows) ** 2:
        return without_interval(mean, _NO_VARIATION)
    if float(squares.sum()) ** 2 / float((squares**2).sum()) < _LEAST_CONTRIBUTING:
        one = "image" if clusters.independent else "group"
        return without_interval(mean, f"a single {one} makes up most of its variation: no interval")
    spread = measure_spread(estimate.influence, clusters)
    error = np.sqrt(spread.variance) / mean
    if clusters.count > _MOST_RESAMPLED_GROUPS:
        below = above = spread.quantile
    else:
        below, above = _studentized(mean, sums, clusters)
    return Interval(mean, float(mean * np.exp(-below * error)), float(mean * np.exp(above * error)))


def _studentized(mean: float, sums: Floats, clusters: Clusters) -> tuple[float, float]:
    """How many standard errors the logarithm of the mean reaches down and up.

    `sums` is (groups,): how far each group's sum is from what the mean gives for its size.
    """
    weights, sizes, count = draw_resamples(clusters.count), clusters.sizes, clusters.count
    totals = weights @ np.column_stack([sizes, sums, sums**2, sums * sizes, sizes**2])
    rows, away = totals[:, 0], totals[:, 1] / totals[:, 0]
    squares = totals[:, 2] - 2 * away * totals[:, 3] + away**2 * totals[:, 4]
    errors = np.sqrt(np.maximum(count / (count - 1) * squares, 0)) / rows
    resampled = mean + away
    known = (errors > 0) & (resampled > 0)
    statistic = np.log(resampled[known] / mean) * resampled[known] / errors[known]
    low, high = np.quantile(statistic, [1 - _TAIL, _TAIL])
    return float(high), float(-low)


def wilson_interval(share: float, count: float, quantile: float = NORMAL) -> Interval:
    """A share of `count` trials with its interval, which stays within 0 and 1.

    Wilson 1927, Journal of the American Statistical Association 22, 209.
    """
    middle = share + quantile**2 / (2 * count)
    spread = quantile * np.sqrt(share * (1 - share) / count + quantile**2 / (4 * count**2))
    scale = 1 + quantile**2 / count
    low, high = float((middle - spread) / scale), float((middle + spread) / scale)
    # Rounding must not put an end on the wrong side of 0, of 1, or of the share.
    return Interval(share, min(max(0.0, low), share), max(min(1.0, high), share))
