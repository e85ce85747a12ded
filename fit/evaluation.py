"""Probabilities of labelled images -> numbers: of each evaluation of a fit, and of a head on a store, maybe another one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from extract.api import SILENT, Reporter
from fit.blocks import select_common_images
from fit.evaluation_options import ALL_UNSEEN, EvaluationOptions
from fit.experiment import Experiment
from fit.experiment_record import ExperimentRecord
from fit.head import Head
from fit.head_folder import read_results, write_test
from fit.head_info import joint_fingerprint
from fit.looks import describe_looks, look_now, looks_beside, read_looks, write_looks
from fit.metrics.answered import score_answered
from fit.metrics.by_value import accuracy_by
from fit.metrics.intervals import NO_INTERVALS, Sampling
from fit.metrics.measured_rows import MeasuredRows, MultiLabelRows, SingleLabelRows
from fit.metrics.regression import RegressionScores
from fit.metrics.scores import Scores, score
from fit.number_truth import NumberTruth
from fit.prediction import read_unaltered, stored_blocks
from fit.predictions import CV, SPLIT_GROUP, Evaluation, prediction_columns
from fit.rows import ImageRows
from fit.splits import TEST, TRAIN, VALIDATION, Positions
from fit.task import Targets, Task, decide
from fit.unseen import find_test_groups, select_unseen
from store.errors import EnvironmentFailure, StillframeError
from store.files.names import printable
from store.reader import FeatureStore

EVALUATION = "evaluation"

_OF_FITS = ("confusion_of", "reported")
"""What metrics.json has of several evaluations, and `fit evaluate` of its one does not need."""

_MOST_TELLING_FIRST = (TEST, CV, VALIDATION, TRAIN)
"""The order in which evaluations are looked for, for the baseline and the confusion matrix of metrics.json."""


@dataclass(frozen=True)
class GroundTruth:
    """What is known about images.

    Attributes:
        task: what is predicted.
        targets: (images,) or (images, classes), see `fit.task.Targets`.
        split_groups: (images,): images with the same number belong together, which intervals depend on.
    """

    task: Task
    targets: Targets
    split_groups: Positions

    def score(self, images: Positions, probabilities: npt.NDArray[np.float64]) -> Scores:
        """Scores of those images, whose probabilities (images, classes) are given in the same order."""
        return self._score(images, probabilities, self.task.decide(probabilities))

    def _score(
        self, images: Positions, probabilities: npt.NDArray[np.float64], predicted: Targets | None = None
    ) -> Scores:
        sampling = Sampling(self.split_groups[images])
        return score(self.targets[images], probabilities, self.task.classes, sampling, predicted)

    def headline(self, name: str, scores: Mapping[str, object]) -> dict[str, object]:
        """What metrics.json says beside the scores: the confusion of the evaluation that the head is reported by."""
        return {"multi_label": self.task.multi_label, "confusion_of": name, "confusion": scores["confusion"]}

    def by_column(self, rows: ImageRows, column: str, evaluation: Evaluation) -> dict[str, object]:
        """The accuracy of each value that a column of the images' rows has among those evaluated."""
        images, values = evaluation.images, rows.column_values(column, "--by")
        right = self.task.correct(self.targets[images], evaluation.probabilities)
        found = accuracy_by([values[image] for image in images.tolist()], right, self.split_groups[images])
        return {"column": column, "of": evaluation.name, "values": [one.to_dict() for one in found]}

    def decided(self, evaluations: Sequence[Evaluation]) -> dict[str, object]:
        """What metrics.json says about a decision that is not the default: what it is, and of each evaluation what it gives."""
        decision = self.task.decision
        if not decision.to_dict():
            return {}
        chosen_on = VALIDATION if decision.thresholds else None
        measured = {evaluation.name: self._decided(evaluation) for evaluation in evaluations}
        return {"decision": {**decision.to_dict(), "chosen_on": chosen_on, "measured": measured}}

    def _decided(self, evaluation: Evaluation) -> dict[str, object]:
        targets, probabilities = self.targets[evaluation.images], evaluation.probabilities
        found: dict[str, object] = {}
        if self.task.decision.abstain:
            right, answers = self.task.correct(targets, probabilities), self.task.answers(probabilities)
            found["answered"] = score_answered(answers, right, self.split_groups[evaluation.images]).to_dict()
        if self.task.decision.costs:
            costs = np.array(self.task.decision.costs)
            found["mean_cost"] = float(costs[targets, self.task.decide(probabilities)].mean())
            found["mean_cost_of_most_probable"] = float(costs[targets, decide(probabilities, False)].mean())
        return found

    def of_images(
        self, images: Positions, probabilities: npt.NDArray[np.float64]
    ) -> dict[str, npt.NDArray[np.float64]]:
        """(images,) each, by metric: what the image contributes to the accuracy, 0 or 1, and to the log loss."""
        targets, predicted = self.targets[images], self.task.decide(probabilities)
        rows: MeasuredRows = (
            MultiLabelRows(targets.astype(bool), probabilities, predicted.astype(bool))
            if self.task.multi_label
            else SingleLabelRows(targets.astype(np.int64), probabilities, predicted.astype(np.int64))
        )
        return {"accuracy": rows.correct_rows().astype(np.float64), "log_loss": rows.losses()}

    def plain_scores(self, images: Positions, probabilities: npt.NDArray[np.float64]) -> dict[str, float]:
        """Accuracy and log loss of those images, without intervals."""
        predicted = self.task.decide(probabilities)
        scores = score(self.targets[images], probabilities, self.task.classes, NO_INTERVALS, predicted)
        return {name: cast(float, scores.metric(name).value) for name in ("accuracy", "log_loss")}

    def baseline(self, train: Positions, images: Positions) -> Scores:
        """Scores of the training images' class frequencies: always the most frequent class."""
        return self.constant(self.task.class_counts(self.targets[train]) / len(train), images)

    def constant(self, frequencies: npt.NDArray[np.float64], images: Positions) -> Scores:
        """Scores of the same probabilities (classes,) for each of those images, the most probable class predicted."""
        return self._score(images, np.tile(frequencies, (len(images), 1)))


