"""What the pixels of images say, in a few numbers for each: copies in other sizes, mirrored ones, odd images."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, BadImage, Reporter, read_pixels
from fit.audit.copies import CopyPairs, pairs_by
from fit.audit.findings import BLURRED, DARK, MIRRORED, NARROW, NEAR_DUPLICATE, TINY, UNIFORM, Finding
from fit.neighbors import NearPairs, near_pairs
from fit.splits import Positions
from store.recipe import Recipe

GRID = 16
"""Pictures are compared as the mean colors of this number of fields in each direction."""

LEAST_SIDE = 32  # pixels of the shorter side
MOST_ASPECT = 4.0  # longer side / shorter side
LEAST_CONTRAST = 3.0  # standard deviation of the brightness, of 255
LEAST_BRIGHTNESS = 16.0  # mean, of 255
LEAST_SHARPNESS = 0.03  # see `Looks`: photographs and drawings blurred by 3 of 224 pixels are below, sharp ones above
MOST_ENLARGED = 2.0  # times the image's own size: beyond it every image is smooth
COMMON = 0.1
"""A property that more than this fraction of the images have is not reported as odd."""

_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


@dataclass(frozen=True)
class Looks:
    """Images whose pixels were read, as the recipe decodes them.

    Attributes:
        rows: (images,), which they are.
        fields: (images, GRID, GRID, 3), mean colors, each image's mean subtracted.
        brightness: (images,), mean of the brightness, 0 to 255.
        contrast: (images,), its standard deviation.
        sharpness: (images,), the standard deviation of its Laplacian (Pech-Pacheco et al. 2000) over that of itself.
        unreadable: how many images could not be read.
    """

    rows: Positions
    fields: npt.NDArray[np.float32]
    brightness: npt.NDArray[np.float32]
    contrast: npt.NDArray[np.float32]
    sharpness: npt.NDArray[np.float32]
    unreadable: int


def read_looks(
    root: str | os.PathLike[str], paths: Sequence[str], rows: Positions, recipe: Recipe, reporter: Reporter = SILENT
) -> Looks:
    """Read images and describe each.

    Args:
        root: the folder or URL that the paths are relative to.
        paths: of all images.
        rows: those to be read.
        recipe: how pixels are made.
        reporter: shows progress.

    Raises:
        EnvironmentFailure: an image cannot be read now.
    """
    read, fields, numbers = list[int](), list[npt.NDArray[np.float32]](), list[tuple[float, float, float]]()
    with reporter.step("looking at images", len(rows)) as progress:
        images = read_pixels(root, [paths[row] for row in rows], recipe)
        for row, pixels in zip(rows.tolist(), images, strict=True):
            progress.advance(1, 0)
            if not isinstance(pixels, BadImage):
                read.append(row)
                fields.append(mean_fields(pixels))
                numbers.append(describe_pixels(pixels))
    described = np.array(numbers, np.float32).reshape(-1, 3)
    grid = np.array(fields, np.float32).reshape(-1, GRID, GRID, 3)
    brightness, contrast, sharpness = described.T
    return Looks(np.array(read, np.int64), grid, brightness, contrast, sharpness, len(rows) - len(read))


def mean_fields(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """(GRID, GRID, 3): mean colors of the fields of pixels (height, width, 3), less the mean of all."""
    values: npt.NDArray[np.float32] = pixels.astype(np.float32)
    for axis in (0, 1):
        edges = np.linspace(0, values.shape[axis], GRID + 1).astype(int)[:-1]
        sizes = np.diff(np.append(edges, values.shape[axis]))
        sums = np.add.reduceat(values, edges, axis=axis)
        # Fewer pixels than fields: a field without any repeats the pixel that it begins with.
        counts = np.maximum(sizes, 1).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        values = (sums / counts).astype(np.float32)
    centered: npt.NDArray[np.float32] = values - values.mean()
    return centered


def describe_pixels(pixels: npt.NDArray[np.uint8]) -> tuple[float, float, float]:
    """Brightness, contrast and sharpness of pixels (height, width, 3), see `Looks`."""
    grey = pixels.astype(np.float32) @ _GREY
    contrast = float(grey.std())
    inner = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * inner
    sharpness = float(laplacian.std()) / contrast if laplacian.size and contrast > 0 else 0.0
    return float(grey.mean()), contrast, sharpness


def pairs_of_looks(looks: Looks, threshold: float) -> tuple[CopyPairs, CopyPairs]:
    """Pairs of the same picture, and of pictures one of which is the other mirrored left to right.

    Args:
        looks: of images.
        threshold: the least correlation of two pictures' fields.
    """
    count = len(looks.rows)
    plain = looks.fields.reshape(count, -1)
    mirrored = looks.fields[:, :, ::-1].reshape(count, -1)
    near = near_pairs(np.concatenate([plain, mirrored]), threshold)
    same = near.second < count
    crossed = (near.first < count) & (near.second > near.first + count)  # each pair once; a picture with itself is none
    other = NearPairs(
        near.first[crossed], near.second[crossed] - count, near.cosines[crossed], int(np.count_nonzero(crossed))
    )
    plainly = NearPairs(near.first[same], near.second[same], near.cosines[same], int(np.count_nonzero(same)))
    return pairs_by(plainly, looks.rows, NEAR_DUPLICATE), pairs_by(other, looks.rows, MIRRORED)


# Odd images


@dataclass(frozen=True)
class Oddity:
    """A way in which images are odd: its kind, those that are so by how much, and how that is written."""

    kind: str
    rows: Positions
    values: npt.NDArray[np.float32]
    reason: str


def odd_sizes(widths: npt.NDArray[np.int64], heights: npt.NDArray[np.int64]) -> list[Oddity]:
    """Images whose size is odd."""
    shorter, longer = np.minimum(widths, heights), np.maximum(widths, heights)
    tiny = np.flatnonzero(shorter < LEAST_SIDE)
    aspect = longer / np.maximum(shorter, 1)
    narrow = np.flatnonzero(aspect > MOST_ASPECT)
    return [
        Oddity(TINY, tiny, shorter[tiny].astype(np.float32), "the shorter side has {:.0f} pixels"),
        Oddity(NARROW, narrow, aspect[narrow].astype(np.float32), "one side is {:.1f} times the other"),
    ]


def odd_looks(looks: Looks, enlarged: npt.NDArray[np.float64]) -> list[Oddity]:
    """Images whose pixels are odd.

    Args:
        looks: what was read.
        enlarged: (all images,), how many times its own size the recipe makes each image.
    """
    uniform = looks.contrast < LEAST_CONTRAST
    dark = (looks.brightness < LEAST_BRIGHTNESS) & ~uniform
    blurred = (looks.sharpness < LEAST_SHARPNESS) & ~uniform & (enlarged[looks.rows] <= MOST_ENLARGED)
    return [
        Oddity(UNIFORM, looks.rows[uniform], looks.contrast[uniform], "its brightness varies by {:.1f} of 255"),
        Oddity(DARK, looks.rows[dark], looks.brightness[dark], "its mean brightness is {:.1f} of 255"),
        Oddity(BLURRED, looks.rows[blurred], looks.sharpness[blurred], "its sharpness is {:.3f}"),
    ]


def odd_findings(oddities: Sequence[Oddity], images: int) -> tuple[list[Finding], list[str]]:
    """Findings of what few images have, and a sentence about each thing that many have.

    Args:
        oddities: what was found.
        images: the number of images that were looked at.
    """
    findings, notes = list[Finding](), list[str]()
    for oddity in oddities:
        if len(oddity.rows) > max(1, COMMON * images):
            notes.append(f"{len(oddity.rows):,} of {images:,} images are {oddity.kind}: not listed, for so is the data")
            continue
        order = np.argsort(oddity.values, kind="stable")
        order = order[::-1] if oddity.kind == NARROW else order
        findings += [
            Finding(
                int(oddity.rows[at]), oddity.kind, oddity.reason.format(oddity.values[at]), float(oddity.values[at])
            )
            for at in order
        ]
    return findings, notes
