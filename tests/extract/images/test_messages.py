"""What libraries write about damaged images stays off the terminal inside the block, and only there."""

import logging
from io import BytesIO

import pytest
from PIL import Image

from extract.images.decode import without_pillow_limits
from tests.attacks.bombs import encoded


def load_damaged():
    data = encoded(Image.new("L", (20, 20)), "TIFF", compression="tiff_adobe_deflate")
    start = data.index(b"\x78\x9c")
    with (
        Image.open(BytesIO(data[:start] + bytes(8) + data[start + 8 :])) as image,
        pytest.raises(OSError, match="decoder error"),
    ):
        image.load()


def test_libtiff_is_silent_inside_the_block_and_not_afterwards(capfd):
    with without_pillow_limits():
        load_damaged()
        assert capfd.readouterr().err == ""
    load_damaged()
    assert "ZIPDecode" in capfd.readouterr().err


def test_pillows_logger_is_silent_inside_the_block_and_not_afterwards(capfd):
    logger = logging.getLogger("PIL.TiffImagePlugin")
    with without_pillow_limits():
        assert not logger.isEnabledFor(logging.ERROR)
    assert logger.isEnabledFor(logging.ERROR)
