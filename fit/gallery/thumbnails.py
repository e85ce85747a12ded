"""Small copies of images as their recipe sees them, as data URIs."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from PIL import Image

from extract.api import SILENT, Reporter, read_pixels
from fit.arrays import Pixels
from fit.thumbnails import SIDE, data_uri, encode_images, to_base64
from store.recipe import Recipe


def make_thumbnails(
    root: str | os.PathLike[str], rows: pa.Table, recipe: Recipe, reporter: Reporter = SILENT
) -> dict[str, str]:
    """Data URIs by path; images that cannot be read are left out.

    Args:
        root: the folder or URL that the paths are relative to.
        rows: path, width and height of the images, those that matter most first.
        recipe: how pixels are made; a thumbnail shows what the network is given, in the shape of the image.
        reporter: shows progress.

    Raises:
        EnvironmentFailure: an image cannot be read now.
    """
    paths = list(dict.fromkeys(rows["path"].to_pylist()))
    sizes = dict(zip(rows["path"].to_pylist(), _sizes(rows), strict=True))
    stretched = recipe.crop == "stretch"

    def shrink(path: str, pixels: Pixels) -> Pixels:
        return _resize(pixels, sizes[path] if stretched else (pixels.shape[1], pixels.shape[0]))

    found = encode_images(paths, lambda part: read_pixels(root, part, recipe), shrink, reporter)
    return {path: data_uri(text) for path, _, text in found}


def _sizes(rows: pa.Table) -> Sequence[tuple[int, int]]:
    return list(zip(rows["width"].to_pylist(), rows["height"].to_pylist(), strict=True))


def encode(pixels: Pixels, size: tuple[int, int]) -> str:
    """A data URI of pixels in the shape of an image of that width and height."""
    return data_uri(to_base64(_resize(pixels, size)))


def _resize(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """A thumbnail in the shape of an image of that width and height."""
    scale = SIDE / max(1, *size)
    width, height = (max(1, round(side * scale)) for side in size)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))


def rows_of(table: pa.Table, positions: Sequence[int]) -> pa.Table:
    """The rows of a store's images at these positions, as `make_thumbnails` takes them."""
    return table.select(["path", "width", "height"]).take(pa.array(positions, pa.int64()))


NONE: Mapping[str, str] = {}
"""No thumbnails."""
