"""Sample images that come with scikit-learn, written as image files."""

from pathlib import Path

import numpy as np
from PIL import Image

from store.errors import EnvironmentFailure, UsageError

SAMPLES = ("digits", "photos")


def write_samples(name: str, folder: Path) -> int:
    """Write sample images under `folder` and return how many; running it again writes the same files.

    `digits` are 1,797 handwritten digits of 8 x 8 pixels in PNG (Alpaydin and Kaynak 1998, UCI), a folder a
    class; `photos` are two JPEG photographs (a Chinese temple, a flower).

    Raises:
        UsageError: there is no such sample.
    """
    if name not in SAMPLES:
        raise UsageError(f"unknown sample {name!r}: choose {' or '.join(SAMPLES)}")
    try:
        return _write_digits(folder) if name == "digits" else _write_photos(folder)
    except OSError as error:
        raise EnvironmentFailure(f"cannot write to {folder}: {error.strerror or error}") from error


def _write_digits(folder: Path) -> int:
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        path = folder / str(label) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        levels = np.round(image * (255 / 16)).astype(np.uint8)  # stored as 0..16
        Image.fromarray(levels).save(path)
    return len(digits.target)


def _write_photos(folder: Path) -> int:
    from sklearn.datasets import load_sample_images

    images = load_sample_images()
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(images.filenames, images.images, strict=True):
        Image.fromarray(image).save(folder / Path(name).name, quality=95)
    return len(images.images)
