"""The metrics' array types, and arithmetic in which 0 / 0 is NaN."""

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def ratio(numerator: Ints | Floats, denominator: Ints | Floats) -> Floats:
    """Elementwise quotient, with broadcasting; NaN where the denominator is 0."""
    safe = np.where(denominator == 0, 1, denominator)
    return np.where(denominator == 0, np.nan, numerator / safe)


def mean_of_known(values: Floats) -> Floats:
    """Mean over the last axis, leaving out NaN; NaN where every value is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))
