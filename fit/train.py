"""A store and options -> a fitted head and numbers about it.

Everything is checked before anything is trained. Choices are made on train and validation; a head that does not stop
early on the validation is then fitted again on both; the test images are predicted once, at the end. Cross-validation
is separate: of its heads only the predictions for images that they have not seen are kept.
"""

import time
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter, console_reporter
from fit.evaluation import CV, Evaluation, measure, prediction_table
from fit.experiment import Experiment, Roles, load_experiment
from fit.head import Head
from fit.head_info import HeadInfo, installed_versions
from fit.heads.base import Classifier
from fit.options import FitOptions, HeadCall
from fit.prediction import predict_rows
from fit.request import FitRequest, new_classifier, resolve_fit, weights_of
from fit.splits import TEST, TRAIN, VALIDATION, Positions
from fit.task import Task
from store.errors import UsageError
from store.files.names import row_name
from store.options import taking_first_and_fields_of
from store.reader import FeatureStore, open_store


@taking_first_and_fields_of(HeadCall, {"reduction": "reduce", "validation": "val"})
def fit_head(store: FeatureStore | str | Path, call: HeadCall) -> Head:
    """Fit a head on the features of a store, given by itself or by its folder.

    The other parameters are named as the options of `fit head`. `parameters` has the head's own ones, as --set takes
    them; `custom_head` is the function of a custom head.

    Returns:
        The head, with `metrics` and `predictions`; `head.save(folder)` keeps it.

    Raises:
        UsageError: a wrong option, or data that no head can learn from.
        StoppedEarly: the store is not complete.
    """
    reporter = console_reporter() if call.progress else SILENT
    return fit_with(store if isinstance(store, FeatureStore) else open_store(store), call.options(), reporter)


def fit_with(store: FeatureStore, options: FitOptions, reporter: Reporter = SILENT) -> Head:
    """Do what `fit_head` does, and report while it works."""
    request = resolve_fit(store, options)
    return fit_experiment(request, load_experiment(request, reporter), reporter)


def fit_experiment(request: FitRequest, experiment: Experiment, reporter: Reporter = SILENT) -> Head:
    """The head and its metrics, from an experiment that is loaded.

    Raises:
        UsageError: the head refuses the parameters or the data, or there are more folds than the images can fill.
    """
    split, count = experiment.split, request.options.cv
    _report_start(request, experiment, reporter)
    started = time.perf_counter()
    first = fit_first(request, experiment, reporter)
    evaluations = [evaluate(first, experiment, TRAIN, split.train, reporter)]
    evaluations.append(evaluate(first, experiment, VALIDATION, split.validation, reporter))
    final = _fit_final(request, experiment, first, reporter)
    seconds = time.perf_counter() - started
    if count:
        evaluations.append(cross_validate(request, experiment, reporter))
    evaluations.append(evaluate(final, experiment, TEST, split.test, reporter))
    with reporter.step("scoring", None):
        measured = measure(experiment, evaluations)
    metrics = {
        "head": request.kind.name,
        "fingerprint": request.store.fingerprint,
        "classes": list(experiment.task.classes),
        "rows": {TRAIN: len(split.train), VALIDATION: len(split.validation), TEST: len(split.test)},
        **measured,
        "seconds": round(seconds, 3),
    }
    if final.history is not None:
        metrics["history"] = final.history
    return Head(describe_head(request, experiment.task), final, metrics, prediction_table(experiment, evaluations))


def _report_start(request: FitRequest, experiment: Experiment, reporter: Reporter) -> None:
    split, classes = experiment.split, len(experiment.task.classes)
    in_views = f" in {experiment.views:,} views" if experiment.views > 1 else ""
    reporter.message(
        f"fitting {request.kind.name} on {len(split.train):,} images{in_views} of {classes} classes "
        f"({len(split.validation):,} for validation, {len(split.test):,} for test)"
    )


def fit_first(request: FitRequest, experiment: Experiment, reporter: Reporter = SILENT) -> Classifier:
    """A head that learns from train and may stop early on validation, to be evaluated on both.

    Raises:
        UsageError: see `fit_roles`.
    """
    classifier = new_classifier(request, experiment.task)
    fit_roles(request, classifier, experiment, experiment.first_roles(classifier.stops_early), reporter)
    return classifier


def _fit_final(request: FitRequest, experiment: Experiment, first: Classifier, reporter: Reporter) -> Classifier:
    """The head that is kept: one that learns from validation too, or the first."""
    roles = experiment.final_roles(first.stops_early)
    if roles is None:
        return first
    classifier = new_classifier(request, experiment.task)
    fit_roles(request, classifier, experiment, roles, reporter)
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
        return np.empty((0, len(experiment.task.classes)))
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


def cross_validate(request: FitRequest, experiment: Experiment, reporter: Reporter = SILENT) -> Evaluation:
    """The predictions for all images, each from a head that has not seen the image or its split group.

    Raises:
        UsageError: there are more folds than the images can fill, or see `fit_roles`.
    """
    count = request.options.cv
    every = np.arange(len(experiment.images))
    probabilities = np.empty((len(every), len(experiment.task.classes)))
    stops_early = new_classifier(request, experiment.task).stops_early
    with reporter.step("cross-validating", count) as progress:
        for predicted, roles in experiment.folds(count, stops_early):
            classifier = new_classifier(request, experiment.task)
            fit_roles(request, classifier, experiment, roles)
            probabilities[predicted] = predict_images(classifier, experiment, predicted)
            progress.advance(1, 0)
    return Evaluation(CV, every, probabilities)


def describe_head(request: FitRequest, task: Task) -> HeadInfo:
    """What head.json says about a head that a request describes."""
    store, options = request.store, request.options
    return HeadInfo(
        head=request.kind.name,
        parameters=request.parameters,
        reduction=request.reduction,
        classes=task.classes,
        multi_label=task.multi_label,
        class_weight=options.class_weight,
        seed=options.seed,
        recipe=store.recipe,
        output=request.output,
        weights=weights_of(store),
        versions=installed_versions(),
        data=store.snapshot.current.data if store.snapshot.current else "",
        store=row_name(store.folder.absolute),
    )
