"""Numbers about predictions: an evaluation of some rows, beside what guessing the commonest class would give."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fit.data import Features
from fit.metrics.scores import Scores, score_classes, score_labels
from fit.splits import Positions

_READ_ROWS = 1024


@dataclass(frozen=True)
class GroundTruth:
    """What is known of all rows: targets as in `Labels`, and the units that are drawn together."""

    classes: tuple[str, ...]
    targets: npt.NDArray[Any]
    units: Positions
    seed: int

    def score(self, rows: Positions, probabilities: npt.NDArray[np.float64]) -> Scores:
        """Scores of those rows, whose probabilities are given in the same order."""
        measure = score_labels if self.targets.ndim == 2 else score_classes
        return measure(self.targets[rows], probabilities, self.classes, self.units[rows], self.seed)

    def baseline(self, train: Positions, rows: Positions) -> Scores:
        """Scores that the class frequencies of the training rows alone would have: always the commonest class."""
        learnt = self.targets[train]
        counts = learnt.sum(axis=0) if learnt.ndim == 2 else np.bincount(learnt, minlength=len(self.classes))
        return self.score(rows, np.tile(counts / len(train), (len(rows), 1)))


def predict_rows(estimator: Any, features: Features, rows: Positions) -> npt.NDArray[np.float64]:
    """Probabilities of those rows (rows, classes), read in batches."""
    parts = [estimator.predict_proba(values) for values, _ in features.batches(rows, _READ_ROWS, None)]
    return np.concatenate(parts).astype(np.float64)
