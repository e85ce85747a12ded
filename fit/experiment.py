"""An experiment: the images of a store, their labels, and which of them are for what.

Everything that a fit knows about its images is decided here, once. Fitting, cross-validation, sweeps and evaluations
read it, and none decides by itself which images it may use. The roles are the same for every kind of head:

- train: a head learns from these images. If it stops early, an inner part of them stops it and the rest is learned
  from; if it chooses settings of its own, it does so on inner folds of them.
- validation: chooses between heads and between settings of a sweep, and nothing else.
- test: evaluated on request alone.

The head that is evaluated on validation has learned from train. The head that is kept is fitted again in the same way on train
and validation together, so that a validation score means the same for every kind of head.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter
from fit.blocks import load_blocks
from fit.choices import IGNORE
from fit.data import Features, Scaled, Source
from fit.heads.balanced import block_scales, column_factors
from fit.labelled import LabelledImages, keep_twins_together, label_images
from fit.request import FitRequest, new_classifier
from fit.splits import Positions, Split, cut, folds, reshuffled
from fit.task import Decision, Targets, Task
from fit.twins import find_near_twins
from store.errors import UsageError
from store.snapshot import all_views

_NONE: Positions = np.empty(0, np.int64)


@dataclass(frozen=True)
class Roles:
    """The images of one fit.

    Attributes:
        learn: those that the head learns from.
        stop: those that stop its training early; none for heads that do not stop early.
    """

    learn: Positions
    stop: Positions


@dataclass(frozen=True)
class Fold:
    """One fold of a cross-validation: the images that are predicted, and those of the fit that predicts them."""

    predicted: Positions
    roles: Roles


@dataclass(frozen=True)
class Experiment:
    """What a fit learns from and is evaluated on.

    A head learns from all views of its images and is evaluated on the unaltered one alone. Images are numbered by
    their position in `images`.

    Attributes:
        images: with labels and split.
        features: of all views of each image: those of image i are rows i * views and on, the unaltered one first.
        views: the number of views of each image.
        stop: the fraction of the images to learn from that stops a head early.
        seed: of the splits, and of the resamples of every interval.
    """

    images: LabelledImages
    features: Features
    views: int
    stop: float
    seed: int

    @property
    def task(self) -> Task:
        """The task: what is predicted."""
        return self.images.task

    @property
    def split(self) -> Split:
        """Train, validation and test."""
        return self.images.split

    @cached_property
    def targets(self) -> Targets:
        """The targets of the rows of features, of all views."""
        return self.images.targets.repeat(self.views, axis=0)

    def deciding(self, decision: Decision) -> "Experiment":
        """The same, with another way from probabilities to predictions."""
        return replace(self, images=replace(self.images, task=replace(self.task, decision=decision)))

    # Which images are for what

    def first_roles(self, stops_early: bool) -> Roles:
        """The fit that train and validation are predicted by: all of it is within train."""
        return self.roles_within(self.split.train, stops_early)

    def final_roles(self, stops_early: bool) -> Roles:
        """The fit that is kept and that test is predicted by: within train and validation together."""
        return self.roles_within(self.split.development, stops_early)

    @property
    def first_is_final(self) -> bool:
        """Whether there is no validation, so that one fit is both."""
        return len(self.split.validation) == 0

    def folds(self, count: int, repeat: int, stops_early: bool) -> Iterator[Fold]:
        """Each fold of a cross-validation over train and validation; another repeat divides them in another way.

        An image whose split group is the only one of its class there is learned from in every fold and never predicted.

        Raises:
            UsageError: there are more folds than the images can fill.
        """
        images, groups = self.split.development, reshuffled(self.images.split_groups, repeat)
        for number, predicted in enumerate(folds(images, self.images.strata, groups, count), start=1):
            if len(predicted) == 0:
                raise UsageError(f"--cv {count}: fold {number} would be empty; ask for fewer folds")
            yield Fold(predicted, self.roles_within(np.setdiff1d(images, predicted), stops_early))

    def roles_within(self, images: Positions, stops_early: bool) -> Roles:
        """Those images as the images of one fit; those that stop it early are cut off as every split is cut."""
        if not stops_early or self.stop == 0:
            return Roles(images, _NONE)
        learn, stop, _ = cut(images, self.images.strata, self.images.split_groups, self.stop, 0.0)
        return Roles(learn, stop)

    # Features

    def learning(self, images: Positions) -> Source:
        """All views of those images, to learn from."""
        return Source(self.features, all_views(images, self.views), self.targets)

    def unaltered(self, images: Positions) -> Source:
        """The unaltered views of those images, to stop at and to evaluate on."""
        return Source(self.features, images * self.views, self.targets)

    def split_groups(self, source: Source) -> npt.NDArray[np.int64]:
        """The split group of each of the source's rows."""
        groups: npt.NDArray[np.int64] = np.repeat(self.images.split_groups.of_rows, self.views)[source.rows]
        return groups


def load_experiment(request: FitRequest, reporter: Reporter = SILENT) -> Experiment:
    """The images, labels, split and features that a request is about, checked.

    Raises:
        UsageError: there are no images or labels, a class has too few images for the head, a feature is not a number,
            or the features do not fit into memory.
    """
    options = request.options
    images = label_images(request.stores, options, request.kind, reporter)
    # The head is built once before the features are read, so that impossible parameters are refused at once.
    streams = new_classifier(request, images.task).streams
    views = request.stores[0].recipe.views
    features = load_blocks(request.stored, images.rows, streams, views, reporter)
    if options.near_twins != IGNORE:
        unaltered = np.arange(len(images)) * views
        twins = find_near_twins(
            _balanced(features, unaltered, request), unaltered, images.rows.texts("sha256"), reporter
        )
        if twins is not None:
            images = keep_twins_together(images, twins, options, request.kind, reporter)
    return Experiment(images, features, views, options.stop, options.seed)


def _balanced(features: Features, unaltered: Positions, request: FitRequest) -> Features:
    """Features of several blocks with the same total variance, so that all of them say which images are alike."""
    if len(request.stored) == 1:
        return features
    return Scaled(features, column_factors(block_scales(features, unaltered, request.widths), request.widths))
