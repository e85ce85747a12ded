"""Fourth channels that are alpha, and those that are not."""

import struct
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from extract.images.decode import DecodePolicy, decode, without_pillow_limits

BACKGROUND = (10, 20, 30)
COLORS = np.array([[[200, 100, 50], [1, 2, 3], [255, 0, 9]]], np.uint8)
POLICY = DecodePolicy((1, 3), "nearest", "stretch", BACKGROUND, 1_000_000)


@pytest.fixture(autouse=True)
def limits():
    with without_pillow_limits():
        yield


def rgba(alpha):
    return np.dstack([COLORS, np.full((1, 3), alpha, np.uint8)])


def bgra(alpha):
    return rgba(alpha)[..., [2, 1, 0, 3]].tobytes()


def tga(pixels, kind=2, depth=32, attribute_bits=0, extension=None):
    """A TGA with its first row on top; `extension` is the type of its attributes, in version 2 of the format."""
    header = struct.pack("<BBBHHBHHHHBB", 0, 0, kind, 0, 0, 0, 0, 0, 3, 1, depth, 0x20 | attribute_bits)
    if extension is None:
        return header + pixels
    area = struct.pack("<H", 495) + bytes(492) + bytes([extension])
    footer = struct.pack("<II", len(header + pixels), 0) + b"TRUEVISION-XFILE.\0"
    return header + pixels + area + footer


def bmp(alpha, mask):
    """A BMP of 32 bits with the masks of version 4 of its header."""
    masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, mask)
    header = struct.pack("<IiiHHIIiiII", 108, 3, -1, 1, 32, 3, 12, 0, 0, 0, 0) + masks + bytes(52)
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + 12, 0, 0, 14 + len(header)) + header + bgra(alpha)


def psd(alpha, layers):
    """A PSD of four channels; `layers` is its layer count, negative if the fourth one is transparency."""
    section = struct.pack(">Ih", 2, layers) + bytes(6)
    return (
        b"8BPS"
        + struct.pack(">H6xHIIHH", 1, 4, 1, 3, 8, 3)
        + struct.pack(">II", 0, 0)
        + struct.pack(">I", len(section))
        + section
        + b"\0\0"
        + np.moveaxis(rgba(alpha), -1, 0).tobytes()
    )


def pixels(data):
    with Image.open(BytesIO(data)) as image:
        assert image.has_transparency_data
    return decode(data, POLICY).pixels.tolist()


OPAQUE = {
    "TGA without attribute bits": tga(bgra(0)),
    "TGA without attribute bits, some alpha": tga(bgra(77)),
    "TGA whose extension says no alpha": tga(bgra(0), attribute_bits=8, extension=0),
    "TGA whose extension says undefined": tga(bgra(0), attribute_bits=8, extension=2),
    "BMP whose alpha is zero everywhere": bmp(0, 0xFF000000),
    "PSD with a selection": psd(0, 1),
    "PSD with a selection and no layers": psd(0, 0),
}
TRANSPARENT = {
    "TGA with attribute bits": tga(bgra(0), attribute_bits=8),
    "TGA whose extension says alpha": tga(bgra(0), attribute_bits=8, extension=3),
    "PSD with transparency": psd(0, -1),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_what_is_not_alpha_hides_nothing(name):
    assert pixels(OPAQUE[name]) == COLORS.tolist()


@pytest.mark.parametrize("name", TRANSPARENT)
def test_what_is_alpha_shows_the_background(name):
    assert pixels(TRANSPARENT[name]) == [[list(BACKGROUND)] * 3]


def test_a_bmp_with_alpha_is_composited():
    assert np.abs(np.array(pixels(bmp(128, 0xFF000000))) - (COLORS * 0.5 + np.array(BACKGROUND) * 0.5)).max() <= 2


def test_a_bmp_without_a_mask_for_alpha_is_opaque():
    assert decode(bmp(0, 0), POLICY).pixels.tolist() == COLORS.tolist()


def test_grey_with_an_unused_attribute_in_a_tga_is_opaque():
    data = tga(bytes([5, 0, 90, 0, 255, 0]), kind=3, depth=16)
    assert pixels(data) == [[[level] * 3 for level in (5, 90, 255)]]


def test_colors_of_a_tga_of_16_bits_are_opaque_without_attribute_bits():
    data = tga(struct.pack("<3H", 0x7C00, 0x03E0, 0x801F), depth=16)
    assert pixels(data) == [[[255, 0, 0], [0, 255, 0], [0, 0, 255]]]
