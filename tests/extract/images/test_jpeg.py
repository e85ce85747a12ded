"""JPEG: pixel data that ends early is damage, and looking for it changes no pixel."""

import dataclasses
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

from extract.bad_image import BadImage
from extract.images.decode import DecodePolicy, decode, without_pillow_limits
from extract.images.jpeg import sealed_jpeg
from tests.attacks.bombs import jpeg_of_scans

PHOTO = Image.fromarray(load_sample_images().images[0]).resize((160, 104))
POLICY = DecodePolicy((104, 160), "nearest", "stretch", (255, 255, 255), 1_000_000)


@pytest.fixture(autouse=True)
def limits():
    with without_pillow_limits():
        yield


def encoded(image=PHOTO, **options):
    sink = BytesIO()
    image.save(sink, "JPEG", **options)
    return sink.getvalue()


def own_pixels(data):
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


SEQUENTIAL = {
    "usual": encoded(),
    "optimized": encoded(optimize=True),
    "quality 100": encoded(quality=100, subsampling=0),
    "grey": encoded(PHOTO.convert("L")),
    "CMYK": encoded(PHOTO.convert("CMYK")),
    "one pixel": encoded(PHOTO.resize((1, 1))),
    "restarts": encoded(restart_marker_blocks=5),
    "restarts in every row": encoded(restart_marker_rows=1),
    "metadata": encoded(exif=Image.Exif().tobytes() + b"\xff\xd9\xff\xda" * 9, comment=b"\xff\xd8\xff\xd9"),
    "a second image behind it": encoded() + encoded(PHOTO.rotate(180)),
    "padding before its end": encoded()[:-2] + b"\xff\xff\xff\xd9",
    "some bytes too many": encoded()[:-2] + bytes(50) + b"\xff\xd9",
}


@pytest.mark.parametrize("name", SEQUENTIAL)
def test_pixels_are_those_of_the_whole_file(name):
    data = SEQUENTIAL[name]
    sealed = sealed_jpeg(data)
    assert sealed is not None
    assert np.array_equal(own_pixels(sealed), own_pixels(data))
    assert np.array_equal(
        decode(data, POLICY).pixels, np.asarray(Image.fromarray(own_pixels(data)).resize((160, 104), 0))
    )


def test_the_first_image_of_several_is_that_of_a_jpeg():
    sink = BytesIO()
    PHOTO.save(sink, "MPO", save_all=True, append_images=[PHOTO.rotate(180)])
    assert np.array_equal(decode(sink.getvalue(), POLICY).pixels, own_pixels(encoded()))


def test_other_kinds_are_left_as_they_are():
    assert sealed_jpeg(encoded(progressive=True)) is None
    assert sealed_jpeg(encoded()[:-2]) is None


@pytest.mark.parametrize("name", ["usual", "optimized", "quality 100", "grey", "CMYK", "restarts"])
def test_missing_pixel_data_is_damage(name):
    data = SEQUENTIAL[name]
    for kept in (0.6, 0.9):
        with pytest.raises(BadImage, match="ends before") as caught:
            decode(data[: int(kept * len(data))] + b"\xff\xd9", POLICY)
        assert caught.value.code == "corrupt"


def test_a_marker_in_the_middle_of_pixel_data_is_damage():
    data = bytearray(SEQUENTIAL["usual"])
    data[len(data) // 2 : len(data) // 2 + 2] = b"\xff\xd9"
    assert code_of(bytes(data)) == "corrupt"


def test_a_restart_marker_out_of_order_is_damage():
    data = SEQUENTIAL["restarts"]
    assert code_of(data.replace(b"\xff\xd3", b"\xff\xd5", 1)) == "corrupt"


def code_of(data):
    with pytest.raises(BadImage) as caught:
        decode(data, POLICY)
    return caught.value.code


def test_fast_decoding_sees_missing_data_too():
    large = encoded(PHOTO.resize((1600, 1040)))
    fast = DecodePolicy((104, 160), "nearest", "stretch", (255, 255, 255), 10_000_000, fast=True)
    decode(large, fast)
    with pytest.raises(BadImage, match="ends before"):
        decode(large[: len(large) // 2] + b"\xff\xd9", fast)


METADATA = {
    "a short JFIF": (0xE0, b"JFIF\0"),
    "a short Adobe": (0xEE, b"Adobe\0"),
    "a short color profile": (0xE2, b"ICC_PROFILE\0"),
    "half a color profile": (0xE2, b"ICC_PROFILE\0\1\2" + bytes(100)),
    "damaged EXIF": (0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
    "a list of images that is not one": (0xE2, b"MPF\0II*\0" + bytes(range(100))),
    "half a Photoshop resource": (0xED, b"Photoshop 3.0\x008BIM"),
    "comments": (0xFE, b"\xff\xd8\xff\xd9" * 10_000),
}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_that_cannot_be_read_says_nothing_about_pixels(name):
    marker, content = METADATA[name]
    data = SEQUENTIAL["usual"]
    segment = bytes([0xFF, marker]) + (2 + len(content)).to_bytes(2, "big") + content
    assert np.array_equal(decode(data[:2] + segment + data[2:], POLICY).pixels, own_pixels(data))


def test_a_header_that_cannot_be_read_is_damage():
    assert code_of(SEQUENTIAL["usual"].replace(b"\xff\xc0\0\x11", b"\xff\xc0\0\x03", 1)) == "corrupt"


def test_a_jpeg_of_some_scans_is_decoded():
    for data in (encoded(progressive=True), jpeg_of_scans(20)):
        assert decode(data, dataclasses.replace(POLICY, max_pixels=10_000_000)).pixels.shape == (104, 160, 3)
