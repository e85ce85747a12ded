"""Labels and probabilities -> numbers with bootstrap 95 % intervals. Pure: the same input and seed give the same numbers.

A metric is computed from weighted rows: its value from all rows once, its interval from resamples, in which a row
drawn k times has weight k (the percentile bootstrap, Efron & Tibshirani 1993, An Introduction to the Bootstrap,
chapter 13). What is drawn is a *unit*, rows that belong together; a resample has as many units as the data.
A metric that is undefined (0 / 0) is NaN in here and None outside; resamples in which it is undefined are left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "log_loss", "calibration_error", "roc_auc")
"""The fields of `Scores` that are intervals."""

CALIBRATION_BINS = 15
_QUANTILE = 1.959964  # of the normal distribution, for 95 %
SMALLEST_PROBABILITY = 1e-15
"""The log loss takes no probability for smaller than this, so that one sure mistake is not infinitely bad."""

CHUNK_CELLS = 2**20
"""Resamples x rows whose weights are held at a time: 8 MiB, of which a few copies are made."""

ROC_CELLS = 2 * 10**9
LEAST_ROC_RESAMPLES = 100
"""The ROC AUC sorts rows by every class, so it has fewer resamples where resamples x rows x classes passes ROC_CELLS."""


@dataclass(frozen=True)
class Interval:
    """A metric and its 95 % interval; None where undefined."""

    value: float | None
    low: float | None
    high: float | None

    def to_dict(self) -> dict[str, float | None]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class ClassScores:
    """One class's precision, recall and F1 (0 where undefined), and how many rows truly are of it."""

    name: str
    precision: float
    recall: float
    f1: float
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Scores:
    """All that is measured of one set of rows.

    `confusion` is rows of true class x predicted class; for labels it is (true negatives, false positives,
    false negatives, true positives) of each class.
    """

    accuracy: Interval
    balanced_accuracy: Interval
    macro_f1: Interval
    log_loss: Interval
    roc_auc: Interval
    calibration_error: Interval
    per_class: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]
    rows: int

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            **{name: getattr(self, name).to_dict() for name in METRICS},
            "per_class": [scores.to_dict() for scores in self.per_class],
            "confusion": [list(row) for row in self.confusion],
            "rows": self.rows,
        }


