"""The memory that decoding takes: an estimate per image, and a budget for all the threads that decode at once."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from extract.images.tiff import tile_size

BYTES_PER_DECODER = 256 * 2**20
"""What the budget grows by with each decoding thread: a photograph of 30 megapixels, turned upright."""

# Bytes per pixel of an image in Pillow (its Storage.c): one, two, or a padded four.
_SMALL_MODES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16L": 2, "I;16B": 2, "I;16N": 2}

# Bytes per pixel that decoders take beside the image, as measured, where they are many: while decoding, and until the end.
_WHILE_DECODING = {"AVIF": 12, "HEIF": 12, "JPEG2000": 24, "TIFF": 6}
_UNTIL_THE_END = {"WEBP": 8}
_PROGRESSIVE = 7


def decoding_bytes(image: Image.Image) -> int:
    """About how many bytes it takes to decode an opened image and make it upright RGB, its file not included."""
    stored = _SMALL_MODES.get(image.mode, 4)
    decoding = _PROGRESSIVE if "progressive" in image.info else _WHILE_DECODING.get(image.format or "", 4)
    # Transparency takes RGBA and the background that it is composited over.
    converted = 8 if image.has_transparency_data else 0 if image.mode == "RGB" else 4
    turned = stored
    per_pixel = 1 + stored + max(decoding, turned + converted) + _UNTIL_THE_END.get(image.format or "", 0)
    width, height = image.size
    tile_width, tile_height = tile_size(image)
    return per_pixel * max(width * height, tile_width * tile_height)


class MemoryBudget:
    """A number of bytes that threads share: each waits, in order of arrival, until what it needs is free.

    An image that needs more than the whole budget is decoded while no other one is.

    Args:
        limit: bytes in all.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, needed: int) -> Iterator[None]:
        """Wait for this number of bytes, and hand them on after the block."""
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            # In order of arrival: small images that overtake would keep a large one waiting for ever.
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and self._fits(needed))
                self._used += needed
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._used -= needed
                self._changed.notify_all()

    def _fits(self, needed: int) -> bool:
        return self._used == 0 or self._used + needed <= self._limit
