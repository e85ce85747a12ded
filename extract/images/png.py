"""PNG files: the checksums of their chunks, and what of their metadata a decoder may see."""

import struct
import zlib
from collections.abc import Iterator

from extract.bad_image import BadImage

SIGNATURE = b"\x89PNG\r\n\x1a\n"

# Ancillary chunks that pixels depend on: transparency, and orientation in EXIF (a chunk, or text by old programs) or XMP.
_NEEDED = (b"tRNS", b"eXIf")
_NEEDED_TEXT = (b"Raw profile type exif\0", b"XML:com.adobe.xmp\0")
_GREY, _RGB = 0, 2
_LONGEST_TEXT = 1 << 20  # PIL.PngImagePlugin.MAX_TEXT_CHUNK


def sound_png(data: bytes) -> bytes:
    """A PNG without the metadata that says nothing about its pixels, for which Pillow has limits and errors of its own.

    Args:
        data: bytes that begin with the signature.

    Raises:
        BadImage: truncated, or corrupt if the checksum of any chunk is wrong. Pillow does not check pixel data.
    """
    start = 0
    kept = []
    for kind, begin, end in _chunks(data):
        if not _is_needed(kind, data, begin, end):
            kept.append(data[start:begin])
            start = end
    return b"".join([*kept, data[start:]]) if kept else data


def transparent_color(data: bytes, color: object) -> object:
    """The transparent color of a PNG in the units of the pixels that Pillow makes; it gives those of the file.

    Args:
        data: the PNG.
        color: what Pillow gives: a level of grey, an RGB triple, or opacities of a palette's entries.
    """
    depth, kind = data[24], data[25]
    if isinstance(color, tuple) and (depth, kind) == (16, _RGB):
        return tuple(value >> 8 for value in color)
    if isinstance(color, int) and depth in (2, 4) and kind == _GREY:
        return color * 255 // ((1 << depth) - 1)
    return color


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Type, begin and end of every chunk up to IEND, once its CRC is checked.

    Layout: PNG specification (third edition), section 5.3: length, type, data, CRC-32 of type and data.
    """
    view = memoryview(data)
    offset = len(SIGNATURE)
    kind = b""
    while kind != b"IEND":
        if offset + 12 > len(data):
            raise BadImage("truncated", "the PNG ends in the middle")
        length = struct.unpack_from(">I", data, offset)[0]
        end = offset + 8 + length
        if end + 4 > len(data):
            raise BadImage("truncated", "the PNG ends in the middle")
        kind = data[offset + 4 : offset + 8]
        if zlib.crc32(view[offset + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise BadImage("corrupt", f"the PNG is damaged: wrong checksum in its {kind.decode('latin-1')!r} chunk")
        yield kind, offset, end + 4
        offset = end + 4


def _is_needed(kind: bytes, data: bytes, begin: int, end: int) -> bool:
    ancillary = bool(kind[0] & 0x20)  # PNG specification, section 5.4: a small first letter
    if not ancillary or kind in _NEEDED:
        return True
    return (
        kind in (b"tEXt", b"zTXt", b"iTXt")
        and data.startswith(_NEEDED_TEXT, begin + 8, end)
        and not _is_too_long(kind, data[begin + 8 : end - 4])
    )


def _is_too_long(kind: bytes, text: bytes) -> bool:
    """Whether a text chunk's content is longer than Pillow decompresses. Sections 11.3.3.3 and 11.3.3.4."""
    rest = text.partition(b"\0")[2]
    if kind == b"iTXt":
        is_compressed, rest = rest[:1] == b"\1", rest[2:].split(b"\0", 2)[-1]
    else:
        is_compressed, rest = kind == b"zTXt", rest[1:]
    if not is_compressed:
        return False
    unpacking = zlib.decompressobj()
    try:
        unpacking.decompress(rest, _LONGEST_TEXT)
    except zlib.error:
        return True
    return bool(unpacking.unconsumed_tail)
