"""What people write in folder names and tables -> the one spelling of it that is stored."""

import re

from store.files.names import printable

_SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validate": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
}
_OF_IMAGES = re.compile(r"(?<=.)[\s_-]*(?:set|data|images)$")
"""A suffix that the name of a split may have: train_set, test images."""


def find_split(text: str) -> str | None:
    """The split that a folder's name or a table's value means, in whatever case; None if it means none."""
    return _SPLITS.get(_OF_IMAGES.sub("", text.strip().casefold()))


def report_changed(what: str, before: list[str], after: list[str]) -> list[str]:
    """A line, if there is a need for one, that says how many of `what` were spelled otherwise, with an example."""
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    if not changed:
        return []
    old, new = changed[0]
    return [
        f"{len(changed):,} of {len(before):,} {what} trimmed or normalized (Unicode NFC): "
        f"{printable(old)!r} is {printable(new)!r}"
    ]
