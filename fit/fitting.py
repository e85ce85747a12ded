"""One fit of a head on the images that have its roles, and its predictions for others."""

import warnings

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter
from fit.experiment import Experiment, Roles
from fit.heads.base import Classifier
from fit.prediction import predict_rows
from fit.predictions import Evaluation
from fit.request import FitRequest, new_classifier
from fit.splits import Positions
from store.errors import UsageError


def fit_first(request: FitRequest, experiment: Experiment, reporter: Reporter = SILENT) -> Classifier:
    """A head that learns from train alone, to be evaluated on validation.

    Raises:
        UsageError: see `fit_roles`.
    """
    classifier = new_classifier(request, experiment.task)
    fit_roles(request, classifier, experiment, experiment.first_roles(classifier.stops_early), reporter)
    return classifier


def fit_roles(
    request: FitRequest, classifier: Classifier, experiment: Experiment, roles: Roles, reporter: Reporter = SILENT
) -> None:
    """Fit a head on the images that have those roles.

    Raises:
        UsageError: the library refuses the parameters or the data.
    """
    source = experiment.learning(roles.learn)
    validation = experiment.unaltered(roles.stop) if len(roles.stop) else None
    try:
        with reporter.step(f"fitting {request.kind.name}", None), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about convergence and similar: the metrics show how good the head is
            classifier.fit(source, validation, experiment.split_groups(source))
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"the head {request.kind.name} refused: {' '.join(str(error).split())}") from error


def predict_images(
    classifier: Classifier, experiment: Experiment, images: Positions, reporter: Reporter = SILENT
) -> npt.NDArray[np.float64]:
    """Probabilities (images, classes) of the unaltered views.

    Raises:
        UsageError: they are not numbers.
    """
    if len(images) == 0:
        return np.empty((0, experiment.task.outputs))
    probabilities = predict_rows(classifier, experiment.features, experiment.unaltered(images).rows, reporter)
    if not np.isfinite(probabilities).all():
        raise UsageError("training diverged: the head's probabilities are not numbers; try a smaller --learning-rate")
    return probabilities


def evaluate(
    classifier: Classifier, experiment: Experiment, name: str, images: Positions, reporter: Reporter = SILENT
) -> Evaluation:
    """The predictions for some images, under the name of their evaluation.

    Raises:
        UsageError: see `predict_images`.
    """
    return Evaluation(name, images, predict_images(classifier, experiment, images, reporter))
