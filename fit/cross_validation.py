"""Cross-validation over train and validation: every image predicted by a head that has not seen its split group.

It chooses nothing and leaves the test images alone. Its heads are not kept, only their predictions and scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter
from fit.evaluation import CV, find_truth
from fit.experiment import Experiment, Fold
from fit.fitting import fit_roles, predict_images
from fit.predictions import Evaluation
from fit.request import FitRequest, new_classifier


@dataclass(frozen=True)
class FoldScore:
    """The scores of one fold.

    Attributes:
        repeat: from 0.
        fold: from 0.
        learned: how many images the head learned from or stopped on.
        evaluated: how many it predicted.
        scores: on those, by metric: accuracy and log loss; of a regression, its errors.
    """

    repeat: int
    fold: int
    learned: int
    evaluated: int
    scores: Mapping[str, float]

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        own = {"repeat": self.repeat, "fold": self.fold, "learned": self.learned, "evaluated": self.evaluated}
        return {**own, **self.scores}


@dataclass(frozen=True)
class CrossValidation:
    """What a cross-validation found.

    Attributes:
        first_repeat: the predictions of the first repeat: each image once.
        folds: the scores of all folds of all repeats.
    """

    first_repeat: Evaluation
    folds: Sequence[FoldScore]

    def to_dict(self) -> dict[str, object]:
        """The values for metrics.json beside the scores of the first repeat."""
        return {"cv_folds": [fold.to_dict() for fold in self.folds], "cv_repeats": self._repeats()}

    def _repeats(self) -> dict[str, object]:
        """Each repeat's mean over its images, and the mean and the standard deviation over the repeats."""
        count = 1 + max(fold.repeat for fold in self.folds)
        found: dict[str, object] = {"repeats": count}
        for name in self.folds[0].scores:
            means = [self._mean(name, repeat) for repeat in range(count)]
            deviation = float(np.std(means, ddof=1)) if count > 1 else None
            found[name] = {"mean": float(np.mean(means)), "deviation": deviation}
        return found

    def _mean(self, name: str, repeat: int) -> float:
        """Over the images of a repeat."""
        folds = [fold for fold in self.folds if fold.repeat == repeat]
        total = sum(fold.scores[name] * fold.evaluated for fold in folds)
        return total / sum(fold.evaluated for fold in folds)


def cross_validate(request: FitRequest, experiment: Experiment, reporter: Reporter = SILENT) -> CrossValidation:
    """The predictions for the images of train and validation, each from a head that has not seen its split group.

    Raises:
        UsageError: there are more folds than the images can fill, or see `fit.fitting.fit_roles`.
    """
    options, known = request.options, experiment.images
    truth = find_truth(known.task, known.targets, known.split_groups.of_rows)
    stops_early = new_classifier(request, experiment.task).stops_early
    images: list[npt.NDArray[np.int64]] = []
    probabilities: list[npt.NDArray[np.float64]] = []
    scores = []
    with reporter.step("cross-validating", options.cv * options.repeats) as progress:
        for repeat in range(options.repeats):
            for number, fold in enumerate(experiment.folds(options.cv, repeat, stops_early)):
                predicted = _predict_fold(request, experiment, fold)
                if repeat == 0:
                    images.append(fold.predicted)
                    probabilities.append(predicted)
                learned = len(fold.roles.learn) + len(fold.roles.stop)
                found = truth.plain_scores(fold.predicted, predicted)
                scores.append(FoldScore(repeat, number, learned, len(fold.predicted), found))
                progress.advance(1, 0)
    order = np.argsort(np.concatenate(images))
    first = Evaluation(CV, np.concatenate(images)[order], np.concatenate(probabilities)[order])
    unpredicted = len(experiment.split.development) - len(first.images)
    if unpredicted:
        reporter.message(
            f"{unpredicted:,} images are learned from in every fold and not cross-validated: "
            "they are the only ones of their class, or with one of that in a group"
        )
    return CrossValidation(first, scores)


def _predict_fold(request: FitRequest, experiment: Experiment, fold: Fold) -> npt.NDArray[np.float64]:
    classifier = new_classifier(request, experiment.task)
    fit_roles(request, classifier, experiment, fold.roles)
    return predict_images(classifier, experiment, fold.predicted)