def find_truth(task: Task, targets: Targets, split_groups: Positions) -> GroundTruth | NumberTruth:
    """What is known about images: their classes, or their numbers."""
    if task.regression:
        return NumberTruth(targets.astype(np.float64), split_groups)
    return GroundTruth(task, targets, split_groups)


def truth_of(experiment: Experiment) -> GroundTruth | NumberTruth:
    """What is known about the images of an experiment."""
    images = experiment.images
    return find_truth(images.task, images.targets, images.split_groups.of_rows)


def measure(experiment: Experiment, evaluations: Sequence[Evaluation], by: str | None = None) -> dict[str, object]:
    """What metrics.json says about the evaluations of a fit; `by` is a column whose values get an accuracy each."""
    truth = truth_of(experiment)
    found = {evaluation.name: evaluation for evaluation in evaluations if len(evaluation.images)}
    scores = {name: truth.score(evaluation.images, evaluation.probabilities) for name, evaluation in found.items()}
    headline = next(name for name in _MOST_TELLING_FIRST if name in scores)
    return {
        **{name: scores[name].to_dict() if name in scores else None for name in (VALIDATION, TEST, CV)},
        "baseline": truth.baseline(experiment.split.train, found[headline].images).to_dict(),
        **truth.headline(headline, scores[headline].to_dict()),
        **truth.decided([evaluation for name, evaluation in found.items() if name != TRAIN]),
        **({} if by is None else {"by": truth.by_column(experiment.images.rows, by, found[headline])}),
    }


def prediction_table(experiment: Experiment, evaluations: Sequence[Evaluation]) -> pa.Table:
    """The content of predictions.parquet: one row per image and evaluation, which the column split names."""
    rows, split_groups = experiment.images.rows, experiment.images.split_groups.of_rows
    return pa.concat_tables(
        _predicted(rows, split_groups, evaluation, experiment.task)
        for evaluation in evaluations
        if len(evaluation.images)
    )


def _predicted(rows: ImageRows, split_groups: Positions, evaluation: Evaluation, task: Task) -> pa.Table:
    """The rows of predictions.parquet of one evaluation of some of the images."""
    described = rows.table.take(pa.array(evaluation.images))
    columns = {
        "path": described["path"],
        "label": described["label"],
        **prediction_columns(evaluation.probabilities, task),
        "split": pa.array([evaluation.name] * len(evaluation.images), pa.string()),
        SPLIT_GROUP: pa.array(split_groups[evaluation.images], pa.int64()),
    }
    return pa.table(columns)


