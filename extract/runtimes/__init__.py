"""Runtimes: compiled functions from a uint8 batch to float32 tensors, preprocessing inside.

Nothing outside a runtime knows which library computes.
"""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from extract.quiet import quiet_start
from store.errors import UsageError

BACKENDS = ("tensorflow", "jax", "torch")


class Runtime(Protocol):
    """A network, cut and compiled, on this machine's device."""

    shapes: Sequence[tuple[int, ...]]
    """One image's shape of each output."""

    environment: Mapping[str, str]
    """What commit records say of it: runtime, device, versions."""

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """Float32 tensors of shape (batch, *shape), one an output, for pixels of (batch, height, width, 3)."""
        ...


def require_backend() -> None:
    """Raise UsageError unless the library that KERAS_BACKEND names is one of BACKENDS and installed."""
    name = os.environ.get("KERAS_BACKEND") or "tensorflow"
    if name not in BACKENDS:
        raise UsageError(f"KERAS_BACKEND is {name!r}: expected {', '.join(BACKENDS)}, or nothing for tensorflow")
    if importlib.util.find_spec(name) is None:
        raise UsageError(f"KERAS_BACKEND is {name!r}, which is not installed: `pip install {name}`, or choose another")


def start_keras(debug: bool = False) -> None:
    """Import Keras and wake its backend, without the noise that both make unless `debug`.

    Raises:
        UsageError: see `require_backend`.
    """
    require_backend()
    with quiet_start(debug):
        import keras

        keras.ops.zeros(())
