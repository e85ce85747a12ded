"""TIFF files of every layout against tifffile: decoded to the high byte of each sample, or refused, and never wrong."""

import itertools
import struct
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from extract.bad_image import BadImage
from extract.images.decode import DecodePolicy, decode, without_pillow_limits

HEIGHT, WIDTH = 21, 37
POLICY = DecodePolicy((HEIGHT, WIDTH), "nearest", "stretch", (255, 255, 255), 1_000_000)
ALPHA = {"unspecified": 0, "assocalpha": 1, "unassalpha": 2}


@pytest.fixture(autouse=True)
def limits():
    with without_pillow_limits():
        yield


def samples(kind, bits, count, alpha=None):
    """Random samples that use all bits; premultiplied colors are not above their alpha."""
    random = np.random.default_rng(0).integers(0, 1 << bits, (HEIGHT, WIDTH, count))
    if alpha == "assocalpha":
        random = np.concatenate([np.minimum(random[..., :-1], random[..., -1:]), random[..., -1:]], axis=-1)
    return (random - (1 << (bits - 1)) if kind == "i" else random).astype(f"{kind}{(bits + 7) // 8}")


def written(values, **options):
    """The file that tifffile writes of (height, width, samples)."""
    if options.get("planarconfig") == "separate":
        values = np.moveaxis(values, -1, 0)
    sink = BytesIO()
    tifffile.imwrite(sink, np.ascontiguousarray(values.squeeze()), metadata=None, **options)
    with tifffile.TiffFile(BytesIO(sink.getvalue())) as file:
        assert file.pages[0].imagewidth == WIDTH
    return sink.getvalue()


def high_bytes(values, bits, inverted=False):
    """What is expected of grey or RGB samples, composited over white."""
    high = values.astype(int) >> (bits - 8) if bits >= 8 else values.astype(int) * 255 // ((1 << bits) - 1)
    high = 255 - high if inverted else high
    return np.repeat(high, 3, axis=-1) if high.shape[-1] == 1 else high[..., :3]


STORED = [
    {"compression": compression, "predictor": predictor, **blocks, "byteorder": order}
    for compression, predictor in ((None, None), ("zlib", None), ("zlib", True))
    for blocks in ({"tile": (16, 32)}, {"rowsperstrip": 7})
    for order in "<>"
]


@pytest.mark.parametrize("stored", STORED, ids=lambda stored: "-".join(map(str, stored.values())))
def test_grey_and_rgb_keep_their_high_byte_however_they_are_stored(stored):
    for bits, planes in itertools.product((8, 16), ("contig", "separate")):
        grey, rgb = samples("u", bits, 1), samples("u", bits, 3)
        assert np.array_equal(
            decode(written(grey, photometric="minisblack", **stored), POLICY).pixels, high_bytes(grey, bits)
        )
        data = written(rgb, photometric="rgb", planarconfig=planes, **stored)
        assert np.array_equal(decode(data, POLICY).pixels, high_bytes(rgb, bits)), (bits, planes)


@pytest.mark.parametrize("alpha", ALPHA)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_fourth_sample_is_alpha_only_if_the_file_says_so(alpha, bits, planes, compression):
    if (alpha, bits, planes, compression) == ("unspecified", 8, "separate", None):
        pytest.skip("Pillow cannot open these: see REFUSED")
    values = samples("u", bits, 4, alpha)
    data = written(values, photometric="rgb", extrasamples=[alpha], planarconfig=planes, compression=compression)
    color, opacity = high_bytes(values, bits).astype(float), (values[..., 3:].astype(int) >> (bits - 8)) / 255
    expected = {
        "unspecified": color,
        "unassalpha": color * opacity + 255 * (1 - opacity),
        "assocalpha": color + 255 * (1 - opacity),
    }[alpha]
    assert np.abs(decode(data, POLICY).pixels - expected).max() <= (0 if alpha == "unspecified" else 2)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_white_is_zero_is_not_a_negative(bits, compression):
    values = samples("u", bits, 1)
    data = written(values, photometric="miniswhite", compression=compression, byteorder="<")
    assert np.array_equal(decode(data, POLICY).pixels, high_bytes(values, bits, inverted=True))


@pytest.mark.parametrize("bits", [2, 4, 12])
def test_packed_samples_are_scaled_to_eight_bits(bits):
    values = samples("u", bits, 1)
    data = written(values, photometric="minisblack", bitspersample=bits, byteorder="<")
    assert np.array_equal(decode(data, POLICY).pixels, high_bytes(values, bits))


