"""Windows and macOS icons: files that hold other images, taken apart here, so that those obey the same rules.

Pillow would open what an icon holds by itself: its pixel limit sees the icon's own header, which says what it likes.
"""

import struct
from collections.abc import Iterator

from extract.bad_image import BadImage
from extract.images import jpeg2000
from extract.images.png import SIGNATURE as PNG

ICO = b"\0\0\1\0"
ICNS = b"icns"
_BITMAP_HEADERS = (12, 40, 52, 56, 64, 108, 124)
_JPEG2000 = (*jpeg2000.SIGNATURES, b"\r\n\x87\n")

# The images that an ICNS file may have, best first, as PIL.IcnsImagePlugin ranks them: a PNG or JPEG 2000, or bitmaps.
_ICNS_KINDS = (
    (b"ic10",),
    (b"ic09",),
    (b"ic14",),
    (b"ic08",),
    (b"ic13",),
    (b"ic07", b"it32", b"t8mk"),
    (b"icp6",),
    (b"ih32", b"h8mk"),
    (b"ic12",),
    (b"icp5", b"il32", b"l8mk"),
    (b"ic11",),
    (b"icp4", b"is32", b"s8mk"),
)


def image_inside(data: bytes) -> bytes:
    """The PNG or JPEG 2000 that an icon shows, or the data itself if it is not an icon or has only a plain bitmap.

    Raises:
        BadImage: corrupt, the icon is empty.
        struct.error: it ends in its directory.
    """
    if data.startswith(ICO):
        inside = _largest_of_ico(data)
        return inside if inside.startswith(PNG) else data
    if data.startswith(ICNS):
        parts = dict(_icns_parts(data))
        best = next((kinds for kinds in _ICNS_KINDS if any(kind in parts for kind in kinds)), _ICNS_KINDS[0])
        inside = parts.get(best[0], b"")
        return inside if inside.startswith((PNG, *_JPEG2000)) else data
    return data


def bitmap_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the plain bitmap that an ICO file shows; Pillow decodes it when it opens the file. (0, 0) if
    it is not a bitmap.

    Raises:
        struct.error: the icon ends before it.
    """
    bitmap = _largest_of_ico(data)
    (header,) = struct.unpack_from("<I", bitmap)
    if header not in _BITMAP_HEADERS:
        return 0, 0
    width, height = struct.unpack_from("<HH" if header == min(_BITMAP_HEADERS) else "<ii", bitmap, 4)
    return abs(width), abs(height) // 2  # a mask of the same size follows


def _largest_of_ico(data: bytes) -> bytes:
    """The image that PIL.IcoImagePlugin shows: the largest one, then the one with the fewest colors, then the first."""
    (count,) = struct.unpack_from("<H", data, 4)
    if not count:
        raise BadImage("corrupt", "the icon has no image")
    entries = [struct.unpack_from("<BBBxHHII", data, 6 + 16 * index) for index in range(count)]
    return data[max(entries, key=_rank)[-1] :]  # sizes are often wrong; PNG and bitmaps know where they end


def _rank(entry: tuple[int, ...]) -> tuple[int, int]:
    width, height, colors, _, depth, _, _ = entry
    # 0 is for 256; a depth that is not given follows from the number of colors.
    return (width or 256) * (height or 256), -(depth or ((colors - 1).bit_length() if colors else 0) or 256)


def _icns_parts(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = 8
    while offset + 8 <= len(data):
        kind, length = struct.unpack_from(">4sI", data, offset)
        if length < 8:
            return
        yield kind, data[offset + 8 : offset + length]
        offset += length