def score_classes(
    targets: Ints,
    probabilities: npt.NDArray[np.floating],
    classes: Sequence[str],
    units: Ints | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Scores:
    """Scores of rows that each have one class; the class with the highest probability is predicted.

    Balanced accuracy is over the classes that occur in `targets`, macro F1 over those that occur in `targets` or
    among the predicted. The ROC AUC of two classes is that of the second's probability; of more, the mean of one
    against the rest over the classes that occur in `targets`. The calibration error is the expected one of the
    predicted class, with 15 bins of equal width (Guo et al. 2017, arXiv:1706.04599, equation 5).

    The ROC AUC's interval takes 2e9 / (rows x classes) resamples where that is fewer, but at least 100: 400 for
    5,000 rows x 1,000 classes.

    Args:
        targets: (rows,), positions in `classes`.
        probabilities: (rows, classes); a row may be off a sum of 1 by rounding.
        classes: their names.
        units: (rows,), rows with the same number are drawn together; None: each row by itself.
        seed: of the resamples.
        resamples: how many; with 0 there are no intervals.

    Raises:
        ValueError: the shapes do not fit together.
    """
    targets, chances = np.asarray(targets, np.int64), np.asarray(probabilities, np.float64)
    _check_shapes(targets, chances, (len(chances),), classes, units)
    count = len(classes)
    predicted = chances.argmax(axis=1)
    correct = predicted == targets
    rows = np.arange(len(targets))
    certainty = chances[rows, predicted]

    def tally(weights: Ints) -> tuple[Ints, Ints, Ints]:
        hits = _class_sums(weights[:, correct], targets[correct], count)
        return _class_sums(weights, targets, count), _class_sums(weights, predicted, count), hits

    def rates(weights: Ints) -> tuple[Floats, Floats]:
        true, guessed, hits = tally(weights)
        return _mean(_ratio(hits, true)), _mean(_f1(true, guessed, hits))

    data = _Data(
        means=np.column_stack(
            [correct, _log_loss(chances[rows, targets]), _gaps(correct[:, None], certainty[:, None])]
        ),
        rates=rates,
        ranks=_ranks(chances, (targets == column for column in range(count)), [1] if count == 2 else range(count)),
    )
    confusion = np.bincount(targets * count + predicted, minlength=count**2).reshape(count, count)
    return _scores(data, _per_class(classes, *tally(_once(len(targets)))), confusion, units, seed, resamples)


def score_labels(
    targets: Bools,
    probabilities: npt.NDArray[np.floating],
    classes: Sequence[str],
    units: Ints | None = None,
    seed: int = 0,
    resamples: int = 1000,
) -> Scores:
    """Scores of rows that each have any number of classes; those with a probability of at least 0.5 are predicted.

    Accuracy asks for the exact set. Balanced accuracy is the mean over classes that occur in `targets` of the
    class's own (of its recall alone where every row has the class), macro F1 over those that occur in `targets` or
    among the predicted, ROC AUC over those that some rows have and some have not. Log loss is the mean binary
    cross-entropy, and the calibration error that of every (row, class) decision.

    Args:
        targets: (rows, classes), whether the row has the class.
        probabilities: (rows, classes).
        classes: their names.
        units: as `seed` and `resamples` and their limit, see `score_classes`.
        seed: see `score_classes`.
        resamples: see `score_classes`.

    Raises:
        ValueError: the shapes do not fit together.
    """
    targets, chances = np.asarray(targets, np.bool_), np.asarray(probabilities, np.float64)
    _check_shapes(targets, chances, chances.shape, classes, units)
    predicted = chances >= 0.5
    correct = predicted == targets

    def tally(weights: Ints) -> tuple[Ints, Ints, Ints]:
        true, guessed, hits = (_column_sums(weights, marks) for marks in (targets, predicted, targets & predicted))
        return true, guessed, hits

    def rates(weights: Ints) -> tuple[Floats, Floats]:
        true, guessed, hits = tally(weights)
        false = weights.sum(axis=1, keepdims=True) - true
        recalls = np.stack([_ratio(hits, true), _ratio(false - guessed + hits, false)])
        balanced = np.where(true > 0, _mean(np.moveaxis(recalls, 0, -1)), np.nan)
        return _mean(balanced), _mean(_f1(true, guessed, hits))

    certainty, loss = np.maximum(chances, 1 - chances), _log_loss(np.where(targets, chances, 1 - chances))
    data = _Data(
        means=np.column_stack([correct.all(axis=1), loss.mean(axis=1), _gaps(correct, certainty)]),
        rates=rates,
        ranks=_ranks(chances, iter(targets.T), range(len(classes))),
    )
    true, guessed, hits = tally(_once(len(targets)))
    confusion = np.stack([len(targets) - true - guessed + hits, guessed - hits, true - hits, hits], axis=-1)[0]
    return _scores(data, _per_class(classes, true, guessed, hits), confusion, units, seed, resamples)


def paired_difference(first: Bools, second: Bools, seed: int = 0, resamples: int = 1000) -> Interval:
    """How much more often `first` is right than `second` on the same rows: accuracy against accuracy.

    Rows are drawn in pairs, so that what is hard for both counts for neither.

    Args:
        first: (rows,), whether it is right.
        second: (rows,), likewise.
        seed: of the resamples.
        resamples: how many.

    Raises:
        ValueError: the shapes do not fit together.
    """
    if first.shape != second.shape:
        raise ValueError(f"{len(first)} rows of the one, {len(second)} of the other: they do not fit")
    gains = first.astype(np.float64) - second
    drawn = [weights @ gains / len(gains) for _, weights in _resamples(len(gains), None, seed, resamples)]
    return _interval(float(gains.mean()) if len(gains) else np.nan, np.concatenate(drawn) if drawn else gains)


@dataclass(frozen=True)
class Bin:
    """Decisions of like certainty: their mean certainty, how many are right, with a 95 % interval, and their number."""

    certainty: float
    accuracy: Interval
    decisions: int


def reliability(certainty: Floats, correct: Bools) -> list[Bin]:
    """The bins of the calibration error that hold any decision.

    Intervals are Wilson's (1927, Journal of the American Statistical Association 22, 209): they stay within 0 and 1.

    Args:
        certainty: (decisions,), the probability given to what was decided.
        correct: (decisions,), whether it is so.
    """
    numbers = _bin_numbers(certainty)
    bins = []
    for number in np.unique(numbers):
        members = numbers == number
        count, share = int(members.sum()), float(correct[members].mean())
        middle = share + _QUANTILE**2 / (2 * count)
        spread = _QUANTILE * np.sqrt(share * (1 - share) / count + _QUANTILE**2 / (4 * count**2))
        scale = 1 + _QUANTILE**2 / count
        low, high = max(0.0, float((middle - spread) / scale)), min(1.0, float((middle + spread) / scale))
        bins.append(Bin(float(certainty[members].mean()), Interval(share, low, high), count))
    return bins


@dataclass(frozen=True)
class _Data:
    """What resampling needs of the rows.

    `means` is (rows, 2 + bins): what is averaged: correct, log loss, and the calibration gap in the column of its bin.
    `rates` gives (balanced accuracy, macro F1), each (resamples,), of weights (resamples, rows).
    `ranks` is one a class whose ROC AUC counts.
    """

    means: Floats
    rates: Callable[[Ints], tuple[Floats, Floats]]
    ranks: list["_Ranks"]


@dataclass(frozen=True)
class _Ranks:
    """Rows by ascending score, where each group of equal scores begins, and which of the ordered rows are positive."""

    order: Ints
    starts: Ints
    positive: Bools

    def area(self, weights: Ints) -> Floats:
        """ROC AUC (resamples,): the fraction of pairs that are in the right order, a tie counting half."""
        ordered = weights[:, self.order].astype(np.float64)
        positives = np.add.reduceat(ordered * self.positive, self.starts, axis=1)
        negatives = np.add.reduceat(ordered * ~self.positive, self.starts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        return _ratio((positives * (below + negatives / 2)).sum(axis=1), pairs)


def _ranks(chances: Floats, positives: Iterator[Bools], columns: Sequence[int]) -> list[_Ranks]:
    ranks = []
    for column, positive in enumerate(positives):
        if column in columns and positive.any():
            order = np.argsort(chances[:, column], kind="stable")
            ordered = chances[order, column]
            starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
            ranks.append(_Ranks(order, starts, positive[order]))
    return ranks


def _scores(
    data: _Data,
    per_class: tuple[ClassScores, ...],
    confusion: Ints,
    units: Ints | None,
    seed: int,
    resamples: int,
) -> Scores:
    rows = len(data.means)
    values = _measure(data, _once(rows), roc=True)[0]
    drawn = []
    least_roc = max(LEAST_ROC_RESAMPLES, ROC_CELLS // max(1, rows * len(data.ranks)))
    for first, weights in _resamples(rows, units, seed, resamples):
        drawn.append(_measure(data, weights, roc=first < least_roc))
    spread = np.concatenate(drawn) if drawn else np.empty((0, len(METRICS)))
    intervals = {
        name: _interval(values[column], spread[:, column][~np.isnan(spread[:, column])])
        for column, name in enumerate(METRICS)
    }
    return Scores(**intervals, per_class=per_class, confusion=tuple(map(tuple, confusion.tolist())), rows=rows)


def _interval(value: float, spread: Floats) -> Interval:
    if np.isnan(value):
        return Interval(None, None, None)
    if len(spread) == 0:
        return Interval(float(value), None, None)
    low, high = np.percentile(spread, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))


def _measure(data: _Data, weights: Ints, roc: bool) -> Floats:
    """(resamples, metrics), in the order of METRICS."""
    means = _ratio(weights @ data.means, weights.sum(axis=1, keepdims=True))
    balanced, f1 = data.rates(weights)
    area = np.full(len(weights), np.nan)
    if roc and data.ranks:
        area = _mean(np.stack([ranks.area(weights) for ranks in data.ranks], axis=-1))
    return np.column_stack([means[:, 0], balanced, f1, means[:, 1], np.abs(means[:, 2:]).sum(axis=1), area])


def _resamples(rows: int, units: Ints | None, seed: int, count: int) -> Iterator[tuple[int, Ints]]:
    """The number of its first resample, and (resamples, rows) of how often each row is drawn, chunk by chunk."""
    if rows == 0:
        return
    numbers = np.arange(rows) if units is None else np.unique(units, return_inverse=True)[1]
    drawn_units = int(numbers.max()) + 1
    rng = np.random.default_rng(seed)
    size = max(1, CHUNK_CELLS // rows)
    for first in range(0, count, size):
        # One draw a resample, so that the stream does not depend on the size of chunks.
        weights = [
            np.bincount(rng.integers(0, drawn_units, drawn_units), minlength=drawn_units)
            for _ in range(min(size, count - first))
        ]
        yield first, np.stack(weights)[:, numbers]


def _check_shapes(
    targets: npt.NDArray[Any], chances: Floats, shape: tuple[int, ...], classes: Sequence[str], units: Ints | None
) -> None:
    if chances.ndim != 2 or chances.shape[1] != len(classes) or targets.shape != shape:
        raise ValueError(
            f"targets {targets.shape}, probabilities {chances.shape} and {len(classes)} classes do not fit"
        )
    if units is not None and len(units) != len(chances):
        raise ValueError(f"{len(units)} units for {len(chances)} rows")


def _once(rows: int) -> Ints:
    return np.ones((1, rows), np.int64)


def _class_sums(weights: Ints, numbers: Ints, count: int) -> Ints:
    """(resamples, classes): the weights of the rows of each class."""
    members = csr_array((np.ones(len(numbers), np.int64), (np.arange(len(numbers)), numbers)), (len(numbers), count))
    sums: Ints = weights @ members
    return sums


def _column_sums(weights: Ints, marks: Bools) -> Ints:
    sums: Ints = weights @ marks.astype(np.int64)
    return sums


def _ratio(numerator: npt.NDArray[Any], denominator: npt.NDArray[Any]) -> Floats:
    """Their quotient, NaN where the denominator is 0."""
    safe = np.where(denominator == 0, 1, denominator)
    return np.where(denominator == 0, np.nan, numerator / safe)


def _mean(values: Floats) -> Floats:
    """Over the last axis, NaN left out; NaN where all are."""
    known = ~np.isnan(values)
    return _ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def _f1(true: Ints, guessed: Ints, hits: Ints) -> Floats:
    return _ratio(2 * hits, true + guessed)


def _log_loss(chances: Floats) -> Floats:
    """Of the probability that was given to what is true."""
    return -np.log(np.clip(chances, SMALLEST_PROBABILITY, 1.0))


def _gaps(correct: Bools, certainty: Floats) -> Floats:
    """(rows, bins): correct - certainty of each decision, averaged over a row's decisions, in the bin of its certainty."""
    rows, decisions = certainty.shape
    gaps = np.zeros((rows, CALIBRATION_BINS))
    np.add.at(gaps, (np.arange(rows)[:, None], _bin_numbers(certainty)), (correct - certainty) / decisions)
    return gaps


def _bin_numbers(certainty: Floats) -> Ints:
    return np.clip(np.ceil(certainty * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)


def _per_class(classes: Sequence[str], true: Ints, guessed: Ints, hits: Ints) -> tuple[ClassScores, ...]:
    precision, recall, f1 = (
        np.nan_to_num(values[0]) for values in (_ratio(hits, guessed), _ratio(hits, true), _f1(true, guessed, hits))
    )
    return tuple(
        ClassScores(name, float(precision[at]), float(recall[at]), float(f1[at]), int(true[0, at]))
        for at, name in enumerate(classes)
    )
