"""Sample images that come with installed packages, written as image files."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from store.errors import EnvironmentFailure, UsageError
from store.suggestions import suggest_install

_PATCH = 32
_COLUMNS = {"train": range(6), "validation": range(6, 11), "test": range(11, 16)}
"""Of the 16 columns of patches of a texture: which are in which split."""


def write_samples(name: str, folder: Path) -> int:
    """Write sample images under `folder` and return how many; running it again writes the same files.

    `digits` are 1,797 handwritten digits of 8 x 8 pixels in PNG (Alpaydin and Kaynak 1998, UCI), a folder a
    class; `textures` are 768 patches of 32 x 32 pixels, cut out of scikit-image's three gray photographs of brick,
    grass and gravel (CC0), in `{train,validation,test}/<class>/`, each split from a part of its own of every
    photograph; `photos` are two JPEG photographs (a Chinese temple, a flower).

    Raises:
        UsageError: there is no such sample, or scikit-image, which has the textures, is not installed.
        EnvironmentFailure: the files cannot be written.
    """
    if name not in SAMPLES:
        *names, last = SAMPLES
        raise UsageError(f"unknown sample {name!r}: choose {', '.join(names)} or {last}")
    try:
        return SAMPLES[name](folder)
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


def _write_textures(folder: Path) -> int:
    try:
        from skimage import data
    except ImportError as error:
        raise UsageError(f"textures come with scikit-image: {suggest_install('stillframe[samples]')}") from error
    textures = {"brick": data.brick(), "grass": data.grass(), "gravel": data.gravel()}
    count = 0
    for split, columns in _COLUMNS.items():
        for name, texture in textures.items():
            (folder / split / name).mkdir(parents=True, exist_ok=True)
            for row in range(len(texture) // _PATCH):
                for column in columns:
                    top, left = row * _PATCH, column * _PATCH
                    patch = texture[top : top + _PATCH, left : left + _PATCH]
                    Image.fromarray(patch).save(folder / split / name / f"{row:02d}-{column:02d}.png")
                    count += 1
    return count


def _write_photos(folder: Path) -> int:
    from sklearn.datasets import load_sample_images

    images = load_sample_images()
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(images.filenames, images.images, strict=True):
        Image.fromarray(image).save(folder / Path(name).name, quality=95)
    return len(images.images)


SAMPLES: Mapping[str, Callable[[Path], int]] = {
    "digits": _write_digits,
    "textures": _write_textures,
    "photos": _write_photos,
}
"""By name: what writes the sample into a folder and returns how many images."""
