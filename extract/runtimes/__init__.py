"""Runtimes: compiled functions from uint8 images to tensors of the stored type, preprocessing inside.

Nothing outside this folder knows which library computes. A runtime takes several calls at once: `start`
puts one under way and returns at once, `result` waits for it, so that a device always has work.
"""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from extract.process_state import quiet_start
from store.errors import UsageError

BACKENDS = ("tensorflow", "jax", "torch")
PRECISIONS = ("float32", "bfloat16", "float16")
RUNTIMES = ("auto", "keras", "openvino")


@dataclass(frozen=True)
class Computed:
    """What one call gave, by output: `tensors` (images, *shape) of the stored type.

    `largest` (images,) is the largest magnitude of each image's tensor before it became the stored type, NaN or
    infinite if any of its values is: so nobody has to look at every value again.
    """

    tensors: Sequence[npt.NDArray[Any]]
    largest: Sequence[npt.NDArray[Any]]


class Pending(Protocol):
    """A call under way."""

    def result(self) -> Computed:
        """Wait for it."""
        ...


class Runtime(Protocol):
    """A network, cut and compiled, on this machine's device."""

    shapes: Sequence[tuple[int, ...]]
    """One image's shape of each output."""

    environment: Mapping[str, str]
    """What commit records say of it: runtime, device, versions."""

    batch_size: int
    """The most images that a call takes; becomes smaller where the device's memory does not suffice."""

    in_flight: int
    """How many calls should be under way at once."""

    def start(self, images: Sequence[npt.NDArray[np.uint8]]) -> Pending:
        """Begin to compute images of (height, width, 3), `batch_size` at most."""
        ...


def backend_name() -> str:
    """The library that Keras computes with: what KERAS_BACKEND says, else tensorflow."""
    return os.environ.get("KERAS_BACKEND") or "tensorflow"


def require_backend() -> None:
    """Raise UsageError unless the library that KERAS_BACKEND names is one of BACKENDS and installed."""
    name = backend_name()
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
    # JAX takes three quarters of each GPU's memory otherwise (docs.jax.dev, gpu_memory_allocation), also in the main
    # process of a run whose workers compute. TensorFlow is told so in extract.runtimes.device.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    with quiet_start(debug):
        import keras

        keras.ops.zeros(())
