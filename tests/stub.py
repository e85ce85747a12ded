"""A runtime of a few lines of numpy, for tests of everything around the network, and images for it."""

import os
import time

import numpy as np
from PIL import Image

from extract.backbones.weights import remember_digest

SHAPE = (4, 4, 3)
KERAS = "99"


class StubRuntime:
    """Averages the pixels over a 4 x 4 grid: a feature that depends on its image alone."""

    shapes = (SHAPE,)

    def __init__(self, seconds=0.0):
        self.seconds = seconds
        self.environment = {"runtime": "stub", "keras": KERAS}

    def __call__(self, pixels):
        time.sleep(self.seconds)
        batch, height, width, _ = pixels.shape
        grid = pixels.reshape(batch, 4, height // 4, 4, width // 4, 3)
        return [grid.mean(axis=(2, 4), dtype=np.float64).astype(np.float32)]


def load_stub(backbone, weights, *_, seconds=0.0):
    """Takes the place of `extract.run.load_runtime`."""
    remember_digest(backbone, weights, "5" * 64)
    return StubRuntime(seconds), "5" * 64


def make_images(folder, count, start=0, classes=("cat", "dog")):
    """Write small distinct PNG files, `<class>/<number>.png`; returns their paths."""
    paths = []
    for number in range(start, start + count):
        path = folder / classes[number % len(classes)] / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, compress_level=0)
        paths.append(path)
    return paths


def touch_later(path):
    """Give a file another modification time."""
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000_000))
