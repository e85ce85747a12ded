"""The grid of a transformer's patches, from the number of its tokens."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class TokenGrid:
    """Patches in rows, from the `prefix`-th token on."""

    prefix: int
    rows: int
    columns: int

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows, self.columns


def find_grid(tokens: int, prefix: int, image_size: tuple[int, int]) -> TokenGrid | None:
    """The grid of the patches, which are square and cover the image; None where the numbers do not fit.

    Args:
        tokens: of the whole sequence.
        prefix: tokens before those of the patches.
        image_size: (height, width) in pixels.
    """
    height, width = image_size
    patches = tokens - prefix
    if patches < 1:
        return None
    # rows / columns = height / width where patches are square and divide both edges
    rows = math.isqrt(patches * height // width)
    if rows < 1 or patches % rows or rows * width != (patches // rows) * height:
        return None
    return TokenGrid(prefix, rows, patches // rows)
