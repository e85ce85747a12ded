"""Ridge-penalized softmax regression, fitted in the coordinates in which it is quick.

    minimize over W and b    C * sum_i s_i * -log softmax(x_i W + b)[y_i]  +  |W|^2 / 2

as scikit-learn's LogisticRegression does, whose results it has. In the coordinates of the rows' principal axes the
penalty is the same, the Hessian is nearly diagonal, and its diagonal is known beforehand. With that as a preconditioner,
L-BFGS (Liu and Nocedal 1989, Mathematical Programming 45, 503) takes tens of steps, where it takes hundreds on the
features themselves. The axes are found once for all folds and all C.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import OptimizeResult, minimize
from scipy.special import log_softmax

from fit.arrays import AnyFloats, Ints

_MOST_AXES = 4096  # beyond these, finding the axes takes longer than doing without
_MEMORY = 10  # steps that L-BFGS remembers
_MOST_STEPS = 2000
_COARSE = 1e-2  # tolerance while choosing
_LEFT_OUT = 1e-3  # of the variance, while choosing
_LAST = 5  # steps that the tolerance is about


@dataclass(frozen=True)
class Rotated:
    """Rows in the coordinates of their principal axes: rows @ axes.

    Attributes:
        values: (rows, axes), float32.
        axes: (features, axes), orthonormal columns; None where the rows are as they were.
        strength: (axes,), the mean square along each axis.
    """

    values: AnyFloats
    axes: AnyFloats | None
    strength: AnyFloats


@dataclass(frozen=True)
class Softmax:
    """Weights (axes or features, classes), of which each row sums to 0, and a bias (classes,)."""

    weights: AnyFloats
    bias: AnyFloats

    def log_probabilities(self, values: AnyFloats) -> AnyFloats:
        """(rows, classes), in float64."""
        scores = values @ self.weights.astype(values.dtype) + self.bias.astype(values.dtype)
        found: AnyFloats = log_softmax(scores.astype(np.float64), axis=1)
        return found


def rotate(rows: AnyFloats) -> Rotated:
    """Find the principal axes of rows (rows, features), of which there are no more than rows."""
    values = np.ascontiguousarray(rows, np.float32)
    count, features = values.shape
    if min(count, features) > _MOST_AXES:
        return Rotated(values, None, np.square(values, dtype=np.float64).mean(axis=0))
    if count < features:
        strength, left = eigh((values @ values.T).astype(np.float64))
        kept = strength > strength[-1] * np.finfo(np.float32).eps
        axes = values.T @ (left[:, kept] / np.sqrt(strength[kept])).astype(np.float32)
    else:
        strength, axes = eigh((values.T @ values).astype(np.float64))
        kept = strength > strength[-1] * np.finfo(np.float32).eps
        axes = axes[:, kept].astype(np.float32)
    return Rotated(values @ axes, axes, strength[kept] / count)


def fit_softmax(
    rows: Rotated,
    targets: Ints,
    row_weights: AnyFloats,
    c: float,
    start: Softmax | None = None,
    tolerance: float = 1e-4,
) -> Softmax:
    """The minimum, in the rotated coordinates.

    Args:
        rows: what to learn from.
        targets: (rows,), classes from 0, each of which occurs.
        row_weights: (rows,), what an error on each row counts.
        c: the inverse strength of the penalty.
        start: where to begin: the solution for another C is near.
        tolerance: it ends where five steps have lessened the objective by less than this part of it.
    """
    classes, total = int(targets.max()) + 1, float(row_weights.sum())
    curvature = (1 - 1 / classes) / classes  # of the loss of one row at equal probabilities
    penalty = 1 / (c * total)
    scale = 1 / np.sqrt(np.append(curvature * rows.strength + penalty, curvature))[:, None]
    shares = (row_weights / total).astype(np.float64)
    one_hot = np.arange(len(targets)), targets

    def loss(flat: AnyFloats) -> tuple[float, AnyFloats]:
        parameters = flat.reshape(-1, classes) * scale
        weights, bias = parameters[:-1], parameters[-1]
        logs = log_softmax(rows.values @ weights.astype(np.float32) + bias.astype(np.float32), axis=1)
        value = -shares @ logs[one_hot].astype(np.float64) + penalty * np.square(weights).sum() / 2
        errors = np.exp(logs)
        errors[one_hot] -= 1
        errors *= shares[:, None].astype(np.float32)
        gradient = np.vstack([rows.values.T @ errors + penalty * weights, errors.sum(axis=0, dtype=np.float64)])
        return float(value), (gradient * scale).ravel().astype(np.float64)

    first = np.zeros((len(scale), classes)) if start is None else np.vstack([start.weights, start.bias]) / scale
    options = {"maxcor": _MEMORY, "maxiter": _MOST_STEPS, "maxfun": 2 * _MOST_STEPS, "gtol": 0.0, "ftol": 0.0}
    stop = _Settled(tolerance)
    found = minimize(loss, first.ravel(), jac=True, method="L-BFGS-B", options=options, callback=stop)
    parameters = found.x.reshape(-1, classes) * scale
    parameters -= parameters.mean(axis=1, keepdims=True)
    return Softmax(parameters[:-1], parameters[-1])


class _Settled:
    """Ends a minimization where `_LAST` steps have lessened the objective by less than `tolerance` times it.

    A limit for the gradient would not do: with a weak penalty and separable classes the gradient is small long
    before the end, and what was stopped early would look like the best C.
    """

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._values: list[float] = []

    def __call__(self, intermediate_result: OptimizeResult) -> None:
        """As `scipy.optimize.minimize` calls it after each step."""
        self._values.append(float(intermediate_result.fun))
        if (
            len(self._values) > _LAST
            and self._values[-1 - _LAST] - self._values[-1] < self._tolerance * self._values[-1]
        ):
            raise StopIteration


class FoldLosses:
    """The log loss of any C on folds; each fold's solution is where its next one begins.

    Args:
        rows: of all folds.
        targets: (rows,), classes from 0.
        row_weights: (rows,).
        splits: for each fold the rows to learn from, in which every class occurs, and those to predict.
    """

    def __init__(
        self, rows: Rotated, targets: Ints, row_weights: AnyFloats, splits: Sequence[tuple[Ints, Ints]]
    ) -> None:
        rows = _main_axes(rows)
        self._targets, self._row_weights, self._splits = targets, row_weights, splits
        self._sides = [
            (Rotated(rows.values[learn], None, rows.strength), rows.values[predict]) for learn, predict in splits
        ]
        self._found: list[Softmax | None] = [None] * len(splits)

    def __call__(self, c: float) -> float:
        """The weighted mean log loss of the rows that the folds predict."""
        total = weight = 0.0
        for number, ((learn, predict), (inside, outside)) in enumerate(zip(self._splits, self._sides, strict=True)):
            found = fit_softmax(
                inside, self._targets[learn], self._row_weights[learn], c, self._found[number], tolerance=_COARSE
            )
            self._found[number] = found
            logs = found.log_probabilities(outside)[np.arange(len(predict)), self._targets[predict]]
            total -= float(self._row_weights[predict] @ logs)
            weight += float(self._row_weights[predict].sum())
        return total / weight


def _main_axes(rows: Rotated) -> Rotated:
    """Without the axes that hold the last thousandth of the variance: three times as quick, and as good to choose by."""
    order = np.argsort(-rows.strength, kind="stable")
    shares = np.cumsum(rows.strength[order]) / rows.strength.sum()
    kept = order[: int(np.searchsorted(shares, 1 - _LEFT_OUT)) + 1]
    return Rotated(np.ascontiguousarray(rows.values[:, kept]), None, rows.strength[kept])


def unrotate(rows: Rotated, found: Softmax) -> Softmax:
    """The solution in the coordinates of the features."""
    return found if rows.axes is None else Softmax(rows.axes.astype(np.float64) @ found.weights, found.bias)


def penalty_share(classes: int) -> float:
    """The factor of C here that gives scikit-learn's: it has one column of weights for two classes, with half the penalty
    of our two.
    """
    return 0.5 if classes == 2 else 1.0
