"""TIFF files: which kinds of pixels Pillow decodes rightly, and where it needs help.

Tags and their values: TIFF 6.0 (Adobe, 1992). tests/extract/images/test_tiff.py compares with another decoder.
"""

import ctypes
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import numpy.typing as npt
import PIL._imaging
from PIL import Image, ImageFile, ImagePalette
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    COLORMAP,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
    STRIPOFFSETS,
    TILELENGTH,
    TILEOFFSETS,
    TILEWIDTH,
    YCBCRSUBSAMPLING,
    TiffImageFile,
)

from extract.bad_image import BadImage

PREFIXES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"MM*\0", b"II\0*")

_WHITE_IS_ZERO, _PALETTE, _YCBCR, _LAB = 0, 3, 6, 8
_SEPARATE_PLANES = 2
_SIGNED = 2
_MOST_TAGS = 1 << 16
_MOST_PIECES = 1 << 19


def require_few_pieces(data: bytes) -> None:
    """Refuse a TIFF whose first image is in more strips or tiles than Pillow should list: it takes 300 bytes for each.

    Raises:
        BadImage: unsupported_pixels.
        struct.error: the file ends before the list of tags does.
    """
    order = "<" if data.startswith(b"I") else ">"
    if data[2] == 43:  # BigTIFF, as Pillow recognizes it
        (start,) = struct.unpack_from(f"{order}Q", data, 8)
        (tags,), offset, entry = struct.unpack_from(f"{order}Q", data, start), start + 8, f"{order}HHQ8x"
    else:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (tags,), offset, entry = struct.unpack_from(f"{order}H", data, start), start + 2, f"{order}HHI4x"
    if tags > _MOST_TAGS:
        raise BadImage("unsupported_pixels", f"the TIFF has {tags:,} tags, more than {_MOST_TAGS:,}")
    for index in range(tags):
        tag, _, count = struct.unpack_from(entry, data, offset + index * struct.calcsize(entry))
        if tag in (STRIPOFFSETS, TILEOFFSETS) and count > _MOST_PIECES:
            raise BadImage("unsupported_pixels", f"the TIFF is in {count:,} pieces, more than {_MOST_PIECES:,}")


def tile_size(image: Image.Image) -> tuple[int, int]:
    """The width and height of a tile, which is decoded whole; (0, 0) if the image is not a TIFF, or has no tiles."""
    if not isinstance(image, TiffImageFile):
        return 0, 0
    width, height = (image.tag_v2.get(tag, 0) for tag in (TILEWIDTH, TILELENGTH))
    return (width, height) if isinstance(width, int) and isinstance(height, int) else (0, 0)


def prepare_tiff(image: TiffImageFile) -> None:
    """Refuse what Pillow would decode wrongly, and help where it confuses planes or the depth of a palette's colors.

    Raises:
        BadImage: unsupported_pixels.
    """
    tags = image.tag_v2
    photometric = tags.get(PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO)
    separate = tags.get(PLANAR_CONFIGURATION, 1) == _SEPARATE_PLANES
    uncompressed = image.info.get("compression") == "raw"
    if _SIGNED in tags.get(SAMPLEFORMAT, ()) and image.mode not in ("I", "F"):  # those two are refused for their depth
        raise _unsupported("signed samples, which have no agreed range")
    if photometric == _LAB:
        raise _unsupported("colors in CIE L*a*b*")
    if separate and photometric <= _PALETTE and photometric != 2 and tags.get(SAMPLESPERPIXEL, 1) > 1:
        raise _unsupported("several planes of grey or palette samples")
    if photometric == _YCBCR and uncompressed and tags.get(YCBCRSUBSAMPLING, (2, 2)) != (1, 1):
        raise _unsupported("uncompressed subsampled YCbCr")
    if image.mode in ("P", "PA") and max(tags[COLORMAP], default=0) < 256:
        # Colors have 16 bits, but some programs write 8, which would all be black; libtiff takes them for 8 too.
        image.palette = ImagePalette.raw("RGB;L", bytes(tags[COLORMAP]))
    if separate and uncompressed:
        _let_libtiff_decode(image)


def _let_libtiff_decode(image: TiffImageFile) -> None:
    """As TiffImageFile._setup does for compressed images, whose planes libtiff puts together in any depth."""
    width, height = image._tile_size  # before orientation
    rawmode = f"{image.mode};16N" if 16 in image.tag_v2.get(BITSPERSAMPLE, ()) else image.mode
    image.use_load_libtiff = True
    image.tile = [ImageFile._Tile("libtiff", (0, 0, width, height), 0, (rawmode, False, image.tag_v2.offset))]


def _unsupported(what: str) -> BadImage:
    return BadImage("unsupported_pixels", f"the TIFF has {what}: convert it to grey or RGB of 8 or 16 bits a sample")


def high_bytes(image: Image.Image) -> npt.NDArray[np.uint8]:
    """The high byte of each sample of a grey image of 16 bits, or of 12 bits in a TIFF; white is 255.

    Returns:
        uint8 (height, width).
    """
    depth, inverted = 16, False
    if isinstance(image, TiffImageFile):
        depth = image.tag_v2.get(BITSPERSAMPLE, (16,))[0]
        inverted = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION, _WHITE_IS_ZERO) == _WHITE_IS_ZERO
    grey: npt.NDArray[np.uint8] = (np.asarray(image) >> (depth - 8)).astype(np.uint8)
    return ~grey if inverted else grey


@contextmanager
def silent_libtiff() -> Iterator[None]:
    """Keep libtiff from writing about damaged files to file descriptor 2 inside the block: Pillow raises errors anyway.

    Without effect where the library is part of Pillow's own file and cannot be reached.
    """
    with ExitStack() as undo:
        for name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):
            try:
                set_handler = getattr(ctypes.CDLL(PIL._imaging.__file__), name)
            except (OSError, AttributeError):
                continue
            set_handler.argtypes, set_handler.restype = [ctypes.c_void_p], ctypes.c_void_p
            undo.callback(set_handler, set_handler(None))  # it returns the handler that it replaces
        yield
