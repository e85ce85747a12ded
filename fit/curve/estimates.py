"""What many heads make of the same validation images -> scores with their intervals. Pure.

A score varies in two ways: with the images that it is measured on, and with the draw of training images that the head
learned from. Every head is measured on the same images, so the two are crossed, and the variance of the mean over both
is the sum of two: of the images' means over the draws, split group by split group, and of the draws' means over the
images, divided by the number of draws. Both hold the variance of what one draw does to one image, which is subtracted
once (Searle, Casella & McCulloch 1992, Variance Components, chapter 4). The degrees of freedom are Satterthwaite's
(1946, Biometrics Bulletin 2, 110).

From one size of the training set to the next, the same images are compared, and the smaller set is within the larger.
`python -m benchmarks.curve` measures how often the intervals cover the truth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from fit.arrays import Floats
from fit.metrics.estimates import Estimate, Scale, mean_of, share_of
from fit.metrics.intervals import (
    Clusters,
    Interval,
    Requirement,
    Spread,
    bounded_interval,
    interval_of,
    measure_spread,
    too_few_groups,
    without_interval,
)
from fit.metrics.paired import LEAST_DISCORDANT, REQUIREMENT
from fit.metrics.regression import REGRESSION_REQUIREMENTS
from fit.metrics.scores import REQUIREMENTS

_NOTHING = "every image and every draw give the same: nothing shows how much it varies"


def accuracy_interval(correct: Floats, clusters: Clusters) -> Interval:
    """The mean of (draws, images), 1 where an image is predicted correctly and else 0."""
    if len(correct) == 1:
        return interval_of(share_of(correct[0] > 0), clusters, REQUIREMENTS["accuracy"])
    return _bounded(correct, Scale.UNIT, clusters, REQUIREMENTS["accuracy"])


def loss_interval(losses: Floats, clusters: Clusters, requirement: Requirement) -> Interval:
    """The mean of (draws, images) losses, or errors; of several draws, with a t interval of its logarithm."""
    estimate = mean_of(losses.mean(axis=0))
    if len(losses) == 1:
        return interval_of(estimate, clusters, requirement)
    if reason := too_few_groups(clusters, requirement):
        return without_interval(estimate.value, reason)
    spread = crossed_spread(losses, clusters)
    if estimate.value <= 0 or spread.variance == 0:
        return without_interval(estimate.value, _NOTHING)
    reach = float(np.exp(spread.quantile * np.sqrt(spread.variance) / estimate.value))
    return Interval(estimate.value, estimate.value / reach, estimate.value * reach)


def gained_accuracy(before: Floats, after: Floats, clusters: Clusters) -> Interval:
    """The accuracy of (draws, images) `after` less that of `before`; a single draw after is compared with each before."""
    gains = after - before
    differing = int((clusters.sums(np.abs(gains).max(axis=0)) > 0).sum())
    if differing < LEAST_DISCORDANT and not too_few_groups(clusters, REQUIREMENT):
        unit = "images are" if clusters.independent else "groups have images that are"
        return without_interval(
            float(gains.mean()),
            f"only {differing} {unit} predicted better or worse: too few for an interval ({LEAST_DISCORDANT} or more)",
        )
    return _bounded(gains, Scale.SIGNED, clusters, REQUIREMENT)


def changed_loss(before: Floats, after: Floats, clusters: Clusters, requirement: Requirement) -> Interval:
    """The mean loss, or error, of (draws, images) `after` less that of `before`."""
    changes = after - before
    value = float(changes.mean())
    if reason := too_few_groups(clusters, requirement):
        return without_interval(value, reason)
    spread = crossed_spread(changes, clusters)
    if spread.variance == 0:
        return without_interval(value, _NOTHING)
    reach = spread.quantile * float(np.sqrt(spread.variance))
    return Interval(value, value - reach, value + reach)


def crossed_spread(values: Floats, clusters: Clusters) -> Spread:
    """How much the mean of (draws, images) varies with both; of one draw, with the images alone."""
    of_images = measure_spread(mean_of(values.mean(axis=0)).influence, clusters)
    draws = len(values)
    if draws == 1:
        return of_images
    of_draws = float(values.mean(axis=1).var(ddof=1)) / draws
    total = of_images.variance + of_draws
    if total == 0:
        return of_images
    freedom = total**2 / (of_images.variance**2 / of_images.freedom + of_draws**2 / (draws - 1))
    left = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    squares = sum(float((clusters.sums(row) ** 2).sum()) for row in left)
    twice = squares / (draws * (draws - 1) * clusters.rows**2)
    return Spread(max(total - twice, of_images.variance, of_draws), freedom)


def _bounded(values: Floats, scale: Scale, clusters: Clusters, requirement: Requirement) -> Interval:
    estimate: Estimate = mean_of(values.mean(axis=0), scale)
    if reason := too_few_groups(clusters, requirement):
        return without_interval(estimate.value, reason)
    return bounded_interval(estimate, crossed_spread(values, clusters), requirement)


@dataclass(frozen=True)
class Measure:
    """A metric that a curve shows.

    Attributes:
        mean: of (draws, images), what each head makes of each image.
        change: of two such, what the second is more than the first.
        changed: what a table calls the change.
    """

    mean: Callable[[Floats, Clusters], Interval]
    change: Callable[[Floats, Floats, Clusters], Interval]
    changed: str


def _measure_of_losses(requirement: Requirement) -> Measure:
    return Measure(
        partial(loss_interval, requirement=requirement), partial(changed_loss, requirement=requirement), "changed"
    )


MEASURES = {
    "accuracy": Measure(accuracy_interval, gained_accuracy, "gained"),
    "log_loss": _measure_of_losses(REQUIREMENTS["log_loss"]),
    "mean_absolute_error": _measure_of_losses(REGRESSION_REQUIREMENTS["mean_absolute_error"]),
}
"""By the metric's name in metrics.json."""
