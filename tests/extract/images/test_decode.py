"""Bytes -> pixels: every way in which an image can be bad, and what each good one becomes."""

import dataclasses
import os
import re
import socket
import struct
import threading
import tracemalloc
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from sklearn.datasets import load_sample_images

import extract.images.decode
import extract.sources.reading
from extract.bad_image import BadImage
from extract.images.decode import DecodePolicy, decode, parse_color, without_pillow_limits
from extract.process_state import SharedBlock
from store.errors import EnvironmentFailure, UsageError
from tests.stub import read_file

WHITE = (255, 255, 255)
BACKGROUND = (10, 20, 30)


@pytest.fixture(autouse=True)
def limits():
    with without_pillow_limits():
        yield


def policy(size, resize="bilinear", crop="stretch", background=WHITE, max_pixels=1_000_000):
    return DecodePolicy(size, resize, crop, background, max_pixels)


def encoded(image, file_format, **options):
    sink = BytesIO()
    image.save(sink, file_format, **options)
    return sink.getvalue()


def noise(width, height, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def own_pixels(data, background=WHITE):
    """Decoded without resizing, for images that are upright."""
    with Image.open(BytesIO(data)) as image:
        width, height = image.size
    return decode(data, policy((height, width), "nearest", background=background)).pixels


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, rows, *extra):
    """A hand-made PNG; `rows` are the raw bytes of each row."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + data + chunk(b"IEND", b"")


def code_of(data, **changed):
    with pytest.raises(BadImage) as caught:
        decode(data, policy((8, 8), **changed))
    assert caught.value.message == str(caught.value)
    return caught.value.code


def code_of_file(path):
    with pytest.raises(BadImage) as caught:
        decode(read_file(path).data, policy((8, 8)))
    return caught.value.code


PHOTO = Image.fromarray(noise(48, 64))
PNG = encoded(PHOTO, "PNG")

# Files that cannot be read


def test_a_file_that_is_not_there_is_missing(tmp_path):
    assert code_of_file(tmp_path / "gone.png") == "missing"


def test_the_path_that_was_tried_is_said(tmp_path):
    with pytest.raises(BadImage, match=re.escape(f"{tmp_path}/new\\nline\\udcff.png")):
        read_file(tmp_path / "new\nline\udcff.png")


def test_a_path_through_a_file_is_missing(tmp_path):
    (tmp_path / "file").write_bytes(b"x")
    assert code_of_file(tmp_path / "file" / "a.png") == "missing"


def test_links_to_nowhere_and_to_themselves_are_missing(tmp_path):
    (tmp_path / "a.png").symlink_to("nowhere.png")
    (tmp_path / "b.png").symlink_to("c.png")
    (tmp_path / "c.png").symlink_to("b.png")
    assert [code_of_file(tmp_path / name) for name in ("a.png", "b.png")] == ["missing", "missing"]


def test_a_folder_is_not_a_file(tmp_path):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(BadImage, match="this is a folder") as caught:
        read_file(tmp_path / "folder.png")
    assert caught.value.code == "not_a_file"


def test_a_pipe_is_not_a_file_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    codes = []
    reader = threading.Thread(target=lambda: codes.append(code_of_file(tmp_path / "pipe.png")), daemon=True)
    reader.start()
    reader.join(5)
    assert codes == ["not_a_file"]


def test_a_socket_is_not_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.png")
        assert code_of_file("socket.png") == "not_a_file"


def test_a_device_is_not_a_file():
    with pytest.raises(BadImage, match="this is a device") as caught:
        read_file(os.devnull)
    assert caught.value.code == "not_a_file"


def test_an_empty_file_is_empty(tmp_path):
    (tmp_path / "a.png").touch()
    assert code_of_file(tmp_path / "a.png") == "empty"


def test_a_file_over_the_limit_is_too_large_and_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(extract.sources.reading, "MAX_FILE_BYTES", 10)
    (tmp_path / "a.png").write_bytes(b"x" * 11)
    assert code_of_file(tmp_path / "a.png") == "too_large"


def test_there_is_no_file_of_a_name_too_long_for_the_system(tmp_path):
    assert code_of_file(tmp_path / ("a" * 300)) == "missing"


def test_a_source_has_its_bytes_digest_and_time(tmp_path):
    (tmp_path / "a.png").write_bytes(b"abc")
    os.utime(tmp_path / "a.png", ns=(1, 1_234_567_890_123))
    source = read_file(tmp_path / "a.png")
    assert source.data == b"abc"
    assert source.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert source.time == 1_234_567_890_123


# Bytes that are not an image


@pytest.mark.parametrize(
    ("data", "looks"),
    [
        (b"just some text, saved under a wrong name\n" * 9, "it is a text file"),
        (b"<!DOCTYPE html><html><body>404 Not Found", "it is an HTML page"),
        (b"\n <svg xmlns='http://www.w3.org/2000/svg'/>", "it is an SVG drawing"),
        (bytes(5000), "nothing but zero bytes"),
        (b"PK\x03\x04" + noise(9, 9).tobytes(), "it is a ZIP archive"),
        (encoded(PHOTO, "JPEG")[:2], "it is a damaged JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n", "PostScript"),
    ],
    ids=["text", "html", "svg", "zeros", "zip", "two bytes", "postscript"],
)
def test_what_is_no_image_is_said_to_look_like_what_it_is(data, looks):
    with pytest.raises(BadImage, match=looks) as caught:
        decode(data, policy((8, 8)))
    assert caught.value.code == "not_an_image"


@pytest.mark.parametrize(
    "data",
    [
        encoded(PHOTO, "JPEG"),
        encoded(PHOTO, "JPEG", progressive=True),
        PNG,
        encoded(PHOTO, "BMP"),
        encoded(PHOTO, "PPM"),
        encoded(PHOTO, "TGA"),
    ],
    ids=["jpeg", "progressive jpeg", "png", "bmp", "ppm", "tga"],
)
def test_half_an_image_is_truncated(data):
    decode(data, policy((8, 8)))
    assert code_of(data[: len(data) // 2]) == "truncated"


@pytest.mark.parametrize("kept", [8, 20, 33, 60, len(PNG) - 12, len(PNG) - 1])
def test_a_png_that_ends_early_is_truncated_wherever_it_is_cut(kept):
    assert code_of(PNG[:kept]) == "truncated"


def test_a_jpeg_without_its_last_bytes_is_truncated():
    assert code_of(encoded(PHOTO, "JPEG")[:-2]) == "truncated"


def test_a_png_with_one_flipped_bit_in_its_pixels_is_corrupt():
    start = PNG.index(b"IDAT") + 4
    end = PNG.index(b"IEND") - 8
    for position in range(start, end, 101):
        damaged = bytearray(PNG)
        damaged[position] ^= 1 << (position % 8)
        assert code_of(bytes(damaged)) == "corrupt", position


def test_a_png_with_one_flipped_bit_in_its_header_is_corrupt():
    start = PNG.index(b"IHDR")
    for position in range(start, start + 21):
        for bit in range(8):
            damaged = bytearray(PNG)
            damaged[position] ^= 1 << bit
            assert code_of(bytes(damaged)) == "corrupt", (position, bit)


def test_bytes_after_the_end_of_a_png_are_ignored():
    assert np.array_equal(own_pixels(PNG + b"appended"), own_pixels(PNG))


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_of_32_bits_are_unsupported(mode):
    assert code_of(encoded(Image.new(mode, (9, 9), 3), "TIFF")) == "unsupported_pixels"


def test_memory_that_runs_out_is_not_the_images_failure(monkeypatch):
    def load(_):
        raise MemoryError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", load)
    with pytest.raises(EnvironmentFailure, match=r"not enough memory .* --workers.* --max-pixels"):
        code_of(PNG)


# Too many pixels


def huge_png():
    return png(60_000, 60_000, 8, 2, [b"\0" * 100])


def huge_bmp():
    data = bytearray(encoded(PHOTO, "BMP"))
    data[18:26] = struct.pack("<ii", 60_000, 60_000)
    return bytes(data)


def huge_tiff():
    entries = [(256, 60_000), (257, 60_000), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 60_000), (279, 9)]
    fields = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(entries)) + fields + bytes(4)


def huge_jpeg():
    data = bytearray(encoded(PHOTO, "JPEG"))
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", 60_000, 60_000)
    return bytes(data)


def huge_gif():
    data = bytearray(encoded(PHOTO.convert("P"), "GIF"))
    data[6:10] = struct.pack("<HH", 60_000, 60_000)
    return bytes(data)


@pytest.mark.parametrize("make", [huge_png, huge_bmp, huge_tiff, huge_jpeg, huge_gif])
def test_a_huge_image_is_refused_by_its_header_without_memory_for_it(make, monkeypatch):
    data = make()
    code_of(PNG, max_pixels=1)
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda _: pytest.fail("pixels of a refused image were decoded"))
    tracemalloc.start()
    try:
        with pytest.raises(BadImage, match="60000 x 60000 is 3,600,000,000 pixels") as caught:
            decode(data, policy((8, 8)))
        assert caught.value.code == "too_many_pixels"
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_the_limit_itself_is_allowed():
    assert decode(PNG, policy((8, 8), max_pixels=48 * 64)).width == 48
    assert code_of(PNG, max_pixels=48 * 64 - 1) == "too_many_pixels"


@pytest.fixture
def pillow_limits_on(monkeypatch):
    """The module's own fixture, which switches them off for every test, is a block too: not in here."""
    with monkeypatch.context() as patch:
        patch.setattr(extract.images.decode, "_WITHOUT_LIMITS", SharedBlock(extract.images.decode._pillow_limits_off))
        yield


