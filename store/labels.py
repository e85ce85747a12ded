"""How many images have which label, split and group: what a user looks at before anything is learned from them."""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from store.files.names import printable

SPLITS = ("train", "validation", "test")

SEPARATOR = "|"
"""Between the labels of an image that has several."""

_INVISIBLE = r"[\s\u200b-\u200f\u2060\ufeff]+"
_INVISIBLE_ENDS = re.compile(rf"^{_INVISIBLE}|{_INVISIBLE}$")
_SHOWN = 8  # classes that a line has room for


@dataclass(frozen=True)
class LabelCounts:
    """Images by their descriptions.

    Attributes:
        classes: images of each label, sorted by label; an image with several counts for each.
        splits: images of each split.
        groups: how many groups there are.
        unlabelled: images without a label.
    """

    classes: Mapping[str, int]
    splits: Mapping[str, int]
    groups: int
    unlabelled: int

    @property
    def sentence(self) -> str:
        """One line, as in `2 classes: animals 20, vehicles 25; splits: none`."""
        parts = [self._classes(), f"splits: {_counted(self.splits) or 'none'}"]
        if self.groups:
            parts.append(f"groups: {self.groups:,}")
        if self.unlabelled and self.classes:
            parts.append(f"without label: {self.unlabelled:,}")
        return "; ".join(parts)

    def _classes(self) -> str:
        count = len(self.classes)
        if count == 0:
            return "no labels"
        noun = "class" if count == 1 else "classes"
        if count <= _SHOWN:
            return f"{count} {noun}: {_counted(self.classes)}"
        first = dict(list(self.classes.items())[: _SHOWN // 2])
        sizes = self.classes.values()
        return f"{count:,} {noun}: {_counted(first)}, …, each {min(sizes):,} to {max(sizes):,}"


def plain_label(text: str) -> str:
    """A label or a group without what cannot be seen around it, its accents composed: else one class would be two.

    That is white space and marks of zero width, which spreadsheets and web pages leave behind. Accents are composed by Unicode's form NFC.
    """
    return unicodedata.normalize("NFC", _INVISIBLE_ENDS.sub("", text))


def split_labels(text: str) -> set[str]:
    """The labels of an image, of which a text has several with SEPARATOR between them."""
    return {plain_label(part) for part in text.split(SEPARATOR)} - {""}


def count_labels(table: pa.Table) -> LabelCounts:
    """Count the images of a listing or a plan: one row each, with label, split and group."""
    classes = Counter[str]()
    for text, count in _counts(table["label"]).items():
        classes.update(dict.fromkeys(split_labels(text), count))
    splits = _counts(table["split"])
    order = [*SPLITS, *sorted(set(splits) - set(SPLITS))]
    return LabelCounts(
        classes=dict(sorted(classes.items())),
        splits={name: splits[name] for name in order if name in splits},
        groups=len(_counts(table["group"])),
        unlabelled=table["label"].null_count,
    )


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counted = pc.value_counts(column.drop_null())
    return dict(zip(counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{printable(name)} {count:,}" for name, count in counts.items())
