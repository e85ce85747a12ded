"""Sample images that come with installed packages, written as image files."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from extract.sources.folder import IMAGE_ENDINGS
from store.errors import EnvironmentFailure, UsageError
from store.files.local import LocalFiles
from store.files.names import printable
from store.suggestions import suggest_install

_PATCH = 32
_COLUMNS = {"train": range(6), "validation": range(6, 11), "test": range(11, 16)}
"""Of the 16 columns of patches of a texture: which are in which split."""


def write_samples(name: str, folder: Path) -> int:
    """Write sample images under `folder` and return how many; running it again writes the same files.

    `digits` are 1,797 handwritten digits of 8 x 8 pixels in PNG (Alpaydin and Kaynak 1998, UCI), one folder
    per class; `textures` are 768 patches of 32 x 32 pixels, cut out of scikit-image's three gray photographs of brick,
    grass and gravel (CC0), in `{train,validation,test}/<class>/`, each split from a part of its own of every
    photograph; `photos` are two JPEG photographs (a Chinese temple, a flower).

    Raises:
        UsageError: there is no such sample, the folder holds other images, or scikit-image, which has the textures, is
            not installed.
        EnvironmentFailure: the files cannot be written.
    """
    if name not in SAMPLES:
        *names, last = SAMPLES
        raise UsageError(f"unknown sample {name!r}: choose {', '.join(names)} or {last}")
    images = SAMPLES[name]()
    _require_no_others(name, images, folder)
    try:
        for path in {(folder / file).parent for file in images}:
            path.mkdir(parents=True, exist_ok=True)
        for file, image in images.items():
            image.save(folder / file, quality=95)
    except OSError as error:
        raise EnvironmentFailure(f"cannot write to {folder}: {error.strerror or error}") from error
    return len(images)


def _require_no_others(name: str, images: Mapping[str, Image.Image], folder: Path) -> None:
    """Raise UsageError if the folder holds an image that is not of the sample: they would be extracted as one data set."""
    found = (file for file, _ in LocalFiles(folder).walk()) if folder.is_dir() else ()
    others = [file for file in found if file not in images and os.path.splitext(file)[1].lower() in IMAGE_ENDINGS]
    if others:
        raise UsageError(f"{folder} holds other images than {name} ({printable(min(others))}): choose another DIR")


def _digits() -> Mapping[str, Image.Image]:
    from sklearn.datasets import load_digits

    digits = load_digits()
    levels = np.round(digits.images * (255 / 16)).astype(np.uint8)  # stored as 0..16
    numbered = enumerate(zip(levels, digits.target, strict=True))
    return {f"{label}/{number:04d}.png": Image.fromarray(image) for number, (image, label) in numbered}


def _textures() -> Mapping[str, Image.Image]:
    try:
        from skimage import data
    except ImportError as error:
        raise UsageError(f"textures come with scikit-image: {suggest_install('stillframe[samples]')}") from error
    patches = {}
    for name, texture in {"brick": data.brick(), "grass": data.grass(), "gravel": data.gravel()}.items():
        for split, columns in _COLUMNS.items():
            for row in range(len(texture) // _PATCH):
                for column in columns:
                    top, left = row * _PATCH, column * _PATCH
                    patch = texture[top : top + _PATCH, left : left + _PATCH]
                    patches[f"{split}/{name}/{row:02d}-{column:02d}.png"] = Image.fromarray(patch)
    return patches


def _photos() -> Mapping[str, Image.Image]:
    from sklearn.datasets import load_sample_images

    found = load_sample_images()
    return {Path(name).name: Image.fromarray(image) for name, image in zip(found.filenames, found.images, strict=True)}


SAMPLES: Mapping[str, Callable[[], Mapping[str, Image.Image]]] = {
    "digits": _digits,
    "textures": _textures,
    "photos": _photos,
}
"""By name: what gives a sample's images by their file names."""