def test_pillows_own_limit_is_off_inside_and_back_afterwards(pillow_limits_on):
    before = 123
    Image.MAX_IMAGE_PIXELS = before
    try:
        with without_pillow_limits():
            assert Image.MAX_IMAGE_PIXELS is None
        assert before == Image.MAX_IMAGE_PIXELS
        with pytest.raises(KeyError), without_pillow_limits():
            raise KeyError
        assert before == Image.MAX_IMAGE_PIXELS
    finally:
        Image.MAX_IMAGE_PIXELS = None  # as the fixture found it once it was open


# Orientation

UPRIGHT = np.zeros((16, 32, 3), np.uint8)
UPRIGHT[:8, :16], UPRIGHT[8:, :16], UPRIGHT[:8, 16:] = (255, 0, 0), (0, 255, 0), (0, 0, 255)
TURNED = {
    1: lambda image: image,
    2: ImageOps.mirror,
    3: lambda image: image.rotate(180),
    4: ImageOps.flip,
    5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
    6: lambda image: image.rotate(90, expand=True),
    7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    8: lambda image: image.rotate(-90, expand=True),
}
LOSSLESS = {"PNG": {}, "TIFF": {}, "WEBP": {"lossless": True}}


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("file_format", ["JPEG", *LOSSLESS])
def test_every_exif_orientation_is_turned_upright(file_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = LOSSLESS.get(file_format, {"quality": 100, "subsampling": 0})
    data = encoded(TURNED[orientation](Image.fromarray(UPRIGHT)), file_format, exif=exif, **options)
    decoded = decode(data, policy((16, 32)))
    assert (decoded.width, decoded.height) == (32, 16)
    assert np.abs(decoded.pixels.astype(int) - UPRIGHT).max() <= (0 if file_format in LOSSLESS else 2)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_ignored(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(own_pixels(encoded(PHOTO, "PNG", exif=exif)), np.asarray(PHOTO))


def test_exif_that_cannot_be_read_is_ignored():
    data = encoded(PHOTO, "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode(data, policy((8, 8))).width == 48


# Transparency

ALPHA = Image.fromarray(np.array([[[9, 8, 7, 255], [200, 100, 50, 0], [255, 255, 255, 128]]], np.uint8))


def test_rgba_is_composited_over_the_background():
    pixels = own_pixels(encoded(ALPHA, "PNG"), BACKGROUND)[0].tolist()
    assert pixels[:2] == [[9, 8, 7], list(BACKGROUND)]
    assert pixels[2] == pytest.approx([(255 * 128 + value * 127) / 255 for value in BACKGROUND], abs=1)


def test_the_background_is_white_if_the_policy_says_so():
    assert own_pixels(encoded(ALPHA, "WEBP", lossless=True))[0, 1].tolist() == [255, 255, 255]


def test_transparency_is_composited_before_resizing():
    image = Image.new("RGBA", (64, 64), (255, 0, 0, 0))  # red that nobody sees
    image.paste((0, 0, 0, 255), (0, 0, 32, 64))
    pixels = decode(encoded(image, "PNG"), policy((8, 8))).pixels
    assert np.array_equal(pixels[..., 0], pixels[..., 1])


def test_grey_with_alpha_is_composited():
    image = Image.fromarray(np.array([[[7, 255], [200, 0]]], np.uint8), "LA")
    assert own_pixels(encoded(image, "PNG"), BACKGROUND)[0].tolist() == [[7, 7, 7], list(BACKGROUND)]


def test_a_palette_with_alpha_is_composited():
    palette = [chunk(b"PLTE", bytes([1, 2, 3, 4, 5, 6])), chunk(b"tRNS", bytes([0, 255]))]
    data = png(2, 1, 8, 3, [bytes([0, 1])], *palette)
    assert own_pixels(data, BACKGROUND)[0].tolist() == [list(BACKGROUND), [4, 5, 6]]


def test_a_palette_image_with_an_alpha_channel_is_composited():
    image = Image.new("PA", (2, 1))
    image.putpalette([1, 2, 3, 4, 5, 6])
    image.putdata([(1, 255), (0, 0)])
    with Image.open(BytesIO(encoded(image, "TIFF"))) as written:
        assert written.mode == "PA"
    assert own_pixels(encoded(image, "TIFF"), BACKGROUND)[0].tolist() == [[4, 5, 6], list(BACKGROUND)]


def test_a_transparent_color_of_a_gif_is_composited():
    image = Image.new("P", (2, 1))
    image.putpalette([1, 2, 3, 4, 5, 6])
    image.putdata([0, 1])
    assert own_pixels(encoded(image, "GIF", transparency=0), BACKGROUND)[0].tolist() == [list(BACKGROUND), [4, 5, 6]]


@pytest.mark.parametrize(
    ("depth", "color", "row", "transparent", "other"),
    [
        (8, 2, [1, 2, 3, 4, 5, 6], [0, 1, 0, 2, 0, 3], [4, 5, 6]),
        (8, 0, [1, 4], [0, 1], [4, 4, 4]),
        (16, 0, [0x12, 0xFF, 0x12, 0xFE], [0x12, 0xFF], [0x12, 0x12, 0x12]),
        (1, 0, [0b01000000], [0, 0], [255, 255, 255]),
        (2, 0, [0b10010000], [0, 2], [85, 85, 85]),
        (4, 0, [0x73], [0, 7], [51, 51, 51]),
        (16, 2, [0x12, 1, 0x34, 2, 0x56, 3, 1, 9, 2, 9, 3, 9], [0x12, 1, 0x34, 2, 0x56, 3], [1, 2, 3]),
    ],
    ids=["rgb", "grey", "grey of 16 bits", "grey of 1 bit", "grey of 2 bits", "grey of 4 bits", "rgb of 16 bits"],
)
def test_a_transparent_color_of_a_png_is_composited(depth, color, row, transparent, other):
    data = png(2, 1, depth, color, [bytes(row)], chunk(b"tRNS", bytes(transparent)))
    assert own_pixels(data, BACKGROUND)[0].tolist() == [list(BACKGROUND), other]


# Pixels of other kinds


def test_16_bit_grey_keeps_the_high_byte():
    assert own_pixels(png(2, 1, 16, 0, [bytes([0x12, 0xFF, 0xAB, 0x00])]))[0].tolist() == [[0x12] * 3, [0xAB] * 3]


def test_16_bit_rgb_keeps_the_high_byte():
    data = png(2, 1, 16, 2, [bytes([0x12, 0xFF, 0xAB, 0x00, 0x7F, 0xFF, 1, 0, 2, 128, 3, 255])])
    assert own_pixels(data)[0].tolist() == [[0x12, 0xAB, 0x7F], [1, 2, 3]]


def test_16_bits_with_alpha_keep_the_high_byte():
    row = bytes([0x12, 0xFF, 0xAB, 0x00, 0x7F, 0xFF, 0xFF, 0xFF, 1, 0, 2, 0, 3, 0, 0, 0])
    assert own_pixels(png(2, 1, 16, 6, [row]), BACKGROUND)[0].tolist() == [[0x12, 0xAB, 0x7F], list(BACKGROUND)]


@pytest.mark.parametrize("data", [b"P5 2 1 65535\n\x12\xff\xab\x00", b"P2 2 1 65535\n4863 43776\n"])
def test_16_bit_pgm_keeps_the_high_byte(data):
    assert own_pixels(data)[0].tolist() == [[0x12] * 3, [0xAB] * 3]


def test_16_bit_grey_tiff_keeps_the_high_byte():
    image = Image.fromarray(np.array([[0x12FF, 0xAB00]], np.uint16))
    assert own_pixels(encoded(image, "TIFF"))[0].tolist() == [[0x12] * 3, [0xAB] * 3]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM", "BMP"])
def test_one_bit_is_black_and_white(file_format):
    image = Image.fromarray(np.array([[False, True]]))
    assert own_pixels(encoded(image, file_format))[0].tolist() == [[0, 0, 0], [255, 255, 255]]


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "TGA"])
def test_grey_is_three_equal_channels(file_format):
    levels = noise(9, 5, 1)
    assert np.array_equal(own_pixels(encoded(Image.fromarray(levels), file_format)), np.stack([levels] * 3, axis=-1))


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_becomes_its_colors(file_format):
    image = PHOTO.quantize(16)
    assert np.array_equal(own_pixels(encoded(image, file_format)), np.asarray(image.convert("RGB")))


def test_a_cmyk_jpeg_becomes_rgb_as_pillow_converts_it():
    data = encoded(Image.new("CMYK", (8, 8), (255, 0, 0, 0)), "JPEG", quality=100)
    with Image.open(BytesIO(data)) as image:
        assert image.mode == "CMYK"
        expected = np.asarray(image.convert("RGB"))
    assert np.array_equal(own_pixels(data), expected)
    assert own_pixels(data)[0, 0].tolist() == pytest.approx([0, 255, 255], abs=2)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_several_images_the_first_counts(file_format):
    images = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(images[0], file_format, save_all=True, append_images=images[1:], **options)
    with Image.open(BytesIO(data)) as image:
        assert image.n_frames == 3
    assert np.all(own_pixels(data) == [255, 0, 0])


def test_content_decides_what_a_file_is_and_not_its_ending(tmp_path):
    (tmp_path / "really_png.jpg").write_bytes(PNG)
    decoded = decode(read_file(tmp_path / "really_png.jpg").data, policy((64, 48)))
    assert np.array_equal(decoded.pixels, np.asarray(PHOTO))


@pytest.mark.parametrize("file_format", ["AVIF", "JPEG2000", "PCX", "DIB"])
def test_the_rarer_formats_are_decoded(file_format):
    image = Image.linear_gradient("L").convert("RGB")
    decoded = decode(encoded(image, file_format), policy((256, 256)))
    assert np.abs(decoded.pixels.astype(int) - np.asarray(image)).max() <= 3


# Sizes


@pytest.fixture(scope="module")
def photographs():
    return load_sample_images().images


FILTERS = {"bilinear": "BILINEAR", "nearest": "NEAREST", "bicubic": "BICUBIC", "lanczos": "LANCZOS", "area": "BOX"}


@pytest.mark.parametrize("resize", FILTERS)
@pytest.mark.parametrize("size", [(96, 64), (64, 96), (500, 700)])
def test_stretching_is_pillows_resize(photographs, resize, size):
    image = Image.fromarray(photographs[0])
    expected = np.asarray(image.resize(size[::-1], Image.Resampling[FILTERS[resize]]))
    assert np.array_equal(decode(encoded(image, "PNG", compress_level=0), policy(size, resize)).pixels, expected)


@pytest.mark.parametrize("resize", ["bilinear", "lanczos"])
def test_a_center_crop_keeps_the_proportions_and_cuts_the_longer_side(resize):
    image = Image.fromarray(noise(80, 40))
    pixels = decode(encoded(image, "PNG"), policy((20, 20), resize, "center")).pixels
    expected = image.resize((20, 20), Image.Resampling[FILTERS[resize]], box=(20, 0, 60, 40))
    assert np.array_equal(pixels, np.asarray(expected))


def test_padding_keeps_the_whole_image_between_bars_of_background():
    image = Image.fromarray(noise(80, 40))
    pixels = decode(encoded(image, "PNG"), policy((40, 40), crop="pad", background=BACKGROUND)).pixels
    assert np.array_equal(pixels[10:30], np.asarray(image.resize((40, 20), Image.Resampling.BILINEAR)))
    assert np.all(pixels[:10] == BACKGROUND)
    assert np.all(pixels[30:] == BACKGROUND)


@pytest.mark.parametrize("crop", ["stretch", "center", "pad"])
def test_an_image_of_the_right_size_is_left_as_it_is(crop):
    assert np.array_equal(decode(PNG, policy((64, 48), "lanczos", crop)).pixels, np.asarray(PHOTO))


@pytest.mark.parametrize("size", [(1, 1), (299, 299), (3, 400)])
@pytest.mark.parametrize("crop", ["stretch", "center", "pad"])
@pytest.mark.parametrize("source", [(1, 1), (1, 200), (200, 1)])
def test_images_of_any_shape_come_out_in_the_size_asked_for(source, crop, size):
    decoded = decode(encoded(Image.new("RGB", source), "PNG"), policy(size, crop=crop))
    assert decoded.pixels.shape == (*size, 3)
    assert (decoded.width, decoded.height) == source


def test_nearest_is_what_keras_load_img_does(photographs):
    for photograph in photographs:
        data = encoded(Image.fromarray(photograph), "JPEG", quality=90)
        with Image.open(BytesIO(data)) as image:  # keras.utils.load_img's own steps
            expected = np.asarray(image.convert("RGB").resize((224, 160), Image.Resampling.NEAREST))
        assert np.array_equal(decode(data, policy((160, 224), "nearest")).pixels, expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("crop", ["stretch", "center", "pad"])
def test_pixels_are_always_three_uint8_channels_in_order(mode, crop):
    pixels = decode(encoded(Image.new(mode, (9, 5)), "PNG"), policy((6, 7), crop=crop)).pixels
    assert (pixels.dtype, pixels.shape) == (np.uint8, (6, 7, 3))
    assert pixels.flags.c_contiguous
    batch = np.zeros((1, 6, 7, 3), np.uint8)
    batch[0] = pixels
    assert np.array_equal(batch[0], pixels)


# Colors


@pytest.mark.parametrize(
    ("text", "color"),
    [("white", WHITE), ("#0a141e", BACKGROUND), ("rgb(10, 20, 30)", BACKGROUND), ("#0a141e80", BACKGROUND)],
)
def test_a_color_is_a_name_or_numbers(text, color):
    assert parse_color(text) == color


@pytest.mark.parametrize("text", ["", "whitish", "#12", "12"])
def test_anything_else_is_no_color(text):
    with pytest.raises(UsageError, match="unknown color"):
        parse_color(text)


# Damage of every kind: tests/attacks/test_fuzz.py


@settings(max_examples=200, deadline=5000)
@given(st.binary(min_size=1, max_size=64), st.sampled_from([b"", PNG[:16], encoded(PHOTO, "TIFF")[:16], b"GIF89a"]))
@example(b"\xff", b"")
def test_any_bytes_at_all_are_decoded_or_bad(data, start):
    try:
        pixels = decode(start + data, policy((8, 8), background=BACKGROUND)).pixels
    except BadImage:
        return
    assert (pixels.dtype, pixels.shape) == (np.uint8, (8, 8, 3))


# Fast decoding


def photograph(width, height):
    return Image.fromarray(load_sample_images().images[0]).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("crop", ["stretch", "center", "pad"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_fast_decoding_of_a_large_jpeg_is_near_the_exact_one(crop, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(photograph(1200, 800), "JPEG", quality=90, exif=exif)
    exact = decode(data, policy((100, 150), crop=crop))
    fast = decode(data, dataclasses.replace(policy((100, 150), crop=crop), fast=True))
    assert (fast.width, fast.height) == (exact.width, exact.height)
    difference = np.abs(fast.pixels.astype(int) - exact.pixels)
    assert difference.max() > 0  # something was saved
    assert difference.mean() < 1


def test_fast_decoding_never_goes_below_twice_the_size(monkeypatch):
    sizes = []
    draft = JpegImageFile.draft

    def noting(image, mode, size):
        draft(image, mode, size)
        sizes.append(image.size)

    monkeypatch.setattr(JpegImageFile, "draft", noting)
    for width, height in ((1600, 1200), (800, 600), (500, 375), (448, 2000)):
        fast = dataclasses.replace(policy((224, 224), max_pixels=2_000_000), fast=True)
        decode(encoded(photograph(width, height), "JPEG"), fast)
    assert sizes == [(800, 600), (800, 600), (500, 375), (448, 2000)]


def test_fast_decoding_leaves_other_images_as_they_are():
    for data in (encoded(photograph(900, 600), "PNG"), encoded(photograph(300, 200), "JPEG")):
        exact = decode(data, policy((100, 150)))
        assert np.array_equal(decode(data, dataclasses.replace(policy((100, 150)), fast=True)).pixels, exact.pixels)
