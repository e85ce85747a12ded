"""Altered views of an image: turned, shifted, sheared, zoomed, flipped and brightened at random, edges repeated.

What is drawn depends on the seed, the image's content and the view's number alone: not on the run, the batch, the
machine, or how many views there are. The draws are bits of a hash, for no library promises to draw the same for ever.
"""

import hashlib
import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from store.recipe import Augmentation

Pixels = npt.NDArray[np.uint8]

_DRAWS = 9
_DIGITS = 9  # of coefficients: machines differ in the last bits of a sine or a sum


def altered_views(pixels: Pixels, augmentation: Augmentation, sha256: str) -> list[Pixels]:
    """Views 1 and on of an image.

    Args:
        pixels: uint8 (height, width, 3), as the network would see the unaltered image.
        augmentation: how many views, and what may be done to them.
        sha256: of the image's bytes.

    Returns:
        Arrays of the same shape and type.
    """
    numbers = range(1, augmentation.views + 1)
    return [_altered(pixels, augmentation, _draw(augmentation.seed, sha256, number)) for number in numbers]


def _draw(seed: int, sha256: str, view: int) -> npt.NDArray[np.float64]:
    """Numbers evenly from 0 to 1."""
    bits = hashlib.shake_256(f"{seed}:{sha256}:{view}".encode()).digest(8 * _DRAWS)
    return np.frombuffer(bits, ">u8") / 2.0**64


def _altered(pixels: Pixels, ranges: Augmentation, drawn: npt.NDArray[np.float64]) -> Pixels:
    turn, down, right, slant, tall, wide, light, mirror, upset = drawn
    flip = (
        -1 if mirror < 0.5 and ranges.flip in ("horizontal", "both") else 1,
        -1 if upset < 0.5 and ranges.flip in ("vertical", "both") else 1,
    )
    height, width, _ = pixels.shape
    linear = (
        _rotation(_within(turn, ranges.rotation))
        @ np.array([[1, _within(slant, ranges.shear)], [0, 1]])
        @ np.diag([1 + _within(wide, ranges.zoom), 1 + _within(tall, ranges.zoom)])
        @ np.diag(flip)
    )
    middle = np.array([width, height]) / 2
    shift = np.array([_within(right, ranges.shift) * width, _within(down, ranges.shift) * height])
    moved = _transformed(pixels, linear, middle + shift - linear @ middle)
    return _brightened(moved, 1 + _within(light, ranges.brightness))


def _within(drawn: float, limit: float) -> float:
    """Evenly from -limit to limit."""
    return (2 * drawn - 1) * limit


def _rotation(degrees: float) -> npt.NDArray[np.float64]:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cosine, -sine], [sine, cosine]])


def _transformed(pixels: Pixels, linear: npt.NDArray[np.float64], offset: npt.NDArray[np.float64]) -> Pixels:
    """The point (x, y) of the result is the source's linear @ (x, y) + offset; outside, the nearest edge's color."""
    height, width, _ = pixels.shape
    corners = linear @ np.array([[0, width, 0, width], [0, 0, height, height]]) + offset[:, None]
    left, top = np.maximum(0, np.ceil(1 - corners.min(axis=1))).astype(int)
    right, bottom = np.maximum(0, np.ceil(1 + corners.max(axis=1) - (width, height))).astype(int)
    framed = Image.fromarray(np.pad(pixels, ((top, bottom), (left, right), (0, 0)), "edge"))
    rows = np.column_stack([linear, offset + np.array([left, top])])
    coefficients = tuple(np.round(rows, _DIGITS).ravel().tolist())
    moved = framed.transform((width, height), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(moved)


def _brightened(pixels: Pixels, factor: float) -> Pixels:
    if factor == 1:
        return pixels
    levels: Pixels = np.clip(np.rint(np.arange(256) * factor), 0, 255).astype(np.uint8)
    return levels[pixels]
