"""Data and a head -> a fitted head and numbers about it.

The way of a fit: everything is checked before anything is trained; choices are made on train and validation; a
scikit-learn head is fitted again on both; the test rows are looked at once, at the end. Cross-validation stands
beside that: it fits new estimators, whose predictions of the rows they have not seen are all that is kept.
"""

import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fit.data import Features, Source, load_features, reduced_shape
from fit.evaluation import GroundTruth, predict_rows
from fit.head import Head, HeadInfo, installed_versions
from fit.heads.build import Origin, build_estimator
from fit.heads.table import HEADS, Value
from fit.metrics.scores import Scores
from fit.options import FitOptions
from fit.predictions import prediction_columns
from fit.splits import TEST, TRAIN, VALIDATION, Positions, Split, SplitGroups, cut, find_split_groups, folds, split_rows
from fit.task import Labels, encode_known, encode_labels, relabel
from store import FeatureStore, open_store
from store.errors import RecipeMismatch, StoppedEarly, UsageError
from store.files.names import printable
from store.snapshot import all_views

CV = "cv"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Data:
    """What a fit learns from: images of the store, one row each, their labels, units and split; and their features.

    `features` has all `views` of each image, those of image i at i * views and on, the unaltered one first.
    """

    rows: pa.Table
    labels: Labels
    units: SplitGroups
    split: Split
    features: Features
    views: int

    @cached_property
    def targets(self) -> npt.NDArray[Any]:
        """Those of the features' rows."""
        return np.repeat(self.labels.targets, self.views, axis=0)

    def learnt(self, images: Positions) -> Source:
        """All views of those images: what a head learns from."""
        return Source(self.features, all_views(images, self.views), self.targets)

    def judged(self, images: Positions) -> Source:
        """The unaltered views of those images: what a head is judged by."""
        return Source(self.features, images * self.views, self.targets)

    def predict(self, estimator: Any, images: Positions) -> npt.NDArray[np.float64]:
        """Probabilities (images, classes).

        Raises:
            UsageError: they are no numbers.
        """
        probabilities = predict_rows(estimator, self.features, self.judged(images).rows)
        if not np.isfinite(probabilities).all():
            raise UsageError(
                "the head's training came to nothing: its probabilities are not numbers; try a smaller --learning-rate"
            )
        return probabilities

    def truth(self, seed: int) -> GroundTruth:
        """What is known of the images."""
        return GroundTruth(self.labels.classes, self.labels.targets, self.units.of_rows, seed)


def fit_head(
    store: FeatureStore | str | Path, head: str = "logistic", say: Say = lambda _: None, **options: Any
) -> Head:
    """Fit a head on a store's features.

    Args:
        store: the store, or its folder.
        head: its name, see `fit heads`; or module:function.
        say: takes a line of text now and then.
        options: fields of `FitOptions`, such as cv, seed, labels; `parameters` are the head's own.

    Returns:
        The head, with `metrics` and `predictions`; `head.save(folder)` keeps it.

    Raises:
        UsageError: a wrong option, or data that no head can learn from.
        StoppedEarly: the store is not complete.
    """
    try:
        chosen = FitOptions(head=head, **options)
    except TypeError as error:
        raise UsageError(f"{error}; the options are the fields of fit.options.FitOptions") from None
    opened = store if isinstance(store, FeatureStore) else open_store(store)
    return Fit(opened, chosen, say).run()


def require_complete(store: FeatureStore) -> None:
    """Raise StoppedEarly unless every image of the store is a row or a failure."""
    if not store.complete:
        raise StoppedEarly(f"{store.folder} is not finished: run the same `extract run` again, then this command")


