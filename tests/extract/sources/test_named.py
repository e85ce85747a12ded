"""Images in memory: what decoding them gives is what it would give for a file with the same pixels."""

import io

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


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "PA"])
def test_transparent_pixels_show_the_background(mode):
    pixels = decode(in_memory(Image.new("RGBA", (2, 2), (0, 0, 0, 0)).convert(mode)), POLICY).pixels
    assert pixels.reshape(-1, 3).tolist() == [[10, 20, 30]] * 4
