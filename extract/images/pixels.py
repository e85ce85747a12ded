"""Image files -> pixels without a network: as a recipe sees them, and small for people to look at."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from extract.bad_image import BadImage
from extract.images.decode import WHOLE, DecodePolicy, decode, decode_policy, parse_color, without_pillow_limits
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
    yield from _read_all(root, names, decode_policy(recipe, MAX_PIXELS))


def read_thumbnails(
    root: str | os.PathLike[str], names: Sequence[str], background: str, side: int
) -> Iterator[npt.NDArray[np.uint8] | BadImage]:
    """Small copies of images, (height, width, 3) with neither side longer than `side`, or what is wrong with each; in order.

    The shape is the image's, an image that is small already is not enlarged, and large JPEGs are decoded at a fraction
    of their size.

    Args:
        root: the folder or URL that the names are relative to.
        names: row names.
        background: the color under transparency.
        side: the length of the longer side, in pixels.

    Raises:
        EnvironmentFailure: an image cannot be read now.
    """
    policy = DecodePolicy((side, side), "bilinear", WHOLE, parse_color(background), MAX_PIXELS, fast=True)
    yield from _read_all(root, names, policy)


def _read_all(
    root: str | os.PathLike[str], names: Sequence[str], policy: DecodePolicy
) -> Iterator[npt.NDArray[np.uint8] | BadImage]:
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
