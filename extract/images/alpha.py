"""Transparency that Pillow gets wrong: fourth channels that are not alpha, and transparent colors of PNGs."""

import struct

from PIL import Image

from extract.images import png


def with_right_alpha(image: Image.Image, data: bytes) -> Image.Image:
    """A loaded image with the transparency that its file says, or none.

    Raises:
        struct.error: the file ends early.
    """
    if not image.has_transparency_data:
        return image
    if _is_opaque(image, data):
        return image.convert("RGB")
    if "transparency" in image.info and data.startswith(png.SIGNATURE):
        image.info["transparency"] = png.transparent_color(data, image.info["transparency"])
    return image


def _is_opaque(image: Image.Image, data: bytes) -> bool:
    """Whether what Pillow takes for alpha is something else by the file's header."""
    if image.format == "TGA":
        return _tga_has_no_alpha(data)
    if image.format in ("BMP", "DIB"):
        # Old programs leave this byte zero; by what it says, nothing of the picture would be visible.
        return image.getchannel("A").getextrema() == (0, 0)
    return image.format == "PSD" and not _psd_is_transparent(data)


def _tga_has_no_alpha(data: bytes) -> bool:
    """Truevision TGA 2.0, fields 5.6 (bits of attributes in a pixel) and 24 (their type: below 3 is not alpha)."""
    if data[17] & 0x0F == 0:
        return True
    if not data.endswith(b"TRUEVISION-XFILE.\0"):
        return False
    extension = struct.unpack_from("<I", data, len(data) - 26)[0]
    return bool(extension) and extension + 494 < len(data) and data[extension + 494] < 3


def _psd_is_transparent(data: bytes) -> bool:
    """Whether the fourth channel is the merged image's transparency and not a saved selection.

    Adobe Photoshop File Formats, layer info: it is, if the number of layers is negative.
    """
    offset = 26
    for _ in ("color mode", "resources"):
        offset += 4 + struct.unpack_from(">I", data, offset)[0]
    section, layers, count = struct.unpack_from(">IIh", data, offset)
    return bool(section and layers and count < 0)
