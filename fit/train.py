"""A store and options -> a fitted head and numbers about it.

Everything is checked before anything is trained. A head that has learned from train is evaluated on validation; the
head that is kept is fitted again, in the same way, on both; it is evaluated on the test images only if that is asked
for. `fit.experiment` says which images have which role.
"""

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from extract.api import SILENT, Reporter, console_reporter
from fit.blocks import StoreLike, open_stores
from fit.cross_validation import cross_validate
from fit.decision import choose_decision, require_decidable
from fit.evaluation import measure, prediction_table
from fit.experiment import Experiment, load_experiment
from fit.experiment_record import record_experiment
from fit.fitting import evaluate, fit_first, fit_roles
from fit.head import Head
from fit.head_info import HeadInfo, installed_versions
from fit.heads.base import Classifier
from fit.like import options_like
from fit.looks import look_now
from fit.options import FitOptions, HeadCall
from fit.request import FitRequest, new_classifier, resolve_fit
from fit.splits import TEST, TRAIN, VALIDATION
from fit.task import Task
from store.options import taking_first_and_fields_of
from store.reader import FeatureStore


@taking_first_and_fields_of(HeadCall, {"reduction": "reduce", "validation": "val"})
def fit_head(store: StoreLike | Sequence[StoreLike], call: HeadCall, given: Set[str]) -> Head:
    """Fit a head on the features of a store, given by itself or by its folder, or on those of several stores joined.

    Several stores hold features of the same images by other recipes: `fit_head(["lite0", "inception"])`.

    The other parameters are named as the options of `fit head`. `parameters` has the head's own ones, as --set takes
    them; `custom_head` is the function of a custom head. `fit_head("store", like="heads/first", seed=1)` fits the head of
    a folder again, with another seed.

    Returns:
        The head, with `metrics` and `predictions`; `head.save(folder)` keeps it.

    Raises:
        UsageError: a wrong option, or data that no head can learn from.
        StoppedEarly: the store is not complete.
        DamagedHead: the files of the head that `like` names are not what was written.
    """
    reporter = console_reporter() if call.progress else SILENT
    options = call.options()
    if call.like is not None:
        options = options_like(call.like, options, given, reporter)
    return fit_with(open_stores(store), options, reporter)


def fit_with(store: FeatureStore | Sequence[FeatureStore], options: FitOptions, reporter: Reporter = SILENT) -> Head:
    """Do what `fit_head` does, and report while it works."""
    request = resolve_fit(store, options)
    return fit_experiment(request, load_experiment(request, reporter), reporter)


def fit_experiment(request: FitRequest, experiment: Experiment, reporter: Reporter = SILENT) -> Head:
    """The head and its metrics, from an experiment that is loaded.

    Raises:
        UsageError: the head refuses the parameters or the data, or there are more folds than the images can fill.
    """
    split, options = experiment.split, request.options
    if options.by is not None:
        experiment.images.rows.column_values(options.by, "--by")  # a wrong column is refused before the fit
    require_decidable(options, experiment)
    _report_start(request, experiment, reporter)
    started = time.perf_counter()
    first = fit_first(request, experiment, reporter)
    evaluations = [evaluate(first, experiment, TRAIN, split.train, reporter)]
    evaluations.append(evaluate(first, experiment, VALIDATION, split.validation, reporter))
    experiment = experiment.deciding(choose_decision(options, experiment, evaluations[-1].probabilities, reporter))
    final = first if experiment.first_is_final else _fit_final(request, experiment, reporter)
    seconds = time.perf_counter() - started
    folds: dict[str, object] = {}
    if options.cv:
        crossed = cross_validate(request, experiment, reporter)
        evaluations.append(crossed.first_repeat)
        folds = crossed.to_dict()
    if options.evaluate_test:
        evaluations.append(evaluate(final, experiment, TEST, split.test, reporter))
    with reporter.step("scoring", None):
        measured = measure(experiment, evaluations, request.options.by)
    metrics = {
        "head": request.kind.name,
        "fingerprint": request.fingerprint,
        "classes": list(experiment.task.classes),
        "rows": {TRAIN: len(split.train), VALIDATION: len(split.validation), TEST: len(split.test)},
        **measured,
        **folds,
        "seconds": round(seconds, 3),
    }
    if final.chosen:
        metrics["chosen"] = final.chosen
        _report_chosen(request.kind.name, final.chosen, reporter)
    if final.history is not None:
        metrics["history"] = final.history
    predictions = prediction_table(experiment, evaluations)
    record = record_experiment(experiment, options, final.stops_early)
    head = Head(describe_head(request, experiment.task, final.scales), final, metrics, predictions, record)
    if options.evaluate_test and len(split.test):
        head.looks = (look_now("fit head", len(split.test)),)
    return head


def _report_start(request: FitRequest, experiment: Experiment, reporter: Reporter) -> None:
    split = experiment.split
    classes = "" if experiment.task.regression else f" of {len(experiment.task.classes)} classes"
    in_views = f" in {experiment.views:,} views" if experiment.views > 1 else ""
    reporter.message(
        f"fitting {request.kind.name} on {len(split.train):,} images{in_views}{classes} "
        f"({len(split.validation):,} for validation, {len(split.test):,} for test)"
    )


def _report_chosen(name: str, chosen: Mapping[str, object], reporter: Reporter) -> None:
    """Report what a head chose on inner folds where that is at the edge of what it tried."""
    if chosen.get("at_edge"):
        setting, value = next(iter(chosen.items()))
        reporter.message(
            f"note: {name} chose {setting} = {value:g} by {chosen['by']} in inner folds, the outermost value that it "
            "tried; --set smallest=… or --set largest=… widens the grid"
        )


def _fit_final(request: FitRequest, experiment: Experiment, reporter: Reporter) -> Classifier:
    """The head that is kept, which learns from validation too."""
    classifier = new_classifier(request, experiment.task)
    fit_roles(request, classifier, experiment, experiment.final_roles(classifier.stops_early), reporter)
    return classifier


def describe_head(request: FitRequest, task: Task, scales: Sequence[float] = ()) -> HeadInfo:
    """What head.json says about a head that a request describes; `scales` are those of its blocks, where it has several."""
    current, options = request.stores[0].snapshot.current, request.options
    blocks = zip(request.blocks, scales or (1.0,), strict=True)
    return HeadInfo(
        head=request.kind.name,
        parameters=request.parameters,
        classes=task.classes,
        multi_label=task.multi_label,
        class_weight=options.class_weight,
        seed=options.seed,
        blocks=tuple(replace(block, scale=scale) for block, scale in blocks),
        versions=installed_versions(),
        data=current.data if current else "",
        decision=task.decision,
    )
