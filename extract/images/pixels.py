"""Image files -> pixels as a recipe sees them, without a network: for pictures of what it was shown."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from extract.images.decode import BadImage, DecodePolicy, decode, decode_policy, own_limits
from extract.request import MAX_PIXELS
from extract.runtimes.device import usable_cores
from extract.sources.reading import Images, images_at
from store.recipe import Recipe

_AT_ONCE = 256  # images in memory


def read_pixels(
    root: str | os.PathLike[str], names: Sequence[str], recipe: Recipe
) -> Iterator[npt.NDArray[np.uint8] | BadImage]:
    """Pixels (height, width, 3) of the recipe's size, unaltered, or what is wrong with the image; in the order given.

    Args:
        root: the folder or URL that the names are relative to.
        names: row names.
        recipe: how pixels are made.
    """
    policy = decode_policy(recipe, MAX_PIXELS)
    images = images_at(os.fspath(root))
    for start in range(0, len(names), _AT_ONCE):
        with own_limits(), ThreadPoolExecutor(max(usable_cores(), images.at_once)) as threads:
            read = list(threads.map(lambda name: _read(images, name, policy), names[start : start + _AT_ONCE]))
        yield from read


def _read(images: Images, name: str, policy: DecodePolicy) -> npt.NDArray[np.uint8] | BadImage:
    try:
        return decode(images.read(name).data, policy).pixels
    except BadImage as error:
        return error
