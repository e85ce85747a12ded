"""JPEG files: in how many scans they are, where the pixel data ends, and whether there was enough of it.

libjpeg paints what is missing grey and only counts a warning, which Pillow does not pass on.
"""

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from extract.bad_image import BadImage

SIGNATURE = b"\xff\xd8\xff"

_FRAME = range(0xC0, 0xD0)
_NOT_FRAME = (0xC4, 0xC8, 0xCC)
_SEQUENTIAL = (0xC0, 0xC1)
_SCAN = 0xDA
_ALONE = (0x01, *range(0xD0, 0xDA))  # markers without a segment
_INTERVAL = 0xDD
_FIRST_RESTART = 0xD0
_NEVER = 1 << 16
_METADATA = dict.fromkeys((*range(0xE2, 0xF0), 0xFE), _NEVER) | {0xE0: 16, 0xEE: 14}  # and the length that is kept
_MARKER = re.compile(rb"\xff[^\x00\xff]", re.DOTALL)  # FF 00 is a byte FF of the data itself, FF FF is padding
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_MOST_SCANS = 100  # usual are ten
_PADDING = bytes(8)  # the decoder looks this far ahead


def sealed_jpeg(data: bytes) -> bytes | None:
    """A JPEG of one sequential scan, with zeros in place of what follows its pixel data, the end marker included.

    Without an end marker, a decoder that runs out of pixel data asks for more instead of inventing it, so Pillow calls
    the image truncated. With enough of it, the decoder is done before the zeros, and the pixels are the same.

    Returns:
        None if it is of another kind (progressive, several scans, arithmetic coding), in which this cannot be seen, or
        if it has no end.
    """
    scan = _scan(data)
    if scan is None:
        return None
    end = _pixel_data_end(data, scan)
    return None if end is None else data[:end] + _PADDING


@dataclass(frozen=True)
class _Scan:
    """Where the pixel data begins, and whether restart markers divide it."""

    start: int
    restarts: bool


def _segments(data: bytes, offset: int) -> Iterator[tuple[int, int, int]]:
    """Marker, begin and end of each segment from an offset up to the next scan. Layout: ITU-T T.81, annex B."""
    marker = 0
    while marker != _SCAN and offset + 10 <= len(data) and data[offset] == 0xFF:
        marker = data[offset + 1]
        if marker == 0xFF or marker in _ALONE:
            offset += 1 if marker == 0xFF else 2
            continue
        end = offset + 2 + struct.unpack_from(">H", data, offset + 2)[0]
        yield marker, offset, end
        offset = end


def _scan(data: bytes) -> _Scan | None:
    """The first scan, if it is sequential and has all components."""
    components, restarts = 0, False
    for marker, begin, end in _segments(data, 2):
        if marker == _SCAN:
            return _Scan(end, restarts) if components and data[begin + 4] == components else None
        if marker in _FRAME and marker not in _NOT_FRAME:
            if marker not in _SEQUENTIAL:
                return None
            components = data[begin + 9]
        elif marker == _INTERVAL:
            restarts = data[begin + 4 : begin + 6] != b"\0\0"
    return None


def require_few_scans(data: bytes) -> None:
    """Refuse a JPEG in very many scans: each takes thirty bytes of the file, and a pass over all of the image.

    Raises:
        BadImage: unsupported_pixels.
    """
    offset, scans = 2, 0
    while scans <= _MOST_SCANS:
        start = next((end for marker, _, end in _segments(data, offset) if marker == _SCAN), None)
        found = _END_OF_SCAN.search(data, start) if start else None
        if found is None:
            return
        offset, scans = found.start(), scans + 1
    raise BadImage("unsupported_pixels", f"the JPEG is in more than {_MOST_SCANS} scans: no program writes as many")


def _pixel_data_end(data: bytes, scan: _Scan) -> int | None:
    """The offset of the first marker that ends the pixel data: any but the next restart."""
    for restarts, found in enumerate(_MARKER.finditer(data, scan.start)):
        if not scan.restarts or data[found.start() + 1] != _FIRST_RESTART + restarts % 8:
            return found.start()
    return None


def without_metadata(data: bytes) -> bytes:
    """A JPEG without the segments that say nothing about its pixels, any of which may be what Pillow stumbles over.

    EXIF and XMP stay, for the orientation, and so do JFIF and Adobe, for the color space, if they are long enough.
    """
    kept, offset = [data[:2]], 2
    while data[offset : offset + 1] == b"\xff" and offset + 4 <= len(data) and data[offset + 1] != _SCAN:
        marker, length = struct.unpack_from(">xBH", data, offset)
        if marker not in _METADATA or length >= _METADATA[marker]:
            kept.append(data[offset : offset + 2 + length])
        offset += 2 + length
    return b"".join([*kept, data[offset:]])
