"""A learning curve: a head fitted on more and more of the training images, evaluated on validation.

In each draw the split groups of the training images are put in an order of their own, and the head learns from the
first of them: a few, then twice as many, up to all. So each set is within the next, every class keeps its proportion,
and no split group is cut. Validation images choose, as everywhere; test images are left alone.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from extract.api import SILENT, Reporter
from fit.arrays import Floats
from fit.blocks import StoreLike, open_stores
from fit.curve.estimates import MEASURES
from fit.curve.options import CurveOptions
from fit.evaluation import truth_of
from fit.experiment import Experiment, load_experiment
from fit.fitting import fit_roles, predict_images
from fit.metrics.intervals import Clusters, Interval
from fit.options import FitOptions
from fit.request import FitRequest, new_classifier, resolve_fit
from fit.splits import Positions, nested_parts, reshuffled
from store.errors import UsageError


@dataclass(frozen=True)
class CurveFit:
    """One fit of a curve.

    Attributes:
        draw: from 0.
        images: how many it learned from or stopped on.
        scores: on validation, by metric: accuracy and log_loss, or mean_absolute_error.
    """

    draw: int
    images: int
    scores: Mapping[str, float]

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {"draw": self.draw, "images": self.images, **self.scores}


@dataclass(frozen=True)
class CurvePoint:
    """The scores of one size of the training set.

    Attributes:
        images: how many, on average over the draws.
        draws: how many sets of this size were drawn.
        scores: on validation, by metric, each the mean over the draws.
    """

    images: int
    draws: int
    scores: Mapping[str, Interval]

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {"images": self.images, "draws": self.draws, **_plain(self.scores)}


@dataclass(frozen=True)
class CurveStep:
    """What came of more training images.

    Attributes:
        before: the smaller number.
        after: the larger number.
        changes: of each metric on validation.
    """

    before: int
    after: int
    changes: Mapping[str, Interval]

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {"before": self.before, "after": self.after, **_plain(self.changes)}


def _plain(intervals: Mapping[str, Interval]) -> dict[str, object]:
    return {name: interval.to_dict() for name, interval in intervals.items()}


@dataclass(frozen=True)
class Curve:
    """A learning curve.

    Attributes:
        head: the kind of head.
        validation: how many images every fit was evaluated on.
        points: by size, ascending; the last is of all training images.
        steps: from each point to the next.
        fits: all of them.
    """

    head: str
    validation: int
    points: Sequence[CurvePoint]
    steps: Sequence[CurveStep]
    fits: Sequence[CurveFit]

    @property
    def metrics(self) -> Sequence[str]:
        """The metrics to show, the main one first."""
        return list(self.points[0].scores)

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {
            "head": self.head,
            "validation": self.validation,
            "points": [point.to_dict() for point in self.points],
            "steps": [step.to_dict() for step in self.steps],
            "fits": [one.to_dict() for one in self.fits],
        }


@dataclass(frozen=True, eq=False)
class _Scored:
    """The fits on sets of one size: how many images each learned from, and (fits, validation images) of each metric."""

    images: Sequence[int]
    values: Mapping[str, Floats]

    @property
    def size(self) -> int:
        return round(float(np.mean(self.images)))


def fit_curve(
    store: StoreLike | Sequence[StoreLike],
    fit_options: FitOptions | None = None,
    options: CurveOptions | None = None,
    reporter: Reporter = SILENT,
) -> Curve:
    """Fit a head on more and more of the training images, and evaluate it on validation.

    Args:
        store: the features, or the store's folder; several stores are joined.
        fit_options: as for `fit_head`.
        options: how many sizes and draws.
        reporter: shows progress.

    Raises:
        UsageError: a wrong option, no validation images, or too few training images for two sizes.
        StoppedEarly: the store is not complete.
    """
    request, options = resolve_fit(open_stores(store), fit_options or FitOptions()), options or CurveOptions()
    experiment = load_experiment(request, reporter)
    if len(experiment.split.validation) == 0:
        raise UsageError("there are no validation images to evaluate on: add images, or give a larger --val")
    scored = _fit_all(request, experiment, options, reporter)
    clusters = Clusters(
        len(experiment.split.validation), experiment.images.split_groups.of_rows[experiment.split.validation]
    )
    points = [
        CurvePoint(
            one.size,
            len(one.images),
            {name: MEASURES[name].mean(values, clusters) for name, values in one.values.items()},
        )
        for one in scored
    ]
    steps = [
        CurveStep(
            before.size,
            after.size,
            {
                name: MEASURES[name].change(values, after.values[name], clusters)
                for name, values in before.values.items()
            },
        )
        for before, after in pairwise(scored)
    ]
    fits = [
        CurveFit(draw, images, {name: float(values[draw].mean()) for name, values in one.values.items()})
        for one in scored
        for draw, images in enumerate(one.images)
    ]
    return Curve(request.kind.name, clusters.rows, points, steps, fits)


def training_sets(experiment: Experiment, options: CurveOptions, least: int) -> Iterator[tuple[int, int, Positions]]:
    """(draw, number of the size, training images) of each fit; all training images come once, last.

    Args:
        experiment: whose training images are divided.
        options: how many sizes and draws.
        least: how many split groups of each class every set has.
    """
    train, images, full = experiment.split.train, experiment.images, options.sizes - 1
    for draw in range(options.draws):
        groups = reshuffled(images.split_groups, draw)
        parts = nested_parts(train, images.strata, groups, options.fractions[:-1], least)
        yield from ((draw, size, part) for size, part in enumerate(parts))
    yield 0, full, train


def _fit_all(request: FitRequest, experiment: Experiment, options: CurveOptions, reporter: Reporter) -> list[_Scored]:
    """The fits by size; of sizes at which every class has the least number of images, the largest."""
    least = max(2, request.kind.least_images)
    sets = defaultdict[int, list[Positions]](list)
    for _, size, images in training_sets(experiment, options, least):
        sets[size].append(images)
    distinct = [size for size in sorted(sets) if size + 1 not in sets or _grows(sets[size], sets[size + 1])]
    if len(distinct) < 2:
        raise UsageError("there are too few training images for two sizes: add images, or lower --val and --test")
    total = sum(len(sets[size]) for size in distinct)
    found = []
    with reporter.step("fitting on more and more images", total) as progress:
        for size in distinct:
            each = []
            for images in sets[size]:
                each.append(_evaluate(request, experiment, images))
                progress.advance(1, 0)
            values = {name: np.array([one[name] for one in each]) for name in each[0]}
            found.append(_Scored([len(images) for images in sets[size]], values))
    return found


def _grows(smaller: Sequence[Positions], larger: Sequence[Positions]) -> bool:
    """Whether the sets have become larger."""
    return bool(np.mean([len(images) for images in smaller]) < np.mean([len(images) for images in larger]))


def _evaluate(request: FitRequest, experiment: Experiment, images: Positions) -> Mapping[str, Floats]:
    """By metric, what a head that learned from `images` makes of each validation image."""
    classifier, validation = new_classifier(request, experiment.task), experiment.split.validation
    fit_roles(request, classifier, experiment, experiment.roles_within(images, classifier.stops_early))
    return truth_of(experiment).of_images(validation, predict_images(classifier, experiment, validation))
