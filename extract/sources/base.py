"""What every source of images gives: a listing."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from store.files.names import printable


@dataclass(frozen=True)
class Listing:
    """The images of DATA.

    Attributes:
        root: the folder or URL that paths are relative to.
        table: one row per image, LISTING_SCHEMA, sorted by path.
        left_out: files of the folder that are not images: the number of each ending, which may be empty.
        notes: what a user should know about how DATA was understood, a sentence each.
    """

    root: str
    table: pa.Table
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def others(self) -> int:
        """How many files were left out."""
        return sum(self.left_out.values())


_SHOWN = 6
_COMMON = (".jpg", ".jpeg", ".png", ".tiff", ".heic")


def describe_left_out(left_out: Mapping[str, int]) -> str:
    """Files by their endings, the most frequent first, as in `3 files left out: 2 .txt, 1 .pdf`; empty if there are none."""
    if not left_out:
        return ""
    ordered = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{count:,} {_ending(ending)}" for ending, count in ordered[:_SHOWN]]
    if rest := sum(count for _, count in ordered[_SHOWN:]):
        shown.append(f"{rest:,} others")
    total = sum(left_out.values())
    return f"{total:,} {'file' if total == 1 else 'files'} left out: {', '.join(shown)}"


def _ending(ending: str) -> str:
    close = difflib.get_close_matches(ending, _COMMON, n=1, cutoff=0.75)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f"{printable(ending)}{meant}" if ending else "without an ending"
