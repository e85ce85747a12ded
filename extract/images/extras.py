"""Opening images of the formats that need an extra, and refusing those that nothing here decodes."""

import os
from collections.abc import Callable
from importlib import import_module
from io import BytesIO

from PIL.ImageFile import ImageFile

from extract.bad_image import BadImage
from extract.images.kinds import HEIF, JPEG_XL, RAW, TIFF, kind_of
from extract.sources.folder import RAW_ENDINGS

_EXTRAS = {HEIF: ("heif", "pillow_heif", "HeifImageFile")}
"""For each kind that Pillow cannot open: our extra, its module, and the class that takes a file."""


def open_with_extra(data: bytes) -> ImageFile | None:
    """An image, of which only the header has been read, if its format needs an extra; None for Pillow's own formats.

    Raises:
        BadImage: needs_extra, or unsupported_format.
        Exception: what Pillow and its plugins raise.
    """
    kind = kind_of(data)
    if kind in (RAW, JPEG_XL):
        raise unsupported(kind)
    if kind not in _EXTRAS:
        return None
    extra, module, name = _EXTRAS[kind]
    try:
        opener: Callable[[BytesIO], ImageFile] = getattr(import_module(module), name)
    except ImportError:
        raise BadImage(
            "needs_extra",
            f"{kind} is read with an extra: `pip install 'stillframe[{extra}]'`, then run again with --retry-failed",
        ) from None
    return opener(BytesIO(data))


def refuse_raw(path: str, data: bytes) -> None:
    """Raise BadImage, unsupported_format, for a file whose name is that of a camera RAW and whose content may be."""
    if os.path.splitext(path)[1].lower() in RAW_ENDINGS and data[:4] in TIFF:
        raise unsupported(RAW)


def unsupported(kind: str) -> BadImage:
    """The error of a photo that nothing here decodes. A camera RAW is what a sensor saw: each program develops it otherwise."""
    return BadImage("unsupported_format", f"{kind} is not decoded here: convert it to TIFF, PNG or JPEG first")
