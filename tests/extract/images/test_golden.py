"""Pixels of every kind of image against other decoders: imagecodecs, and tifffile (see test_tiff.py).

docs/reliability.md has a row for each kind below, which says what becomes of it.
"""

import struct
import time
from io import BytesIO
from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image

from extract.bad_image import BadImage
from extract.images.decode import DecodePolicy, decode, without_pillow_limits
from tests.attacks.bombs import encoded, icns, ico

BACKGROUND = (10, 20, 30)
WIDTH, HEIGHT = 40, 24
SOURCE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)
SMOOTH = np.asarray(Image.fromarray(SOURCE).resize((5, 3)).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))
RGB, RGBA = Image.fromarray(SMOOTH[..., :3]), Image.fromarray(SMOOTH)
GREY = RGB.convert("L")
PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"


@pytest.fixture(autouse=True)
def limits():
    with without_pillow_limits():
        yield


def pixels(data, size):
    return decode(data, DecodePolicy(size, "nearest", "stretch", BACKGROUND, 1_000_000)).pixels


def over_background(rgba):
    """Composited in floating point."""
    alpha = rgba[..., 3:].astype(float) / 255
    return rgba[..., :3] * alpha + np.array(BACKGROUND) * (1 - alpha)


def three(grey):
    return np.stack([grey] * 3, axis=-1)


def from_cmyk(inverted):
    """RGB of CMYK samples that are stored as the share of light that is left, as Adobe's programs do."""
    inverted = inverted.astype(float)
    return inverted[..., :3] * inverted[..., 3:] / 255


def deep(samples):
    return (samples >> 8).astype(np.uint8)


def cmyk_jpeg(stored):
    return imagecodecs.jpeg8_encode(SMOOTH, level=95, colorspace="CMYK", outcolorspace=stored)