class Fit:
    """One fit: its options, resolved against the store. Several fits on the same rows may share what one has loaded."""

    def __init__(self, store: FeatureStore, options: FitOptions, say: Say) -> None:
        self.options = options
        self.store = store
        self.say = say
        self.kind = options.kind
        self.parameters = options.checked_parameters()
        require_complete(store)
        self.output = store.find_output(options.output)
        self.reduction = options.reduction_for(self.output.spatial)

    def run(self) -> Head:
        """See `fit_head`."""
        return self.fit(self.load())

    def fit(self, data: Data) -> Head:
        """The head and its metrics, from data that is loaded."""
        classes = len(data.labels.classes)
        split = data.split
        in_views = f" in {data.views:,} views" if data.views > 1 else ""
        self.say(
            f"fitting {self.kind.name} on {len(split.train):,} images{in_views} of {classes} classes "
            f"({len(split.validation):,} for validation, {len(split.test):,} for test)"
        )
        started = time.perf_counter()
        first = self.fit_on(data, split.train, split.validation)
        predicted = {
            TRAIN: (split.train, data.predict(first, split.train)),
            VALIDATION: (split.validation, data.predict(first, split.validation))
            if len(split.validation)
            else (split.validation, np.empty((0, classes))),
        }
        refits = len(split.validation) and not hasattr(first, "is_network")
        final = self.fit_on(data, split.development, None) if refits else first
        seconds = time.perf_counter() - started
        if self.options.cv:
            predicted[CV] = self.cross_validate(data)
        if len(split.test):
            predicted[TEST] = (split.test, data.predict(final, split.test))
        scores = {
            name: data.truth(self.options.seed).score(*predicted[name]) for name in predicted if len(predicted[name][0])
        }
        metrics = self._metrics(data, scores, seconds, getattr(final, "history_", None))
        return Head(self._info(data), final, metrics, _predictions(data, predicted))

    def load(self) -> Data:
        """Rows, labels, split and features, checked."""
        rows, positions = self.store.images(), np.arange(len(self.store.images()))
        if len(rows) == 0:
            raise UsageError(f"{self.store.folder} has no rows: extract images first")
        if self.options.labels is not None:
            named = len(rows)
            rows, positions, strange = relabel(rows, self.options.labels)
            if len(rows) < named:
                self.say(f"{named - len(rows):,} images of the store are not in {self.options.labels}: left out")
            if strange:
                self.say(f"warning: {strange:,} paths of {self.options.labels} are not in the store")
        labels = encode_labels(rows["label"].to_pylist(), rows["path"].to_pylist())
        if labels.several and not self.kind.several:
            raise UsageError(
                f"some images have several labels (a|b), which the head {self.kind.name} cannot learn: "
                f"use one of {', '.join(kind.name for kind in HEADS.values() if kind.several)}"
            )
        units = find_split_groups(rows["sha256"].to_pylist(), self._groups(rows), self.options.seed)
        split = split_rows(rows["split"].to_pylist(), labels.strata, units, self.options.validation, self.options.test)
        self._tell_twins(rows, split)
        self._check_members(labels, units, split)
        # The estimator is made once before the features are read: a parameter that cannot be is said at once.
        streams = hasattr(self.estimator(len(labels.classes), labels.several), "fit_batches")
        views = self.store.recipe.views
        features = load_features(self.store, self.output, self.reduction, all_views(positions, views), streams)
        return Data(rows, labels, units, split, features, views)

    def _groups(self, rows: pa.Table) -> list[str | None] | None:
        column = self.options.group_by
        if column is None:
            return None
        if column not in rows.column_names:
            raise UsageError(
                f"--group-by {column}: there is no such column; choose one of {', '.join(rows.column_names)}"
            )
        groups = [None if value is None else str(value) for value in rows[column].to_pylist()]
        if all(group is None for group in groups):
            raise UsageError(
                f"--group-by {column}: no image has one; give the groups in the table that is extracted, "
                "or with --labels FILE (path,label,group)"
            )
        return groups

    def _tell_twins(self, rows: pa.Table, split: Split) -> None:
        counts = Counter(rows["sha256"].to_pylist())
        twins = sum(count for count in counts.values() if count > 1)
        if twins:
            sets = sum(count > 1 for count in counts.values())
            self.say(
                f"{twins:,} images are identical to another ({sets:,} different ones): twins stay on one side of a split"
            )
        texts: dict[str, set[str]] = {}
        for digest, label in zip(rows["sha256"].to_pylist(), rows["label"].to_pylist(), strict=True):
            texts.setdefault(digest, set()).add(label)
        torn = sum(len(names) > 1 for names in texts.values())
        if torn:
            self.say(f"warning: {torn:,} identical images bear different labels")
        left_out = len(rows) - len(split.development) - len(split.test)
        if left_out:
            self.say(
                f"{left_out:,} images of train or validation are left out: an identical one, or one of their group, "
                "stands in test or validation"
            )

    def _check_members(self, labels: Labels, units: SplitGroups, split: Split) -> None:
        """Every class needs images to learn from, on each side of every fold too."""
        matrix = labels.targets if labels.several else np.eye(len(labels.classes), dtype=bool)[labels.targets]
        for number, name in enumerate(labels.classes):
            members = np.flatnonzero(matrix[:, number])
            together = len(np.unique(units.of_rows[members]))
            trained = len(np.unique(units.of_rows[np.intersect1d(members, split.train)]))
            if together < 2:
                raise UsageError(
                    f"all {len(members)} images of the class {printable(name)} are identical or of one group: "
                    "they cannot stand on both sides of a split; add others, or leave the class out with --labels FILE"
                )
            if trained < self.kind.members:
                raise UsageError(
                    f"the class {printable(name)} has {trained} different images to train on, the head "
                    f"{self.kind.name} needs {self.kind.members}: add images, lower --val and --test, "
                    "or merge or leave out the class with --labels FILE"
                )

    def estimator(self, classes: int, several: bool) -> Any:
        """A new, unfitted one."""
        shape = reduced_shape(self.output.shape, self.reduction)
        estimator = build_estimator(
            self.kind.name,
            self.parameters,
            shape,
            classes,
            self.options.class_weight,
            self.options.seed,
            several,
            self.options.own,
            Origin(self.store.recipe, self.output, weights_of(self.store)),
        )
        if self.options.tensorboard is not None:
            estimator.tensorboard = self.options.tensorboard
        return estimator

    def fit_on(self, data: Data, rows: Positions, validation: Positions | None) -> Any:
        """A new estimator, fitted on those rows; one that can makes use of a validation.

        Raises:
            UsageError: the library refuses the parameters or the data.
        """
        source = data.learnt(rows)
        estimator = self.estimator(len(data.labels.classes), data.labels.several)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # convergence and the like: the metrics say how good it is
                if not hasattr(estimator, "fit_batches"):
                    from fit.heads.sklearn import fit_arrays

                    units = np.repeat(data.units.of_rows, data.views)[source.rows]
                    fit_arrays(estimator, data.features.take(source.rows), data.targets[source.rows], units)
                elif hasattr(estimator, "is_network"):
                    held_out = data.judged(validation) if validation is not None and len(validation) else None
                    estimator.fit_batches(source, held_out)
                else:
                    estimator.fit_batches(source)
        except UsageError:
            raise
        except ValueError as error:
            raise UsageError(f"the head {self.kind.name} refused: {' '.join(str(error).split())}") from error
        return estimator

    def cross_validate(self, data: Data) -> tuple[Positions, npt.NDArray[np.float64]]:
        """All rows and their probabilities, each from an estimator that has not seen the row or its unit.

        An estimator that uses a validation takes it from the fold's own training rows.
        """
        every = np.arange(len(data.rows))
        strata = data.labels.strata
        probabilities = np.empty((len(every), len(data.labels.classes)))
        for number, held_out in enumerate(folds(every, strata, data.units, self.options.cv), start=1):
            if len(held_out) == 0:
                raise UsageError(f"--cv {self.options.cv}: fold {number} would be empty; ask for fewer folds")
            self.say(f"fold {number} of {self.options.cv}")
            rest = np.setdiff1d(every, held_out)
            train, validation, _ = cut(rest, strata, data.units, self.options.validation, 0.0)
            estimator = self.estimator(len(data.labels.classes), data.labels.several)
            if not hasattr(estimator, "is_network"):
                train, validation = rest, validation[:0]
            fitted = self.fit_on(data, train, validation)
            probabilities[held_out] = data.predict(fitted, held_out)
        return every, probabilities

    def _info(self, data: Data) -> HeadInfo:
        return HeadInfo(
            head=self.kind.name,
            parameters=self.parameters,
            reduction=self.reduction,
            classes=data.labels.classes,
            several=data.labels.several,
            class_weight=self.options.class_weight,
            seed=self.options.seed,
            recipe=self.store.recipe,
            output=self.output,
            weights=weights_of(self.store),
            versions=installed_versions(),
            data=self.store.snapshot.current.data if self.store.snapshot.current else "",
        )

    def _metrics(
        self, data: Data, scores: dict[str, Scores], seconds: float, history: dict[str, list[float]] | None
    ) -> dict[str, Any]:
        headline = next(name for name in (TEST, CV, VALIDATION, TRAIN) if name in scores)
        split = data.split
        rows = {TEST: split.test, CV: np.arange(len(data.rows)), VALIDATION: split.validation, TRAIN: split.train}[
            headline
        ]
        metrics = {
            "head": self.kind.name,
            "fingerprint": self.store.fingerprint,
            "classes": list(data.labels.classes),
            "rows": {TRAIN: len(split.train), VALIDATION: len(split.validation), TEST: len(split.test)},
            **{name: scores[name].to_dict() if name in scores else None for name in (VALIDATION, TEST, CV)},
            "baseline": data.truth(self.options.seed).baseline(split.train, rows).to_dict(),
            "confusion_of": headline,
            "confusion": [list(row) for row in scores[headline].confusion],
            "seconds": round(seconds, 3),
        }
        return metrics if history is None else {**metrics, "history": history}


