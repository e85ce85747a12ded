"""Runtimes: compiled functions from a uint8 batch to float32 tensors, preprocessing inside.

Nothing outside a runtime knows which library computes.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class Runtime(Protocol):
    """A network, cut and compiled, on this machine's device."""

    shapes: Sequence[tuple[int, ...]]
    """One image's shape of each output."""

    environment: Mapping[str, str]
    """What commit records say of it: runtime, device, versions."""

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """Float32 tensors of shape (batch, *shape), one an output, for pixels of (batch, height, width, 3)."""
        ...
