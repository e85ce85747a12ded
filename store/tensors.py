"""The arrays that features are stored and computed as."""

import numpy as np
import numpy.typing as npt

from store.errors import EnvironmentFailure
from store.recipe import Output

Tensor = npt.NDArray[np.float16 | np.float32]
"""Features of some rows, (rows, *shape), in the type that they are stored as."""


def empty_rows(rows: int, output: Output) -> Tensor:
    """Memory for the features of that many rows, (rows, *shape), not yet written.

    Raises:
        EnvironmentFailure: there is not enough.
    """
    try:
        return np.empty((rows, *output.shape), output.dtype)
    except (MemoryError, ValueError) as error:  # ValueError: more than can be addressed
        raise EnvironmentFailure(
            f"{rows:,} rows of {output.row_bytes:,} bytes each do not fit into this machine's memory: read "
            "`batches`, or choose a split"
        ) from error