def evaluate_head(
    head: Head,
    store: FeatureStore | Sequence[FeatureStore],
    options: EvaluationOptions = ALL_UNSEEN,
    reporter: Reporter = SILENT,
) -> dict[str, object]:
    """Metrics of a head on a store of the same recipe: on all images that it has not seen, or on those of one split.

    Args:
        head: what is evaluated.
        store: the features; for a head on several recipes, a store of each.
        options: which images and labels; the accuracy of each value of a column, if one is named.
        reporter: shows progress, and what is left out.

    Raises:
        RecipeMismatch: the store has another recipe.
        UsageError: labels are missing, the head does not know them, or it has seen all images.
        StoppedEarly: the store is not complete.
    """
    stores = [store] if isinstance(store, FeatureStore) else store
    blocks = stored_blocks(head, stores)
    record, task, seed = head.experiment, head.info.task, head.info.seed
    rows = select_common_images(stores, options.labels, options.exclude_from, reporter)
    selected, by = select_unseen(rows, record, options.split, seed, reporter), options.by
    if by is not None:
        selected.rows.column_values(by, "--by")  # a wrong column is refused before the predictions
    targets = task.encode(selected.rows.texts("label"), selected.rows.texts("path"))
    images = read_unaltered(blocks, selected.rows, reporter)
    probabilities = images.predict(head.predictor, reporter)
    of_test = None if record is None else find_test_groups(selected.rows, rows, record)
    truth = find_truth(task, targets, selected.split_groups.of_rows if of_test is None else of_test)
    every = np.arange(len(targets))
    evaluation = Evaluation(EVALUATION, every, probabilities)
    with reporter.step("scoring", None):
        scores, baseline = truth.score(every, probabilities).to_dict(), _baseline(truth, record).to_dict()
    found = {
        "head": head.info.head,
        "fingerprint": joint_fingerprint([block.store.recipe for block in blocks]),
        "classes": list(task.classes),
        "rows": len(targets),
        "left_out": selected.seen,
        "evaluation": scores,
        "baseline": baseline,
        "baseline_of": "evaluation" if record is None else "training",
        **{name: value for name, value in truth.headline(EVALUATION, scores).items() if name not in _OF_FITS},
        "test_looks": _count_look(head, record, selected.tested, reporter) if record and selected.tested else 0,
        **truth.decided([evaluation]),
        **({} if by is None else {"by": truth.by_column(selected.rows, by, evaluation)}),
    }
    if of_test is not None:
        tested = replace(evaluation, name=TEST)
        measured = {TEST: scores, "baseline": baseline, **truth.headline(TEST, scores), **truth.decided([tested])}
        _keep_test(head, measured, _predicted(selected.rows, of_test, tested, task), reporter)
    elif record and selected.tested:
        _report_excluded(record, options, reporter)
    return found


def _report_excluded(record: ExperimentRecord, options: EvaluationOptions, reporter: Reporter) -> None:
    """Say that images may be here that the fit left out, where that alone had the option."""
    excluded = record.choices.exclude_from
    if excluded is not None and options.exclude_from is None:
        reporter.message(f"note: the head was fitted with --exclude-from {printable(excluded)}: give it here too")


def _baseline(truth: GroundTruth | NumberTruth, record: ExperimentRecord | None) -> Scores | RegressionScores:
    """Scores of the frequencies, or the center, of what the head learned from; of these images, where that is not known."""
    every = np.arange(len(truth.targets))
    if record is None:
        return truth.baseline(every, every)
    if isinstance(truth, NumberTruth):
        return truth.constant(record.training_center, every)
    return truth.constant(np.array(record.class_counts) / record.train, every)


def _count_look(head: Head, record: ExperimentRecord, tested: int, reporter: Reporter) -> int:
    """Count that a head was evaluated on its test images, and report how often that has been done."""
    look = look_now("fit evaluate", tested)
    head.looks = (*head.looks, look)
    if head.folder is None:
        return len(head.looks)
    looks = [*read_looks(head.folder, record.test_digest), look]
    try:
        write_looks(head.folder, record.test_digest, looks)
    except EnvironmentFailure as error:
        reporter.message(f"warning: this evaluation of test images is not counted: {error}")
    beside = looks_beside(head.folder, record.test_digest)
    reporter.message(describe_looks(len(looks), beside))
    return len(looks) + beside


def _keep_test(head: Head, measured: Mapping[str, object], predictions: pa.Table, reporter: Reporter) -> None:
    """Keep what a test gave in the head and its folder, as if `fit head --evaluate-test` had evaluated it.

    Args:
        head: what was evaluated.
        measured: what metrics.json says of the test.
        predictions: the rows of predictions.parquet.
        reporter: says why the folder's files stay as they are, where they do.
    """
    if head.folder is None:
        if head.predictions is not None:
            head.metrics, head.predictions = _with_test(head.metrics, head.predictions, measured, predictions)
        return
    try:
        kept = read_results(head.folder)
        if kept.info != head.info:
            reporter.message(f"note: this test is not kept in {head.folder}, whose head decides without --abstain")
            return
        metrics, rows = _with_test(kept.metrics, kept.predictions, measured, predictions)
        write_test(head.folder, metrics, rows)
        head.metrics = metrics
    except StillframeError as error:
        reporter.message(f"warning: this test is not kept in {head.folder}: {error}")


def _with_test(
    metrics: Mapping[str, Any], predictions: pa.Table, measured: Mapping[str, Any], tested: pa.Table
) -> tuple[dict[str, object], pa.Table]:
    """A head's metrics and predictions with those of a test instead of an earlier one."""
    others = predictions.filter(pc.not_equal(predictions["split"], TEST))
    found = {**metrics, **measured}
    if "decision" in measured:
        decisions = (values["decision"]["measured"] for values in (metrics, measured))
        found["decision"] = {
            **metrics["decision"],
            "measured": {name: one for part in decisions for name, one in part.items()},
        }
    return found, pa.concat_tables([others, tested])
