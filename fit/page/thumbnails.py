"""Small copies of images as text for a page, within a number of bytes, and the average image of each class."""

import base64
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, features

from extract.api import SILENT, BadImage, Reporter, read_thumbnails

SIDE = 128
"""Of a thumbnail's longer side, in pixels."""

MOST_CHARACTERS = 9_000_000
"""Of all thumbnails of a page together."""

_AT_A_TIME = 256
_QUALITY = 60
_THREADS = 4

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ClassAverage:
    """The average image of a class as a data URI, and how many images it is the average of."""

    uri: str
    images: int


@dataclass(frozen=True)
class Thumbnails:
    """Small copies of images.

    Attributes:
        kind: their MIME type.
        encoded: base64, by path; images that cannot be read are not here.
        averages: by the number of the class.
    """

    kind: str
    encoded: Mapping[str, str]
    averages: Mapping[int, ClassAverage]


@dataclass(frozen=True)
class ThumbnailRequest:
    """Which images get a thumbnail.

    Attributes:
        paths: the most needed first.
        averaged: by the number of a class, which of them its average image is made of.
        background: the color under transparency.
    """

    paths: Sequence[str]
    averaged: Mapping[int, Sequence[str]]
    background: str


def make_thumbnails(root: str, asked: ThumbnailRequest, reporter: Reporter = SILENT) -> Thumbnails:
    """Read images and shrink them, until there are MOST_CHARACTERS.

    Raises:
        EnvironmentFailure: an image cannot be read now.
    """
    kind = "WEBP" if features.check("webp") else "JPEG"
    encoded, sums = dict[str, str](), _Sums(asked.averaged)
    characters = 0
    with reporter.step("reading thumbnails", len(asked.paths)) as progress, ThreadPoolExecutor(_THREADS) as threads:
        for start in range(0, len(asked.paths), _AT_A_TIME):
            paths = asked.paths[start : start + _AT_A_TIME]
            read = zip(paths, read_thumbnails(root, paths, asked.background, SIDE), strict=True)
            found = [(path, pixels) for path, pixels in read if not isinstance(pixels, BadImage)]
            for (path, pixels), text in zip(
                found, threads.map(lambda item: _encode(item[1], kind), found), strict=True
            ):
                if characters + len(text) > MOST_CHARACTERS:
                    break
                encoded[path] = text
                characters += len(text)
                sums.add(path, pixels)
            progress.advance(len(paths), 0)
    mime = f"image/{kind.lower()}"
    return Thumbnails(mime, encoded, sums.averages(kind, mime))


def _encode(pixels: Pixels, kind: str) -> str:
    """An image file as base64 text."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=_QUALITY)
    return base64.b64encode(file.getvalue()).decode("ascii")


class _Sums:
    """The sum of each class's images, each stretched to a square."""

    def __init__(self, averaged: Mapping[int, Sequence[str]]) -> None:
        self._classes = dict[str, list[int]]()
        for number, paths in averaged.items():
            for path in paths:
                self._classes.setdefault(path, []).append(number)
        self._sums = {number: np.zeros((SIDE, SIDE, 3), np.float32) for number in averaged}
        self._counts = dict.fromkeys(averaged, 0)

    def add(self, path: str, pixels: Pixels) -> None:
        """Count an image for the classes that it is averaged for."""
        numbers = self._classes.get(path, [])
        if numbers:
            square = np.asarray(Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BILINEAR), np.float32)
            for number in numbers:
                self._sums[number] += square
                self._counts[number] += 1

    def averages(self, kind: str, mime: str) -> dict[int, ClassAverage]:
        """Those of the classes that have any image."""
        return {
            number: ClassAverage(
                f"data:{mime};base64,{_encode(np.round(self._sums[number] / count).astype(np.uint8), kind)}", count
            )
            for number, count in self._counts.items()
            if count
        }