def animation(file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    return encoded(
        RGB, file_format, save_all=True, append_images=[RGB.rotate(180), Image.new("RGB", RGB.size)], **options
    )


def heic(image):
    """Without loss: no other decoder of it is at hand."""
    sink = BytesIO()
    pillow_heif.from_pillow(image).save(sink, quality=-1, chroma=444, matrix_coefficients=0)
    return sink.getvalue()


def tiff(samples, **options):
    sink = BytesIO()
    tifffile.imwrite(sink, samples, metadata=None, **options)
    return sink.getvalue()


DEEP = np.random.default_rng(1).integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
DEEP_RGB = np.random.default_rng(2).integers(0, 65536, (HEIGHT, WIDTH, 3), dtype=np.uint16)
PALETTE = RGB.quantize(16)
PALETTE_ALPHA = bytes(range(0, 256, 16))

# Kind -> file, pixels by another decoder, and by how much they may differ: conversions of color are rounded differently.
DECODED = {
    "JPEG": (data := encoded(RGB, "JPEG"), imagecodecs.jpeg8_decode(data), 0),
    "JPEG, grey": (data := encoded(GREY, "JPEG"), three(imagecodecs.jpeg8_decode(data)), 0),
    "JPEG, progressive": (data := encoded(RGB, "JPEG", progressive=True), imagecodecs.jpeg8_decode(data), 0),
    "JPEG, CMYK": (data := cmyk_jpeg("CMYK"), from_cmyk(imagecodecs.jpeg8_decode(data)), 2),
    "JPEG, YCCK": (data := cmyk_jpeg("YCCK"), from_cmyk(imagecodecs.jpeg8_decode(data)), 2),
    "JPEG, several images (MPO)": (data := animation("MPO"), imagecodecs.jpeg8_decode(data), 0),
    "PNG": (data := encoded(RGB, "PNG"), imagecodecs.png_decode(data), 0),
    "PNG, grey": (data := encoded(GREY, "PNG"), three(imagecodecs.png_decode(data)), 0),
    "PNG, 1 bit": (
        data := encoded(GREY.convert("1"), "PNG"),
        three(np.asarray(GREY.convert("1")).astype(np.uint8) * 255),
        0,
    ),
    "PNG, 16 bits": (data := imagecodecs.png_encode(DEEP), three(deep(imagecodecs.png_decode(data))), 0),
    "PNG, RGB of 16 bits": (data := imagecodecs.png_encode(DEEP_RGB), deep(imagecodecs.png_decode(data)), 0),
    "PNG, alpha": (data := encoded(RGBA, "PNG"), over_background(imagecodecs.png_decode(data)), 1),
    "PNG, palette": (data := encoded(PALETTE, "PNG"), imagecodecs.png_decode(data)[..., :3], 0),
    "PNG, palette with alpha": (
        data := encoded(PALETTE, "PNG", transparency=PALETTE_ALPHA),
        over_background(imagecodecs.png_decode(data)),
        1,
    ),
    "PNG, animated": (data := animation("PNG"), imagecodecs.png_decode(data), 0),
    "GIF": (data := encoded(PALETTE, "GIF"), imagecodecs.gif_decode(data)[..., :3], 0),
    "GIF, animated": (data := animation("GIF"), imagecodecs.gif_decode(data)[0, ..., :3], 0),
    "WebP": (data := encoded(RGB, "WEBP"), imagecodecs.webp_decode(data)[..., :3], 0),
    "WebP, lossless with alpha": (
        data := encoded(RGBA, "WEBP", lossless=True, exact=True),
        over_background(imagecodecs.webp_decode(data)),
        1,
    ),
    "WebP, animated": (animation("WEBP"), np.asarray(RGB), 0),
    "AVIF": (data := encoded(RGB, "AVIF", subsampling="4:4:4"), imagecodecs.avif_decode(data), 1),
    "HEIC, HEIF": (heic(RGB), np.asarray(RGB), 0),
    "JPEG 2000": (data := encoded(RGB, "JPEG2000"), imagecodecs.jpeg2k_decode(data), 0),
    "BMP": (data := encoded(RGB, "BMP"), imagecodecs.bmp_decode(data), 0),
    "QOI": (data := encoded(RGB, "QOI"), imagecodecs.qoi_decode(data), 0),
    "TIFF": (data := encoded(RGB, "TIFF"), imagecodecs.tiff_decode(data), 0),
    "TIFF, LZW": (data := encoded(RGB, "TIFF", compression="tiff_lzw"), imagecodecs.tiff_decode(data), 0),
    "TIFF, JPEG": (data := encoded(RGB, "TIFF", compression="jpeg"), tifffile.imread(BytesIO(data)), 0),
    "TIFF, group 4": (
        encoded(GREY.convert("1"), "TIFF", compression="group4"),
        three(np.asarray(GREY.convert("1")).astype(np.uint8) * 255),
        0,
    ),
    "TIFF, CMYK": (encoded(RGB.convert("CMYK"), "TIFF"), np.asarray(RGB), 0),
    "TIFF, palette": (encoded(PALETTE, "TIFF"), np.asarray(PALETTE.convert("RGB")), 0),
    "TIFF, 16 bits": (tiff(DEEP, photometric="minisblack"), three(deep(DEEP)), 0),
    "TIFF, RGB of 16 bits": (tiff(DEEP_RGB, photometric="rgb"), deep(DEEP_RGB), 0),
    "TIFF, separate planes": (
        tiff(np.moveaxis(DEEP_RGB, -1, 0).copy(), photometric="rgb", planarconfig="separate"),
        deep(DEEP_RGB),
        0,
    ),
    "TIFF, several pages": (tiff(np.stack([SMOOTH[..., :3]] * 2), photometric="rgb"), SMOOTH[..., :3], 0),
    "PPM": (encoded(RGB, "PPM"), np.asarray(RGB), 0),
    "PGM, 16 bits": (b"P5 %d %d 65535\n" % (WIDTH, HEIGHT) + DEEP.astype(">u2").tobytes(), three(deep(DEEP)), 0),
    "TGA": (encoded(RGB, "TGA"), np.asarray(RGB), 0),
    "PCX": (encoded(RGB, "PCX"), np.asarray(RGB), 0),
    "SGI": (encoded(RGB, "SGI"), np.asarray(RGB), 0),
    "DDS": (data := encoded(RGBA, "DDS", pixel_format="DXT5"), over_background(imagecodecs.dds_decode(data)), 2),
    "ICO": (ico(encoded(RGBA, "PNG")), over_background(SMOOTH), 1),
    "ICNS": (icns(encoded(RGBA, "PNG")), over_background(SMOOTH), 1),
    "1 x 20,000 pixels": (
        encoded(Image.fromarray(np.arange(60_000).astype(np.uint8).reshape(20_000, 1, 3)), "PNG"),
        np.arange(60_000).astype(np.uint8).reshape(20_000, 1, 3),
        0,
    ),
}


def iptc():
    return b"\x1c\x03\x3c\0\x02\x01\0\x1c\x03\x14\0\x02\0\x10\x1c\x03\x1e\0\x02\0\x10\x1c\x03\x78\0\x01\x05\x1c\x08\x0a\0\0"


FLOATS = np.full((HEIGHT, WIDTH), np.nan, np.float32)
REFUSED = {
    "TIFF, floating point (NaN or not)": (tiff(FLOATS), "unsupported_pixels"),
    "TIFF, 32 bits": (tiff(DEEP.astype(np.uint32)), "unsupported_pixels"),
    "TIFF, signed": (tiff(DEEP.astype(np.int8)), "unsupported_pixels"),
    "TIFF, CIE L*a*b*": (encoded(Image.new("LAB", (9, 9)), "TIFF"), "unsupported_pixels"),
    "TIFF, camera raw (CFA)": (tiff(DEEP, photometric="cfa"), "unsupported_pixels"),
    "PFM, floating point": (b"Pf\n2 2\n-1.0\n" + bytes(16), "unsupported_pixels"),
    "PostScript, PDF": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not_an_image"),
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
    "IPTC, FPX, MIC, BLP, GBR, XV thumbnails": (iptc(), "not_an_image"),
    "WMF, EMF": (b"\xd7\xcd\xc6\x9a\0\0" + bytes(100), "not_an_image"),
}


@pytest.mark.parametrize("kind", DECODED)
def test_pixels_are_those_of_another_decoder(kind):
    data, expected, tolerance = DECODED[kind]
    assert np.abs(pixels(data, expected.shape[:2]).astype(float) - expected).max() <= tolerance


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_decoded_surely_is_refused(kind):
    data, code = REFUSED[kind]
    with pytest.raises(BadImage) as caught:
        decode(data, DecodePolicy((8, 8), "nearest", "stretch", BACKGROUND, 1_000_000))
    assert caught.value.code == code


def test_the_page_says_what_becomes_of_each_kind():
    rows = dict(row.strip("| \n").split(" | ")[:2] for row in PAGE.read_text().splitlines() if row.startswith("| "))
    expected = dict.fromkeys(DECODED, "decoded") | {kind: f"`{code}`" for kind, (_, code) in REFUSED.items()}
    assert {kind: rows.get(kind) for kind in expected} == expected


def test_a_gif_of_100_000_frames_costs_its_first_one():
    screen = struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes([1, 2, 3, 4, 5, 6])
    frame = b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    data = b"GIF89a" + screen + frame * 100_000 + b";"
    began = time.process_time()
    assert pixels(data, (1, 1)).tolist() == [[[1, 2, 3]]]
    assert time.process_time() - began < 0.5
