"""The types of numpy arrays that signatures name. What their rows and columns are, docstrings say."""

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]

AnyFloats = npt.NDArray[np.floating]
"""float32 or float64."""

Matrix = npt.NDArray[np.generic]
"""Numbers of any type: what scikit-learn's `X` and `y` may be."""

Pixels = npt.NDArray[np.uint8]
"""RGB: (height, width, 3), or (images, height, width, 3)."""
