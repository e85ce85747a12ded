"""What a file is by its content, photos that need an extra, and photos that nothing here decodes."""

import sys
from io import BytesIO

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from extract.bad_image import BadImage
from extract.images.decode import DecodePolicy, decode
from extract.images.kinds import kind_of
from extract.images.loader import ImageLoader
from extract.monitor import Clock
from store.files.local import LocalFiles

SIZE = (48, 64)  # height, width


def policy(max_pixels=10**6):
    return DecodePolicy(SIZE, "nearest", "stretch", (255, 255, 255), max_pixels)


@pytest.fixture(scope="module")
def photo():
    """Smooth, so that a lossy encoder changes little."""
    rows, columns = np.mgrid[0:48, 0:64]
    return Image.fromarray(np.stack([rows * 4, columns * 3, rows + columns], axis=-1).astype(np.uint8))


def heic(image, **options):
    sink = BytesIO()
    pillow_heif.from_pillow(image).save(sink, quality=90, **options)
    return sink.getvalue()


def test_a_heic_photo_is_decoded(photo):
    decoded = decode(heic(photo), policy())
    assert (decoded.width, decoded.height) == (64, 48)
    assert np.abs(decoded.pixels.astype(int) - np.asarray(photo)).max() < 16


def test_a_transparent_heic_photo_is_put_on_the_background(photo):
    transparent = photo.convert("RGBA")
    transparent.putalpha(0)
    assert (decode(heic(transparent), policy()).pixels == 255).all()


def test_a_heic_photo_is_refused_by_its_header_if_it_is_too_large(photo):
    with pytest.raises(BadImage) as caught:
        decode(heic(photo), policy(max_pixels=100))
    assert caught.value.code == "too_many_pixels"


def test_a_heic_photo_is_turned_upright_once(photo):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    decoded = decode(heic(photo, exif=exif.tobytes()), policy())
    turned = photo.transpose(Image.Transpose.ROTATE_270)
    assert (decoded.width, decoded.height) == turned.size
    expected = np.asarray(turned.resize((64, 48), Image.Resampling.NEAREST))
    assert np.abs(decoded.pixels.astype(int) - expected).max() < 24


def test_half_a_heic_photo_is_a_failure(photo):
    data = heic(photo)
    with pytest.raises(BadImage) as caught:
        decode(data[: len(data) // 2], policy())
    assert caught.value.code in ("corrupt", "truncated")


def test_without_the_extra_a_heic_photo_names_it(photo, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(BadImage, match=r"a HEIC photo .*`pip install 'stillframe\[heif\]'`.* --retry-failed") as caught:
        decode(heic(photo), policy())
    assert caught.value.code == "needs_extra"


def test_an_avif_photo_is_decoded(photo):
    sink = BytesIO()
    photo.save(sink, "AVIF", quality=90)
    assert np.abs(decode(sink.getvalue(), policy()).pixels.astype(int) - np.asarray(photo)).max() < 16
    assert kind_of(sink.getvalue()) == "an AVIF photo"


TIFF_WITH_A_THUMBNAIL = BytesIO()
Image.new("RGB", (8, 8)).save(TIFF_WITH_A_THUMBNAIL, "TIFF")


@pytest.mark.parametrize("name", ["a.NEF", "a.dng", "a.arw"])
def test_the_thumbnail_of_a_camera_raw_is_not_taken_for_the_photo(tmp_path, name):
    (tmp_path / name).write_bytes(TIFF_WITH_A_THUMBNAIL.getvalue())
    failure = ImageLoader(LocalFiles(tmp_path), policy(), None, 1).load(name, Clock())
    assert failure.code == "unsupported_format"
    assert failure.message == "a camera RAW photo is not decoded here: convert it to TIFF, PNG or JPEG first"


def test_a_jpeg_with_the_ending_of_a_camera_raw_is_a_jpeg(tmp_path, photo):
    photo.save(tmp_path / "a.nef", "JPEG")
    (view,) = ImageLoader(LocalFiles(tmp_path), policy(), None, 1).load("a.nef", Clock())
    assert view.decoded.width == 64


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"II*\0\x10\0\0\0CR\x02\0" + bytes(99), "a camera RAW photo"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + bytes(99), "a camera RAW photo"),
        (b"FUJIFILMCCD-RAW 0201" + bytes(99), "a camera RAW photo"),
        (b"\xff\x0a\xf8\x7f" + bytes(99), "a JPEG XL image"),
        (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99), "a JPEG XL image"),
    ],
)
def test_photos_that_nothing_here_decodes_are_failures_of_their_own(data, kind):
    with pytest.raises(BadImage, match=f"{kind} is not decoded here") as caught:
        decode(data, policy())
    assert caught.value.code == "unsupported_format"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"%PDF-1.7\n%\xe2\xe3", "a PDF"),
        (b"\0\0\0\x20ftypisom\0\0\x02\0isomiso2avc1mp41", "a video"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", "a HEIC photo"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "a WAV file"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
            "a Git LFS pointer, not the file: run `git lfs pull`",
        ),
        ("naïve text, in UTF-8\n".encode() * 99, "a text file"),
        ("text".encode("utf-16"), "a text file"),
        (b"\xef\xbb\xbf<html>", "an HTML page"),
        (b"<?xml version='1.0'?><a/>", "an XML file"),
        (b"a\0b\x01\x02\x03\xfe\xff", ""),
        (b"caf\xe9 \xff\xfe\xfd\xfc" * 20, ""),
        (bytes(128) + b"DICM", "a DICOM image"),
    ],
)
def test_content_is_named(data, kind):
    assert kind_of(data) == kind
