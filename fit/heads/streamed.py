"""The head `linear`: softmax regression over batches, its penalty and step size chosen from a grid fitted at once."""

from collections.abc import Sequence
from typing import Self

import numpy as np
from sklearn.preprocessing import StandardScaler

from fit.arrays import Matrix
from fit.data import InMemory, Source
from fit.heads.descent import Axes, RotatedStream, Setting, descend, find_axes, log_losses
from fit.heads.inner import ClassWeight, inner_splits, row_weights
from fit.heads.sklearn import ScaledClassifier, checked, floored, logistic_regression
from fit.heads.softmax import Softmax, penalty_share
from fit.heads.strength import TOO_FEW
from fit.heads.threads import few_threads

_BATCH_SIZE = 1024
_RATES = (0.1, 0.3)  # the first step sizes, as parts of a Newton step
_INNER_FOLDS = 5  # of which one is left out
_LEAST_STEPS = 400  # of few rows, more passes: as many as these steps take


class StreamedSoftmax(ScaledClassifier):
    """Multinomial logistic regression on scaled features, fitted over batches with every setting of a grid at once.

    One of five folds of the rows, whole groups, is left out; the setting with the smallest log loss on it is
    fitted again on all rows.

    Attributes:
        C_: the inverse strength of the regularization that was chosen, as of `Logistic`.
        chosen_: how, as plain values: C, rate, by, left_out, tried (the log loss of each), at_edge (whether C is an end of
            the grid).
        scaler_, model_: the fitted StandardScaler and a LogisticRegression that holds the weights.
    """

    def __init__(
        self,
        smallest: float = 0.001,
        largest: float = 10.0,
        steps: int = 5,
        epochs: int = 4,
        class_weight: ClassWeight = None,
        random_state: int = 0,
    ) -> None:
        self.smallest = smallest
        self.largest = largest
        self.steps = steps
        self.epochs = epochs
        self.class_weight = class_weight
        self.random_state = random_state

    def fit(self, X: Matrix, y: Matrix, groups: Matrix | None = None) -> Self:
        """X: (rows, features); y: (rows,)."""
        X, y = checked(self, X, y)
        every = np.arange(len(X))
        return self.fit_batches(Source(InMemory(X), every, y), every if groups is None else groups)

    def fit_batches(self, source: Source, groups: Matrix) -> Self:
        """One pass for the features' scale, one for their axes, then the descents. groups: (rows of the source,)."""
        y = source.targets[source.rows]
        self.classes_ = np.unique(y)
        self.scaler_ = StandardScaler()
        with few_threads(len(source) * int(np.prod(source.features.shape))):
            for features, _ in source.batches(_BATCH_SIZE, None):
                self.scaler_.partial_fit(features)
            floored(self.scaler_, self.blocks)
            self.n_features_in_ = self.scaler_.n_features_in_
            axes = find_axes(source, self.scaler_, _BATCH_SIZE)
            self.C_, rate, self.chosen_ = self._choose(source, axes, groups)
            (found,) = self._descend(source, axes, [(self.C_, rate)])
        self.model_ = logistic_regression(axes.unrotate(found), self.classes_, self.C_, self.class_weight)
        return self

    def _choose(self, source: Source, axes: Axes, groups: Matrix) -> tuple[float, float, dict[str, object]]:
        """C and the step size, and how they were chosen."""
        strengths = np.geomspace(self.smallest, self.largest, self.steps).tolist()
        splits = inner_splits(source.targets[source.rows], groups, _INNER_FOLDS, self.random_state)
        tried = [(c, rate) for c in strengths for rate in _RATES]
        if not splits:
            c, rate = tried[len(tried) // 2]
            return c, rate, {"C": c, "rate": rate, "by": TOO_FEW}
        inside, outside = (Source(source.features, source.rows[side], source.targets) for side in splits[0])
        main = axes.main()
        losses = log_losses(self._rotated(outside, main), self._descend(inside, main, tried))
        c, rate = tried[int(np.argmin(losses))]
        return (
            c,
            rate,
            {
                "C": c,
                "rate": rate,
                "by": "log loss",
                "left_out": len(outside),
                "tried": {f"C {pair[0]:g}, rate {pair[1]:g}": loss for pair, loss in zip(tried, losses, strict=True)},
                "at_edge": len(strengths) > 1 and c in (strengths[0], strengths[-1]),
            },
        )

    def _descend(self, source: Source, axes: Axes, tried: Sequence[tuple[float, float]]) -> list[Softmax]:
        """The softmax of each pair of C and step size."""
        share = penalty_share(len(self.classes_))
        settings = [Setting(rate, 1 / (c * share * len(source))) for c, rate in tried]
        passes = -(-_LEAST_STEPS // -(-len(source) // _BATCH_SIZE))
        return descend(self._rotated(source, axes), settings, max(self.epochs, passes), self.random_state)

    def _rotated(self, source: Source, axes: Axes) -> RotatedStream:
        y = source.targets[source.rows]
        weights = row_weights(y, self.class_weight)
        of_classes = np.ones(len(self.classes_))
        of_classes[np.searchsorted(self.classes_, y)] = weights / weights.mean()
        return RotatedStream(source, axes, self.classes_, of_classes, _BATCH_SIZE)