def weights_of(store: FeatureStore) -> str:
    """Where the weights were that a store was extracted with, as its last record says; imagenet in older ones."""
    places = [record.environment.get("weights", "imagenet") for record in store.snapshot.records.values()]
    return str(places[-1]) if places else "imagenet"


def _predictions(data: Data, predicted: dict[str, tuple[Positions, npt.NDArray[np.float64]]]) -> pa.Table:
    """One row an image and evaluation: train and validation by the head fitted on train, test by the final one, cv."""
    tables = []
    for name, (rows, probabilities) in predicted.items():
        if len(rows) == 0:
            continue
        described = data.rows.take(pa.array(rows))
        columns = prediction_columns(probabilities, data.labels.classes, data.labels.several)
        tables.append(
            pa.table(
                {
                    "path": described["path"],
                    "label": described["label"],
                    **columns,
                    "split": pa.array([name] * len(rows), pa.string()),
                }
            )
        )
    return pa.concat_tables(tables)


def evaluate_head(
    head: Head, store: FeatureStore, labels: str | None = None, split: str | None = None
) -> dict[str, Any]:
    """Metrics of a head on a store of the same recipe: all its rows, or those of one split.

    Raises:
        RecipeMismatch: the store has another recipe.
        UsageError: labels are missing, or the head does not know them.
        StoppedEarly: the store is not complete.
    """
    features, rows, positions = stored_features(head, store, labels, split)
    info = head.info
    targets = encode_known(rows["label"].to_pylist(), info.classes, info.several)
    every = np.arange(len(rows))
    probabilities = predict_rows(head.estimator, features, every)
    units = find_split_groups(rows["sha256"].to_pylist(), None, info.seed)
    truth = GroundTruth(info.classes, targets, units.of_rows, info.seed)
    scores = truth.score(every, probabilities)
    return {
        "head": info.head,
        "fingerprint": store.fingerprint,
        "classes": list(info.classes),
        "rows": len(positions),
        "evaluation": scores.to_dict(),
        "baseline": truth.baseline(every, every).to_dict(),
        "confusion": [list(row) for row in scores.confusion],
    }


