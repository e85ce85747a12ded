"""Small copies of a head's images, and the average image of each class."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from extract.api import SILENT, BadImage, Reporter, read_thumbnails
from fit.arrays import Pixels
from fit.thumbnails import SIDE, data_uri, encode_images, mime_type, to_base64


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
    """Read images and shrink them, until a page can hold no more.

    Raises:
        EnvironmentFailure: an image cannot be read now.
    """

    def read(paths: Sequence[str]) -> Iterable[Pixels | BadImage]:
        return read_thumbnails(root, paths, asked.background, SIDE)

    encoded, sums = dict[str, str](), _Sums(asked.averaged)
    for path, pixels, text in encode_images(asked.paths, read, lambda _, pixels: pixels, reporter):
        encoded[path] = text
        sums.add(path, pixels)
    return Thumbnails(mime_type(), encoded, sums.averages())


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

    def averages(self) -> dict[int, ClassAverage]:
        """The averages of the classes that have an image."""
        return {
            number: ClassAverage(data_uri(to_base64(np.round(self._sums[number] / count).astype(np.uint8))), count)
            for number, count in self._counts.items()
            if count
        }
