"""Photographs for benchmarks, made from scikit-learn's two (a temple, a flower) and the same every time.

Each is a random crop, possibly mirrored, saved as JPEG with quality 90. Photographs larger than the two originals are
mosaics of crops enlarged to twice their size. Those have about as many bytes and as much detail per pixel as camera
pictures; a single crop enlarged further would not.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

CLASSES = ("temple", "flower")
_QUALITY = 90
_ENLARGED = 2


@dataclass(frozen=True)
class Size:
    """Size of a photograph in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width} x {self.height}"


SMALL = Size(500, 375)
LARGE = Size(2400, 1600)


def write_photographs(folder: Path, count: int, size: Size, in_classes: bool = False, seed: int = 0) -> Path:
    """Write `count` photographs, alternating between the two scenes; `in_classes` puts each scene into its own folder."""
    from sklearn.datasets import load_sample_images

    scenes = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    for number in range(count):
        which = number % len(scenes)
        path = (folder / CLASSES[which] if in_classes else folder) / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph = _photograph(scenes[which], size, np.random.default_rng([seed, number]))
        photograph.save(path, quality=_QUALITY)
    return folder


def _photograph(scene: Image.Image, size: Size, rng: np.random.Generator) -> Image.Image:
    if size.width <= scene.width and size.height <= scene.height:
        return _crop(scene, size, rng)
    tile = Size(size.width // 2, size.height // 2)
    canvas = Image.new("RGB", (size.width, size.height))
    for column in range(2):
        for row in range(2):
            crop = _crop(scene, Size(tile.width // _ENLARGED, tile.height // _ENLARGED), rng)
            enlarged = crop.resize((tile.width, tile.height), Image.Resampling.BICUBIC)
            canvas.paste(enlarged, (column * tile.width, row * tile.height))
    return canvas


def _crop(scene: Image.Image, size: Size, rng: np.random.Generator) -> Image.Image:
    left = int(rng.integers(scene.width - size.width + 1))
    top = int(rng.integers(scene.height - size.height + 1))
    crop = scene.crop((left, top, left + size.width, top + size.height))
    return ImageOps.mirror(crop) if rng.random() < 0.5 else crop