def stored_features(
    head: Head, store: FeatureStore, labels: str | None = None, split: str | None = None
) -> tuple[Features, pa.Table, Positions]:
    """A store's unaltered features as the head sees them, their rows, and those rows' positions among the images.

    Raises:
        RecipeMismatch: the store has another recipe than the head.
    """
    require_same_recipe(head, store)
    require_complete(store)
    rows, positions = store.images(), np.arange(len(store.images()))
    if labels is not None:
        rows, positions, _ = relabel(rows, labels)
    if split is not None:
        chosen = np.flatnonzero(np.array(rows["split"].to_pylist(), dtype=object) == split)
        if len(chosen) == 0:
            raise UsageError(f"no rows of split {split!r} in {store.folder}: leave --split out for all rows")
        rows, positions = rows.take(pa.array(chosen)), positions[chosen]
    if len(rows) == 0:
        raise UsageError(f"{store.folder} has no rows: extract images first")
    output, unaltered = head.info.output, positions * store.recipe.views
    return load_features(store, output, head.info.reduction, unaltered, streams=True), rows, positions


def require_same_recipe(head: Head, store: FeatureStore) -> None:
    """Raise RecipeMismatch unless the store's unaltered features are those that the head knows."""
    from store.recipe import differences

    lines = differences(head.info.recipe.unaltered, store.recipe.unaltered, "the head has", "the store has")
    if not lines and store.outputs.get(head.info.output.name) != head.info.output:
        lines = [f"output: the head has {head.info.output}, the store has {list(store.outputs.values())}"]
    if lines:
        raise RecipeMismatch(
            f"{store.folder} was made with another recipe than the head; {'; '.join(lines)}. "
            "Extract with the head's recipe, or fit a head on this store"
        )


def predict_store(head: Head, store: FeatureStore) -> pa.Table:
    """Predictions for a store's rows, as `Head.predict` gives them for images."""
    features, rows, _ = stored_features(head, store)
    probabilities = predict_rows(head.estimator, features, np.arange(len(rows)))
    columns = prediction_columns(probabilities, head.classes, head.info.several)
    return pa.table({"path": rows["path"], **columns, "error": pa.nulls(len(rows), pa.string())})


def parse_settings(settings: list[str]) -> dict[str, Value]:
    """`--set key=value`, repeated.

    Raises:
        UsageError: one has no `=`.
    """
    values: dict[str, Value] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting}: expected key=value, as in --set dropout=0.2")
        values[name.strip()] = value.strip()
    return values
