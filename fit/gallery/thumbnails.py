"""Small copies of images as data URIs, for a page that holds them itself."""

import base64
import io
import os
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from extract.api import SILENT, BadImage, Reporter, read_pixels
from store.recipe import Recipe

SIDE = 128
"""Of a thumbnail's longer side, in pixels."""

MOST_CHARACTERS = 9_000_000
"""Of all thumbnails of a page together; what is beyond has none."""

_QUALITY = 70
_AT_A_TIME = 256


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
    uris, characters = dict[str, str](), 0
    paths = list(dict.fromkeys(rows["path"].to_pylist()))
    sizes = dict(zip(rows["path"].to_pylist(), _sizes(rows), strict=True))
    stretched = recipe.crop == "stretch"
    with reporter.step("reading thumbnails", len(paths)) as progress:
        for start in range(0, len(paths), _AT_A_TIME):
            part = paths[start : start + _AT_A_TIME]
            for path, pixels in zip(part, read_pixels(root, part, recipe), strict=True):
                progress.advance(1, 0)
                if isinstance(pixels, BadImage):
                    continue
                uri = encode(pixels, sizes[path] if stretched else (pixels.shape[1], pixels.shape[0]))
                characters += len(uri)
                if characters > MOST_CHARACTERS:
                    return uris
                uris[path] = uri
    return uris


def _sizes(rows: pa.Table) -> Sequence[tuple[int, int]]:
    return list(zip(rows["width"].to_pylist(), rows["height"].to_pylist(), strict=True))


def encode(pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> str:
    """A JPEG file as a data URI: pixels (height, width, 3) in the shape of an image of that width and height."""
    scale = SIDE / max(1, *size)
    shape = tuple(max(1, round(side * scale)) for side in size)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((shape[0], shape[1]), Image.Resampling.BOX).save(file, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def rows_of(table: pa.Table, positions: Sequence[int]) -> pa.Table:
    """Those rows of a store's images, as `make_thumbnails` takes them."""
    return table.select(["path", "width", "height"]).take(pa.array(positions, pa.int64()))


NONE: Mapping[str, str] = {}
"""No thumbnails."""
