"""A runtime of a few lines of numpy, for tests of everything around the network, and images for it."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from extract.backbones.weights import remember_digest
from extract.runtimes.base import Computed
from extract.sources.reading import read_image
from store.files.local import LocalFiles
from store.files.names import row_name
from store.recipe import stored_dtype

SHAPE = (4, 4, 3)
KERAS = "99"


class StubRuntime:
    """Averages the pixels over a 4 x 4 grid: a feature that depends on its image alone."""

    shapes = (SHAPE,)
    in_flight = 2

    def __init__(self, dtype="auto", batch_size=None, seconds=0.0):
        self.dtype = stored_dtype(dtype, spatial=True)
        self.batch_size = batch_size or 32
        self.seconds = seconds
        self.environment = {"runtime": "stub", "device": "CPU", "backend": "stub 1", "keras": KERAS}

    def start(self, images):
        assert 0 < len(images) <= self.batch_size
        time.sleep(self.seconds)
        tensor = self.compute(np.stack(images))
        largest = np.abs(tensor).max(axis=(1, 2, 3))
        with np.errstate(over="ignore"):  # as the libraries do
            computed = Computed([tensor.astype(self.dtype)], [largest])
        return SimpleNamespace(result=lambda: computed)

    def compute(self, pixels):
        """The only output's tensor, float32."""
        batch, height, width, _ = pixels.shape
        grid = pixels.reshape(batch, 4, height // 4, 4, width // 4, 3)
        return grid.mean(axis=(2, 4), dtype=np.float64).astype(np.float32)


def load_stub(spec, reporter=None, seconds=0.0):
    """Takes the place of `extract.runtimes.load.load_runtime`."""
    remember_digest(spec.backbone, spec.weights, "5" * 64)
    return StubRuntime(spec.dtype, spec.batch_size, seconds), "5" * 64


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


def read_file(path):
    """An image file as a run reads it."""
    path = Path(path)
    return read_image(LocalFiles(path.parent), row_name(path.name))
