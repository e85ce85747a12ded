"""The arrays that features are stored and computed as."""

import numpy as np
import numpy.typing as npt

Tensor = npt.NDArray[np.float16 | np.float32]
"""Features of some rows, (rows, *shape), in the type that they are stored as."""
