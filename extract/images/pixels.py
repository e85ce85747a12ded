"""Image files -> pixels as a recipe sees them, without a network: for pictures of what the network was shown."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from extract.bad_image import BadImage
from extract.images.decode import DecodePolicy, decode, decode_policy, without_pillow_limits
from extract.images.memory import BYTES_PER_DECODER, MemoryBudget
from extract.request import MAX_PIXELS
from extract.runtimes.device import usable_cores
from extract.sources.reading import concurrent_map, listed_status, open_images, read_image
from store.files.base import ReadableFiles
from store.recipe import Recipe

_IN_MEMORY = 256


def read_pixels(
    root: str | os.PathLike[str], names: Sequence[str], recipe: Recipe
) -> Iterator[npt.NDArray[np.uint8] | BadImage]:
    """The unaltered pixels of images, (height, width, 3) of the recipe's size, or what is wrong with each; in order.

    Args:
        root: the folder or URL that the names are relative to.
        names: row names.
        recipe: how pixels are made.

    Raises:
        EnvironmentFailure: an image cannot be read now.
    """
    policy = decode_policy(recipe, MAX_PIXELS)
    files = open_images(root)
    memory = MemoryBudget(usable_cores() * BYTES_PER_DECODER)
    for start in range(0, len(names), _IN_MEMORY):
        part = names[start : start + _IN_MEMORY]
        with without_pillow_limits(), ThreadPoolExecutor(max(usable_cores(), files.concurrency)) as threads:
            pixels = list(threads.map(lambda name: _read(files, name, policy, memory), part))
        yield from pixels


def _read(
    files: ReadableFiles, name: str, policy: DecodePolicy, memory: MemoryBudget
) -> npt.NDArray[np.uint8] | BadImage:
    try:
        return decode(read_image(files, name).data, policy, memory).pixels
    except BadImage as error:
        return error


def any_present(root: str | os.PathLike[str], names: Sequence[str]) -> bool:
    """Whether any of these images, by row name, is in the folder or at the URL."""
    files = open_images(root)
    return any(size > 0 for size, _ in concurrent_map(files, lambda name: listed_status(files, name), names))
