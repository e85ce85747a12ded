"""JPEG 2000 files: the size and the tiles of the codestream, which its container repeats and may contradict."""

import re
import struct

from extract.bad_image import BadImage

_CODESTREAM = b"\xff\x4f\xff\x51"
SIGNATURES = (_CODESTREAM, b"\0\0\0\x0cjP  ")

_MOST_TILES = 1 << 14
"""The decoder takes ten kilobytes for each before it begins."""


def codestream_sizes(data: bytes) -> list[tuple[int, int]]:
    """(width, height) of all that may be codestreams in the file.

    Raises:
        BadImage: unsupported_pixels, one of them is in very many tiles.
    """
    return [_size(data, found.start()) for found in re.finditer(re.escape(_CODESTREAM), data)]


def _size(data: bytes, start: int) -> tuple[int, int]:
    """Layout: ITU-T T.800, annex A.5.1."""
    if start + 40 > len(data):
        return 0, 0
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top = struct.unpack_from(">8I", data, start + 8)
    across = -(-(right - tile_left) // max(1, tile_width))
    down = -(-(bottom - tile_top) // max(1, tile_height))
    if across > 0 and down > 0 and across * down > _MOST_TILES:
        raise BadImage("unsupported_pixels", f"the JPEG 2000 is in {across * down:,} tiles, more than {_MOST_TILES:,}")
    return max(0, right - left), max(0, bottom - top)
