"""Small copies of images as text, for pages that hold them themselves, up to a number of characters."""

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image, features

from extract.api import BadImage, Reporter
from fit.arrays import Pixels

SIDE = 128
"""The longer side of a thumbnail, in pixels."""

MOST_CHARACTERS = 9_000_000
"""The size of all thumbnails of a page, in characters; images beyond it have none."""

_QUALITIES = {"WEBP": 60, "JPEG": 70}
_AT_A_TIME = 256
_THREADS = 4


def encode_images(
    paths: Sequence[str],
    read: Callable[[Sequence[str]], Iterable[Pixels | BadImage]],
    shrink: Callable[[str, Pixels], Pixels],
    reporter: Reporter,
) -> Iterator[tuple[str, Pixels, str]]:
    """Path, thumbnail and base64 text of images, in their order, until there are MOST_CHARACTERS.

    Args:
        paths: the most needed first; those that cannot be read are left out.
        read: the pixels of some of them.
        shrink: makes the thumbnail of a path and its pixels.
        reporter: shows progress.

    Raises:
        EnvironmentFailure: an image cannot be read now.
    """

    def encode(image: tuple[str, Pixels]) -> tuple[str, Pixels, str]:
        small = shrink(*image)
        return image[0], small, to_base64(small)

    characters = 0
    with reporter.step("reading thumbnails", len(paths)) as progress, ThreadPoolExecutor(_THREADS) as threads:
        for start in range(0, len(paths), _AT_A_TIME):
            part, found = paths[start : start + _AT_A_TIME], list[tuple[str, Pixels]]()
            for path, pixels in zip(part, read(part), strict=True):
                progress.advance(1, 0)
                if not isinstance(pixels, BadImage):
                    found.append((path, pixels))
            for path, small, text in threads.map(encode, found):
                characters += len(text)
                if characters > MOST_CHARACTERS:
                    return
                yield path, small, text


def to_base64(pixels: Pixels) -> str:
    """An image file of `mime_type`, as base64 text."""
    file, kind = io.BytesIO(), _kind()
    Image.fromarray(pixels).save(file, kind, quality=_QUALITIES[kind])
    return base64.b64encode(file.getvalue()).decode("ascii")


def mime_type() -> str:
    """The kind of file that thumbnails are."""
    return f"image/{_kind().lower()}"


def data_uri(text: str) -> str:
    """What a page takes for an image's address, of what `to_base64` gives."""
    return f"data:{mime_type()};base64,{text}"


def _kind() -> str:
    return "WEBP" if features.check("webp") else "JPEG"
