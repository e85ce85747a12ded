"""GIF files: the size of the first frame, for which Pillow allocates memory when it opens the file."""

import struct
from io import BytesIO

SIGNATURES = (b"GIF87a", b"GIF89a")

_COMMENT, _APPLICATION = 0xFE, 0xFF


def first_frame_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the first frame, found in the way of PIL.GifImagePlugin, also in a damaged file.

    Layout: GIF89a specification, sections 17 to 26.

    Raises:
        IndexError, struct.error: the file ends before it.
    """
    file = BytesIO(data)
    flags = file.read(13)[10]
    file.seek(3 << (flags & 7) + 1 if flags & 0x80 else 0, 1)
    while kind := file.read(1):
        if kind == b";":
            break
        if kind == b",":
            width, height = struct.unpack("<4xHH", file.read(8))
            return width, height
        if kind == b"!":
            _skip_extension(file)
    return 0, 0


def _skip_extension(file: BytesIO) -> None:
    label = file.read(1)[0]
    block = _block(file)
    if label == _COMMENT:
        while block:
            block = _block(file)
        return
    if label == _APPLICATION and block.startswith(b"NETSCAPE2.0"):
        _block(file)
    while _block(file):
        pass


def _block(file: BytesIO) -> bytes:
    size = file.read(1)
    return file.read(size[0]) if size else b""
