"""What every source of images gives: a listing."""

from dataclasses import dataclass

import pyarrow as pa


@dataclass(frozen=True)
class Listing:
    """The images of DATA.

    Attributes:
        root: the folder or URL that paths are relative to.
        table: one row per image, LISTING_SCHEMA, sorted by path.
        others: files of the folder that are not images.
    """

    root: str
    table: pa.Table
    others: int = 0

    def __len__(self) -> int:
        return len(self.table)
