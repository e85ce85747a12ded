"""Spearman's rank correlation with what each row contributes to it."""

import numpy as np

from fit.arrays import Floats
from fit.metrics.estimates import Estimate, Scale, undefined


def spearman(first: Floats, second: Floats) -> Estimate:
    """Pearson's correlation of the mid-ranks of two columns (rows,), equal values sharing a rank.

    Its influences are those of the three moments of the mid-ranks (Croux & Dehon 2010, Statistical Methods &
    Applications 19, 497), in which a row also changes the ranks of the others.
    """
    if len(first) == 0:
        return undefined(0, "no images", Scale.CORRELATION)
    places, others = _mid_ranks(first), _mid_ranks(second)
    both, one, other = _moment(places, others), _moment(places, places), _moment(others, others)
    product = one.value * other.value
    if product <= 0:
        return undefined(len(first), "all images have one value, or are predicted to have one", Scale.CORRELATION)
    value = both.value / np.sqrt(product)
    influence = both.influence / np.sqrt(product) - value / 2 * (
        one.influence / one.value + other.influence / other.value
    )
    return Estimate(float(np.clip(value, -1, 1)), influence, Scale.CORRELATION)


def _mid_ranks(values: Floats) -> Floats:
    """(rows,): the share of the rows below, and half of those that are equal, less one half: -0.5 to 0.5."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (counts.cumsum() - counts / 2)[place] / len(values) - 0.5
    return ranks


def _moment(first: Floats, second: Floats) -> Estimate:
    """The mean product of two columns of mid-ranks."""
    product = first * second
    # A row moves the ranks of all rows above it, and by half those of its equals.
    changed = product + _sum_above(first, second) + _sum_above(second, first)
    value = float(product.mean())
    return Estimate(value, (changed - changed.mean()) / len(first), Scale.SIGNED)


def _sum_above(ranks: Floats, values: Floats) -> Floats:
    """(rows,): the mean over all rows of the values of those with a higher rank, and half of those of its equals."""
    _, place = np.unique(ranks, return_inverse=True)
    sums = np.bincount(place, weights=values)
    above: Floats = (sums[::-1].cumsum()[::-1] - sums / 2)[place] / len(values)
    return above
