"""The head `dense` for a regression: the same layers, with a linear output and the squared error."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from fit.arrays import Matrix
from fit.data import Source
from fit.heads.keras import Dense
from fit.heads.network import Training


@dataclass(eq=False, repr=False, kw_only=True)
class DenseRegressor(Dense):
    """Dense, Dropout, and a linear layer with one output.

    It learns numbers that are scaled to mean 0 and deviation 1; the last layer then takes the scale over, so that the model
    gives numbers as they are.
    """

    def fit_batches(self, source: Source, validation: Source | None = None) -> Self:
        """See `Network`; targets are numbers."""
        self.start(source.features.shape, 1, False)
        learned = source.targets[source.rows].astype(np.float64)
        mean, deviation = float(learned.mean()), float(learned.std()) or 1.0

        def scaled(part: Source) -> Source:
            return replace(part, targets=(part.targets.astype(np.float64) - mean) / deviation)

        self._train(scaled(source), None if validation is None else scaled(validation))
        kernel, bias = self.model_.layers[-1].get_weights()
        self.model_.layers[-1].set_weights([kernel * deviation, bias * deviation + mean])
        return self

    def start(self, shape: Sequence[int], count: int, multi_label: bool) -> None:  # noqa: ARG002
        """See `Network`."""
        self.classes_, self.multi_label_ = np.arange(0), False
        self.model_ = self.build(shape, 1, "linear")

    def training(self) -> Training:
        """See `Network`."""
        return Training("mean_squared_error", np.float32, ())

    def predict_proba(self, X: Matrix) -> npt.NDArray[np.float64]:
        """(rows, 1): the numbers."""
        return self.outputs(X)
