"""Image files that are small and ask for a lot: of memory, or of other programs. Each is made by hand."""

import struct
import zlib
from io import BytesIO

from PIL import Image

HUGE = 30_000
"""The side of an image that no limit allows: 900 megapixels."""


def encoded(image, file_format, **options):
    sink = BytesIO()
    image.save(sink, file_format, **options)
    return sink.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height):
    """A PNG that says how large it is, and has next to nothing."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    data = zlib.compress(bytes(1000))  # a decoder allocates everything before it reads them
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg(width, height):
    data = bytearray(encoded(Image.new("RGB", (16, 16)), "JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def jpeg_of_scans(count):
    """A progressive JPEG whose last scan is repeated, each time thirty bytes; a decoder goes over the image for each."""
    data = encoded(Image.new("L", (2000, 2000)), "JPEG", progressive=True)
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + b"\xff\xd9"


def ico(inside, width=16, height=16):
    """A Windows icon that says it is small."""
    return struct.pack("<HHH BBBBHHII", 0, 1, 1, width, height, 0, 0, 1, 32, len(inside), 22) + inside


def icns(inside, kind=b"ic07"):
    """A macOS icon with one image."""
    part = struct.pack(">4sI", kind, 8 + len(inside)) + inside
    return struct.pack(">4sI", b"icns", 8 + len(part)) + part


def dib(width, height):
    """A bitmap without its file header, as icons have it."""
    return struct.pack("<IiiHHIIiiII", 40, width, 2 * height, 1, 32, 0, 0, 0, 0, 0, 0) + bytes(4000)


def iptc(inside, width=16, height=16):
    """An IPTC/NAA file that embeds another file."""

    def field(record, dataset, data):
        return struct.pack(">BBBH", 0x1C, record, dataset, len(data)) + data

    return (
        field(3, 60, b"\x01\x00")
        + field(3, 20, struct.pack(">H", width))
        + field(3, 30, struct.pack(">H", height))
        + field(3, 120, b"\x05")  # compression: JPEG, says the header
        + b"".join(field(8, 10, inside[start : start + 30_000]) for start in range(0, len(inside), 30_000))
    )


def blp(inside, width=16, height=16):
    """A texture of Blizzard games that embeds a JPEG."""
    offset = 28 + 128 + 4
    header = b"BLP1" + struct.pack("<iIIIii", 0, 0, width, height, 5, 0)
    return header + struct.pack("<16I16I", offset, *[0] * 15, len(inside), *[0] * 15) + struct.pack("<I", 0) + inside


def tiff(width, height, tile):
    """A TIFF of one compressed tile of zeros, which a decoder allocates whole."""
    tags = {256: width, 257: height, 258: 8, 259: 8, 262: 1, 277: 1, 322: tile, 323: tile, 324: 200, 325: 0}
    data = zlib.compress(bytes(100_000))
    entries = b"".join(
        struct.pack("<HHII", tag, 4, 1, len(data) if tag == 325 else value) for tag, value in sorted(tags.items())
    )
    return (struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries).ljust(200, b"\0") + data


def tiff_of_strips(count):
    """A TIFF of one pixel per strip: a byte of the file is a strip in the list."""
    tags = {256: (4, 1, 1), 257: (4, 1, count), 258: (4, 1, 8), 262: (4, 1, 1), 273: (1, count, 200), 278: (4, 1, 1)}
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in tags.items())
    return (struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries).ljust(200, b"\0") + bytes([8]) * count


def gif(width, height, *blocks):
    """A GIF whose screen is small and whose first frame is not; it is to be disposed of, which takes memory at once."""
    disposal = b"\x21\xf9\x04\x08\0\0\0\0"
    frame = b"\x2c" + struct.pack("<4HB", 0, 0, width, height, 0) + b"\x02\x02\x44\x01\0"
    return b"GIF89a" + struct.pack("<HHBBB", 16, 16, 0, 0, 0) + b"".join(blocks) + disposal + frame + b";"


def jpeg2000(width, height, tile=None):
    """A JPEG 2000 whose container says 16 x 16, and whose codestream says otherwise."""
    data = bytearray(encoded(Image.new("L", (16, 16)), "JPEG2000"))
    start = data.index(b"\xff\x4f\xff\x51") + 8
    data[start : start + 8] = struct.pack(">II", width, height)
    data[start + 16 : start + 24] = struct.pack(">II", tile or width, tile or height)
    return bytes(data)


def webp(width, height):
    """A WebP whose canvas is huge; its limit is 16,384 pixels a side."""
    picture = encoded(Image.new("RGB", (16, 16)), "WEBP", lossless=True)[12:]
    canvas = b"VP8X" + struct.pack("<II", 10, 0) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"RIFF" + struct.pack("<I", 4 + len(canvas + picture)) + b"WEBP" + canvas + picture


def run_length_bmp(width, height):
    """A BMP of a few bytes per row, each of which takes a decoder in Python a step per pixel."""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, 0, 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 0, 0, 0, 1078) + header + bytes(1024) + b"\1\1\0\0" * height + b"\0\1"


POSTSCRIPT = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 16 16\n%%EndComments\n(mark) (w) file closefile\nshowpage\n%%EOF\n"
)
