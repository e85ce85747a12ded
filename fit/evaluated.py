"""What a head's folder says of the images it was judged by: labels, probabilities, and which are wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fit.head import Results
from fit.metrics.scores import Bools, Floats, Scores, score_classes, score_labels
from fit.predictions import class_column, predicted_names
from fit.task import encode_known


@dataclass(frozen=True)
class Evaluated:
    """Images with their labels and probabilities, one row each.

    `targets` is as in `Labels`, `probabilities` (rows, classes).
    """

    classes: Sequence[str]
    paths: Sequence[str]
    labels: Sequence[str]
    targets: npt.NDArray[Any]
    probabilities: Floats

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def several(self) -> bool:
        """Whether a row may have several labels."""
        return self.targets.ndim == 2

    @property
    def predicted(self) -> list[str]:
        """Each row's class, or its classes joined by `|`."""
        return predicted_names(self.probabilities, self.classes, self.several)

    @property
    def right(self) -> Bools:
        """(rows,): whether exactly what is true was predicted."""
        if self.several:
            exact: Bools = ((self.probabilities >= 0.5) == self.targets).all(axis=1)
            return exact
        highest: Bools = self.probabilities.argmax(axis=1) == self.targets
        return highest

    @property
    def certainty(self) -> Floats:
        """(rows,): the probability given to what was predicted; of several labels, to the surest wrong decision."""
        if not self.several:
            highest: Floats = self.probabilities.max(axis=1)
            return highest
        surest: Floats = np.where(self.targets, 1 - self.probabilities, self.probabilities).max(axis=1)
        return surest

    def decisions(self) -> tuple[Floats, Bools]:
        """(decisions,): the certainty of each and whether it is right; one a row, or one a row and label."""
        if not self.several:
            return self.certainty, self.right
        decided = self.probabilities >= 0.5
        return np.maximum(self.probabilities, 1 - self.probabilities).ravel(), (decided == self.targets).ravel()

    def score(self) -> Scores:
        """Its metrics, without intervals."""
        measure = score_labels if self.several else score_classes
        return measure(self.targets, self.probabilities, self.classes, resamples=0)


def evaluated_rows(results: Results, split: str) -> Evaluated:
    """The rows of predictions.parquet of one evaluation: train, validation, test or cv; maybe none."""
    rows = results.predictions.filter(pc.equal(results.predictions["split"], split))
    classes = results.info.classes
    labels = rows["label"].to_pylist()
    return Evaluated(
        classes,
        rows["path"].to_pylist(),
        labels,
        encode_known(labels, classes, results.info.several),
        _probabilities(rows, classes),
    )


def _probabilities(rows: pa.Table, classes: Sequence[str]) -> Floats:
    return np.column_stack([rows[class_column(name)].to_numpy() for name in classes])
