"""The protocol of a runtime: a compiled function from uint8 images to tensors of the stored type, preprocessing included.

Nothing outside this package knows which library computes. A runtime has several calls in progress, so that a device never
waits for work: `start` begins a call and returns at once, `result` waits for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from store.tensors import Tensor

_LEAST_PADDED = 32

Pixels = npt.NDArray[np.uint8]
"""RGB values, (height, width, 3) for one image."""


@dataclass(frozen=True)
class Computed:
    """The result of one call.

    Attributes:
        tensors: for each output, (images, *shape) of the stored type.
        largest: for each output, (images,): the largest magnitude in each image's tensor before the cast to the stored
            type; NaN or infinite if any of its values is. So nobody has to look at every value again.
    """

    tensors: Sequence[Tensor]
    largest: Sequence[npt.NDArray[np.float32]]


class Pending(Protocol):
    """A call in progress."""

    def result(self) -> Computed:
        """Wait for it. To be called once: with it the call ends, and another may be started in its place.

        Images that do not fit into a GPU's memory together are computed in smaller parts, and `batch_size` becomes smaller.

        Raises:
            Exception: the library's own: the call failed, or a single image does not fit into the device's memory.
        """
        ...


class Runtime(Protocol):
    """A network, cut and compiled, on this machine's device."""

    @property
    def shapes(self) -> Sequence[tuple[int, ...]]:
        """The shape of each output for one image."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What commit records say about it: runtime, device, versions."""
        ...

    @property
    def batch_size(self) -> int:
        """The most images that a call takes. It becomes smaller for good if the device runs out of memory."""
        ...

    @property
    def in_flight(self) -> int:
        """How many calls should be in progress at once, and the most that may be."""
        ...

    def start(self, images: Sequence[Pixels]) -> Pending:
        """Begin to compute images.

        Args:
            images: up to `batch_size`, each (height, width, 3); or what that was before it became smaller.

        Raises:
            IndexError: `in_flight` calls are in progress already. Not every runtime notices.
        """
        ...


def padded_size(images: int, batch_size: int) -> int:
    """The padded size of a call with this number of images: the next power of two, from 32 on, and `batch_size` at most.

    32 is the automatic batch of a processor, so the features of a short batch are the same to the last bit.
    """
    return min(batch_size, max(_LEAST_PADDED, 1 << (images - 1).bit_length()))
