"""Images in memory: what decoding them gives is what it would give for a file with the same pixels."""

import io
import sys

import pytest
from PIL import Image

from extract.bad_image import BadImage
from extract.images.decode import DecodePolicy, decode
from extract.sources.named import NamedFiles

POLICY = DecodePolicy((2, 2), "bilinear", "stretch", (10, 20, 30), 100)
NAME = "<image 0>"


def in_memory(image):
    return NamedFiles([NAME], {NAME: image}).read(NAME)


@pytest.mark.parametrize(("mode", "value"), [("F", 0.7), ("I", 70_000)])
def test_samples_of_32_bits_are_unsupported_as_in_files(mode, value):
    image = Image.new(mode, (2, 2), value)
    file = io.BytesIO()
    image.save(file, "tiff")
    failures = []
    for data in (in_memory(image), file.getvalue()):
        with pytest.raises(BadImage) as caught:
            decode(data, POLICY)
        failures.append((caught.value.code, str(caught.value)))
    assert failures[0] == failures[1]
    assert failures[0][0] == "unsupported_pixels"


@pytest.mark.parametrize("mode", ["F", "I"])
@pytest.mark.parametrize("compression", ["jpeg", "group4"])
def test_samples_of_32_bits_are_unsupported_whatever_the_compression_of_their_file(mode, compression):
    image = Image.new(mode, (2, 2), 1)
    image.info["compression"] = compression
    with pytest.raises(BadImage) as caught:
        decode(in_memory(image), POLICY)
    assert caught.value.code == "unsupported_pixels"


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_samples_of_16_bits_keep_their_high_byte_in_every_order(mode):
    order = {"I;16B": "big", "I;16N": sys.byteorder}.get(mode, "little")
    data = b"".join(value.to_bytes(2, order) for value in (0x1234, 0xFF01, 0x00FF, 0x8000))
    pixels = decode(in_memory(Image.frombytes(mode, (2, 2), data)), POLICY).pixels
    assert pixels[..., 0].ravel().tolist() == [0x12, 0xFF, 0x00, 0x80]


def transparent(mode):
    image = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    return image.convert("LA").convert("La") if mode == "La" else image.convert(mode)


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA"])
def test_transparent_pixels_show_the_background(mode):
    pixels = decode(in_memory(transparent(mode)), POLICY).pixels
    assert pixels.reshape(-1, 3).tolist() == [[10, 20, 30]] * 4
