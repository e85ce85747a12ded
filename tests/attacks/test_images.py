"""Files that are made to harm: whatever they hold, they become a failure, and nothing large is allocated or started."""

import os
import subprocess
import sys

import pytest

from extract.bad_image import BadImage
from extract.images.decode import DecodePolicy, decode, without_pillow_limits
from tests.attacks.bombs import (
    HUGE,
    POSTSCRIPT,
    blp,
    dib,
    gif,
    icns,
    ico,
    iptc,
    jpeg,
    jpeg2000,
    jpeg_of_scans,
    png,
    run_length_bmp,
    tiff,
    tiff_of_strips,
    webp,
)

POLICY = DecodePolicy((16, 16), "bilinear", "stretch", (255, 255, 255), 100_000_000)

# Name -> the file, and its failure.
CASES = {
    "a PNG in an ICO": (ico(png(HUGE, HUGE)), "too_many_pixels"),
    "a bitmap in an ICO": (ico(dib(HUGE, HUGE)), "too_many_pixels"),
    "a PNG in an ICNS": (icns(png(HUGE, HUGE)), "too_many_pixels"),
    "a JPEG 2000 in an ICNS": (icns(jpeg2000(HUGE, HUGE)), "too_many_pixels"),
    "a PNG in an IPTC": (iptc(png(HUGE, HUGE)), "not_an_image"),
    "a JPEG in a BLP": (blp(jpeg(HUGE, HUGE)), "not_an_image"),
    "a tile of a TIFF": (tiff(16, 16, HUGE), "too_many_pixels"),
    "a million strips of a TIFF": (tiff_of_strips(1_000_000), "unsupported_pixels"),
    "a frame of a GIF": (gif(60_000, 60_000), "too_many_pixels"),
    "a frame of a GIF behind a comment": (gif(60_000, 60_000, b"\x21\xfe\x03abc\0"), "too_many_pixels"),
    "a frame of a GIF behind a loop": (
        gif(60_000, 60_000, b"\x21\xff\x0bNETSCAPE2.0\x03\1\0\0\0"),
        "too_many_pixels",
    ),
    "a frame of a GIF behind damage": (gif(60_000, 60_000, b"xyz\x21\x01\0\x02ab\0"), "too_many_pixels"),
    "a codestream of JPEG 2000": (jpeg2000(HUGE, HUGE), "too_many_pixels"),
    "tiles of JPEG 2000": (jpeg2000(255, 257, tile=1), "unsupported_pixels"),
    "a canvas of WebP": (webp(16_000, 16_000), "too_many_pixels"),
    "a thousand scans of a JPEG": (jpeg_of_scans(1000), "unsupported_pixels"),
    "a run-length encoded BMP": (run_length_bmp(10_000, 10_000), "too_many_pixels"),
    "PostScript": (POSTSCRIPT, "not_an_image"),
    "PostScript with a preview": (b"\xc5\xd0\xd3\xc6" + bytes(26) + POSTSCRIPT, "not_an_image"),
    "PostScript in an IPTC": (iptc(POSTSCRIPT), "not_an_image"),
    "PostScript in an ICO": (ico(POSTSCRIPT), "truncated"),
    "PostScript in an ICNS": (icns(POSTSCRIPT), "corrupt"),
    "PostScript in an IPTC in an ICO": (ico(iptc(POSTSCRIPT)), "truncated"),
    "an ICO in an ICO": (ico(ico(png(16, 16))), "truncated"),
    "a WMF": (b"\xd7\xcd\xc6\x9a\0\0" + bytes(100), "not_an_image"),
    "an empty ICO": (b"\0\0\1\0\0\0", "corrupt"),
    "an endless ICNS": (b"icns\xff\xff\xff\xff" + b"abcd\0\0\0\1" * 100, "not_an_image"),
}

# Run in a process of its own, with programs on the path that leave a mark.
DECODE_ALL = """
import json, resource
from extract.bad_image import BadImage
from extract.images.decode import decode, without_pillow_limits
from tests.attacks.limits import peak_megabytes
from tests.attacks.test_images import CASES, POLICY

before = peak_megabytes()
with without_pillow_limits():
    for data, _ in CASES.values():
        try:
            decode(data, POLICY)
        except BadImage:
            pass
print(peak_megabytes() - before)
"""


@pytest.fixture(autouse=True)
def limits():
    with without_pillow_limits():
        yield


@pytest.mark.parametrize("name", CASES)
def test_a_file_made_to_harm_is_a_failure(name):
    data, code = CASES[name]
    with pytest.raises(BadImage) as caught:
        decode(data, POLICY)
    assert caught.value.code == code, caught.value.message


def test_no_program_is_started_and_little_memory_is_taken(tmp_path):
    mark = tmp_path / "mark"
    for name in ("gs", "djpeg", "gswin64c"):
        (tmp_path / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": os.getcwd()}
    found = subprocess.run(
        [sys.executable, "-c", DECODE_ALL], check=False, env=environment, capture_output=True, text=True
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert not mark.exists()
    assert int(found.stdout) < 64
