"""Images that a program gives as pixels, beside those that it names by path: they go through the pipeline as files do."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from extract.sources.listing import images_named, require_any
from store.errors import UsageError

ImageLike: TypeAlias = str | os.PathLike[str] | Image.Image | npt.NDArray[np.uint8]
"""A path, URL, folder, table or glob pattern; a PIL image; or uint8 (height, width, 3), RGB."""


@dataclass(frozen=True)
class GivenImages:
    """Images in the order given.

    Attributes:
        names: their row names; those given as pixels are `<image 0>` and on, by their position.
        pixels: by name, those given as pixels.
    """

    names: tuple[str, ...]
    pixels: Mapping[str, Image.Image]


def take_images(given: ImageLike | Sequence[ImageLike]) -> GivenImages:
    """The images that paths, folders, tables, patterns, PIL images and arrays stand for.

    Raises:
        UsageError: there are no such files, or something that is not an image.
    """
    names: list[str] = []
    pixels: dict[str, Image.Image] = {}
    for number, image in enumerate(_listed(given)):
        if isinstance(image, str | os.PathLike):
            names += images_named(image)
        else:
            names.append(f"<image {number}>")
            pixels[names[-1]] = _as_image(image)
    if not pixels:
        require_any(names)
    return GivenImages(tuple(names), pixels)


def _listed(given: ImageLike | Sequence[ImageLike]) -> Sequence[ImageLike]:
    """One image as a sequence of one; an array of four dimensions is several images."""
    if isinstance(given, np.ndarray):
        return list(given) if given.ndim == 4 else [given]
    return [given] if isinstance(given, str | os.PathLike | Image.Image) else given


def _as_image(given: object) -> Image.Image:
    if isinstance(given, Image.Image):
        return given
    if isinstance(given, np.ndarray) and given.dtype == np.uint8 and given.ndim == 3 and given.shape[2] == 3:
        return Image.fromarray(given)
    found = f"{given.dtype} of shape {given.shape}" if isinstance(given, np.ndarray) else type(given).__name__
    raise UsageError(
        f"expected a path, a PIL image, or an array of uint8 and shape (height, width, 3), got {found}: "
        "convert it, as in PIL.Image.fromarray"
    )
