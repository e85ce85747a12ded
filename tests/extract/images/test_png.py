"""PNG: metadata never stands between a decoder and sound pixels."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from extract.bad_image import BadImage
from extract.images.decode import DecodePolicy, decode, without_pillow_limits
from extract.images.png import SIGNATURE, sound_png

POLICY = DecodePolicy((8, 6), "nearest", "stretch", (255, 255, 255), 1_000_000)
PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8))
BOMB = zlib.compress(bytes(2_000_000))


@pytest.fixture(autouse=True)
def limits():
    with without_pillow_limits():
        yield


def encoded(image=PICTURE, **options):
    sink = BytesIO()
    image.save(sink, "PNG", **options)
    return sink.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(kind, data, png=None):
    """A PNG with another chunk after its header."""
    png = png or encoded()
    return png[:33] + chunk(kind, data) + png[33:]


METADATA = {
    "a color profile": (b"iCCP", b"ICC\0\0" + BOMB),
    "a damaged color profile": (b"iCCP", b"ICC\0\0 not compressed"),
    "compressed text": (b"zTXt", b"Comment\0\0" + BOMB),
    "international text": (b"iTXt", b"Comment\0\1\0\0\0" + BOMB),
    "XMP": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + BOMB),
    "EXIF in text": (b"zTXt", b"Raw profile type exif\0\0" + BOMB),
    "damaged EXIF in text": (b"zTXt", b"Raw profile type exif\0\0 not compressed"),
    "long text": (b"tEXt", b"Comment\0" + b"x" * 70_000_000),
    "a short physical size": (b"pHYs", b"\0"),
    "a short gamma": (b"cHRM", b"\0\0\0"),
    "an animation without frames": (b"acTL", b"\0"),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_of_any_size_says_nothing_about_pixels(name):
    assert np.array_equal(decode(with_chunk(*METADATA[name]), POLICY).pixels, np.asarray(PICTURE))


def test_damage_in_metadata_is_damage():
    data = bytearray(with_chunk(b"tEXt", b"Comment\0hello"))
    data[45] ^= 1
    with pytest.raises(BadImage, match="checksum in its 'tEXt' chunk"):
        sound_png(bytes(data))


def test_what_pixels_depend_on_is_kept():
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = PICTURE.quantize(4)
    for data in (encoded(exif=exif), encoded(palette, transparency=0), encoded()):
        assert sound_png(data) == data


@pytest.mark.parametrize("compressed", [False, True])
def test_an_orientation_in_text_is_applied(compressed):
    exif = Image.Exif()
    exif[0x0112] = 3
    raw = exif.tobytes()
    old, xmp = PngInfo(), PngInfo()
    old.add_text("Raw profile type exif", f"\nexif\n{len(raw):8}\n{raw.hex()}\n", zip=compressed)
    xmp.add_itxt("XML:com.adobe.xmp", 'x tiff:Orientation="3" x', zip=compressed)
    for info in (old, xmp):
        pixels = decode(encoded(pnginfo=info), POLICY).pixels
        assert np.array_equal(pixels, np.asarray(PICTURE)[::-1, ::-1])


def test_the_first_image_of_an_animation_is_that_of_a_still_one():
    for default in (False, True):
        data = encoded(save_all=True, append_images=[PICTURE.rotate(180)], default_image=default)
        assert np.array_equal(decode(data, POLICY).pixels, np.asarray(PICTURE))


def test_a_png_without_metadata_is_not_copied():
    data = encoded()
    assert data.startswith(SIGNATURE)
    assert sound_png(data) is data