@pytest.mark.parametrize("depth", [8, 16])
def test_colors_of_a_palette_may_have_eight_bits(depth):
    colors = np.random.default_rng(1).integers(0, 256, (3, 256), dtype=np.uint16)
    indices = samples("u", 8, 1)
    data = written(indices, photometric="palette", colormap=colors << (depth - 8))
    assert np.array_equal(decode(data, POLICY).pixels, colors.T[indices[..., 0]])


REFUSED = {
    "signed grey": (samples("i", 8, 1), {"photometric": "minisblack"}),
    "signed grey of 16 bits": (samples("i", 16, 1), {"photometric": "minisblack"}),
    "signed RGB": (samples("i", 8, 3), {"photometric": "rgb"}),
    "two planes of grey": (samples("u", 8, 2), {"photometric": "minisblack", "planarconfig": "separate"}),
    "five planes of grey": (
        samples("u", 16, 5),
        {"photometric": "miniswhite", "planarconfig": "separate", "compression": "zlib"},
    ),
    "a fourth plane that is not specified": (
        samples("u", 8, 4),
        {"photometric": "rgb", "extrasamples": ["unspecified"], "planarconfig": "separate"},
    ),
    "two samples of grey": (samples("u", 16, 2), {"photometric": "minisblack", "planarconfig": "contig"}),
    "white is zero of 16 bits, big endian": (samples("u", 16, 1), {"photometric": "miniswhite", "byteorder": ">"}),
    "CIE L*a*b*": (samples("u", 8, 3), {"photometric": "cielab"}),
    "a color filter array": (samples("u", 16, 1), {"photometric": "cfa"}),
    "32 bits": (samples("u", 32, 1), {"photometric": "minisblack"}),
    "floats": (np.full((HEIGHT, WIDTH, 1), np.nan, np.float32), {"photometric": "minisblack"}),
    "floats in three samples": (np.zeros((HEIGHT, WIDTH, 3), np.float32), {"photometric": "rgb"}),
    "half floats": (np.zeros((HEIGHT, WIDTH, 1), np.float16), {"photometric": "minisblack"}),
    "complex numbers": (np.zeros((HEIGHT, WIDTH, 1), np.complex64), {"photometric": "minisblack"}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_agreed_range_or_is_not_decoded_surely_is_refused(name):
    values, options = REFUSED[name]
    with pytest.raises(BadImage, match="convert") as caught:
        decode(written(values, **options), POLICY)
    assert caught.value.code == "unsupported_pixels"


def test_subsampled_ycbcr_without_compression_is_refused():
    data = bytearray(written(samples("u", 8, 3), photometric="ycbcr", subsampling=(1, 1)))
    decode(bytes(data), POLICY)
    position = data.index((530).to_bytes(2, "little")) + 8
    data[position : position + 4] = (2).to_bytes(2, "little") * 2
    with pytest.raises(BadImage, match="subsampled YCbCr"):
        decode(bytes(data), POLICY)


def test_a_tiff_turned_on_its_side_keeps_its_planes():
    values = samples("u", 16, 3)
    data = written(values, photometric="rgb", planarconfig="separate", extratags=[(274, 3, 1, 6)])
    upright = np.rot90(high_bytes(values, 16), -1)
    decoded = decode(data, DecodePolicy((WIDTH, HEIGHT), "nearest", "stretch", (255, 255, 255), 1_000_000))
    assert np.array_equal(decoded.pixels, upright)
    assert (decoded.width, decoded.height) == (HEIGHT, WIDTH)


def test_pillows_constants_are_where_they_were():
    """The parts of Pillow's TIFF plug-in that are set directly: see extract/images/tiff.py."""
    with Image.open(BytesIO(written(samples("u", 8, 3), photometric="rgb", compression="zlib"))) as image:
        assert image.use_load_libtiff is True
        assert image.tile[0].codec_name == "libtiff"
        assert image._tile_size == (WIDTH, HEIGHT)


def test_a_tiff_of_very_many_tags_is_refused():
    data = b"II+\0\x08\0\0\0" + struct.pack("<QQ", 16, 1 << 40)
    with pytest.raises(BadImage, match="tags, more than"):
        decode(data, POLICY)
