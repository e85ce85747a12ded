"""A head on several blocks of features, none of which decides by its size.

Each block is multiplied by one number, so that all blocks have the same total variance over the rows that the head learns
from, and a feature has a variance of 1 on average: the block scaling of multiblock analysis (Westerhuis, Kourti &
MacGregor 1998, Journal of Chemometrics 12, 301-321). What is large and small within a block stays so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fit.data import Features, Scaled, Source
from fit.heads.base import Classifier, Predictor
from fit.splits import Positions

if TYPE_CHECKING:
    import keras
    from sklearn.base import ClassifierMixin

_READ_ROWS = 1024


def block_scales(features: Features, rows: Positions, widths: Sequence[int]) -> tuple[float, ...]:
    """What each block is multiplied by, so that all have the same total variance over those rows.

    Args:
        features: of all blocks side by side.
        rows: over which the variance is taken.
        widths: how many columns each block has.

    Returns:
        One factor per block; 1 for a block that is constant.
    """
    total, squares = np.zeros(sum(widths)), np.zeros(sum(widths))
    shift: npt.NDArray[np.float64] | None = None
    for values, _ in features.batches(rows, _READ_ROWS, None):
        # Less the first batch's mean, for the difference of two large sums would lose small variances.
        shift = values.mean(axis=0, dtype=np.float64) if shift is None else shift
        centered = values - shift
        total += centered.sum(axis=0)
        squares += (centered**2).sum(axis=0)
    variances = squares / len(rows) - (total / len(rows)) ** 2
    blocks = np.split(variances, np.cumsum(widths)[:-1])
    share = sum(widths) / len(widths)
    return tuple(float(np.sqrt(share / block.sum())) if block.sum() > 0 else 1.0 for block in blocks)


def column_factors(scales: Sequence[float], widths: Sequence[int]) -> npt.NDArray[np.float32]:
    """(columns,): the factor of each column of blocks side by side."""
    return np.repeat(np.array(scales, np.float32), widths)


@dataclass(frozen=True)
class BalancedPredictor(Predictor):
    """A fitted head on several blocks; `model` takes them scaled.

    Attributes:
        inner: the head on scaled features.
        factors: (columns,), what the features are multiplied by.
    """

    inner: Predictor
    factors: npt.NDArray[np.float32]

    @property
    def is_network(self) -> bool:
        """See `Predictor`."""
        return self.inner.is_network

    @property
    def model(self) -> "keras.Model | ClassifierMixin":
        """See `Predictor`."""
        return self.inner.model

    def predict_proba(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        """See `Predictor`."""
        return self.inner.predict_proba(features * self.factors)


@dataclass
class BalancedClassifier(Classifier):
    """A head on several blocks that can be fitted.

    Attributes:
        inner: the head on scaled features.
        widths: how many columns each block has.
        scales: what each block is multiplied by, once the head is fitted.
    """

    inner: Classifier
    widths: tuple[int, ...]
    scales: tuple[float, ...] = field(default=(), init=False)

    @property
    def is_network(self) -> bool:
        """See `Predictor`."""
        return self.inner.is_network

    @property
    def stops_early(self) -> bool:
        """See `Classifier`."""
        return self.inner.stops_early

    @property
    def streams(self) -> bool:
        """See `Classifier`."""
        return self.inner.streams

    @property
    def model(self) -> "keras.Model | ClassifierMixin":
        """See `Predictor`."""
        return self.inner.model

    @property
    def chosen(self) -> Mapping[str, object]:
        """See `Classifier`."""
        return self.inner.chosen

    @property
    def history(self) -> Mapping[str, Sequence[float]] | None:
        """See `Classifier`."""
        return self.inner.history

    def fit(self, source: Source, validation: Source | None, split_groups: npt.NDArray[np.int64]) -> None:
        """See `Classifier`."""
        self.scales = block_scales(source.features, source.rows, self.widths)
        scaled = Scaled(source.features, column_factors(self.scales, self.widths))
        learned = Source(scaled, source.rows, source.targets)
        stopped = None if validation is None else Source(scaled, validation.rows, validation.targets)
        self.inner.fit(learned, stopped, split_groups)

    def predict_proba(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        """See `Predictor`."""
        return self.inner.predict_proba(features * column_factors(self.scales, self.widths))
