"""Rows -> classes and targets: which labels there are, and whether a head can learn from them."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from extract.sources.listing import read_labels
from fit.splits import Positions
from store.errors import UsageError
from store.files.names import printable

SEPARATOR = "|"
"""Between the labels of an image that has several."""

_SHOWN = 3


@dataclass(frozen=True)
class Labels:
    """The classes, sorted by name, and each row's target.

    `targets` is int64 (rows,), positions in `classes`; or, where rows have several labels, bool (rows, classes).
    """

    classes: tuple[str, ...]
    targets: npt.NDArray[Any]

    @property
    def several(self) -> bool:
        """Whether a row may have several labels."""
        return self.targets.ndim == 2

    @property
    def strata(self) -> npt.NDArray[np.int64]:
        """(rows,): the class that a split deals a row by; of several labels, the rarest."""
        if not self.several:
            return self.targets
        counts = self.targets.sum(axis=0)
        rarest: npt.NDArray[np.int64] = np.where(self.targets, counts, len(self.targets) + 1).argmin(axis=1)
        return rarest


def relabel(rows: pa.Table, path: str | os.PathLike[str]) -> tuple[pa.Table, Positions, int]:
    """Take label, and split and group where it has them, from a table of path, label[, split, group].

    Rows that the table does not name are left out.

    Returns:
        The rows that are named, their positions in `rows`, and how many paths of the table are not among the rows.

    Raises:
        UsageError: the table is malformed, has no labels, or names none of the rows.
    """
    table = read_labels(os.fspath(path))
    if "label" not in table.column_names:
        raise UsageError(f"{path} has no column label: expected path, label and optionally split and group")
    named = {name: position for position, name in enumerate(table["path"].to_pylist())}
    stored = rows["path"].to_pylist()
    positions = np.array([at for at, name in enumerate(stored) if name in named], np.int64)
    if len(positions) == 0:
        raise UsageError(
            f"{path} names no image of the store: it has paths such as {printable(next(iter(named), ''))!r}, "
            f"the store has {printable(stored[0])!r}; paths are relative to the folder that was extracted"
        )
    kept = rows.take(positions)
    order = pa.array([named[name] for name in kept["path"].to_pylist()], pa.int64())
    for name in ("label", "split", "group"):
        if name in table.column_names:
            kept = kept.set_column(kept.schema.get_field_index(name), name, table[name].take(order).cast(pa.string()))
    return kept, positions, len(named) - len(positions)


def encode_labels(texts: Sequence[str | None], paths: Sequence[str]) -> Labels:
    """Classes and targets of rows with these labels.

    Raises:
        UsageError: labels are missing, there is one class only, or a class has a single row.
    """
    missing = [path for text, path in zip(texts, paths, strict=True) if not text]
    if len(missing) == len(texts):
        raise UsageError(
            "no image has a label: put the images into one folder a class and extract again (nothing is computed "
            "anew where paths stay), or give a table with --labels FILE (path,label)"
        )
    if missing:
        raise UsageError(
            f"{len(missing):,} of {len(texts):,} images have no label ({_some(missing)}): label them, or leave them "
            "out with a table of the others, --labels FILE (path,label)"
        )
    sets = [_parts(text) for text in texts]
    counts = Counter(name for names in sets for name in names)
    classes = tuple(sorted(counts))
    if len(classes) < 2:
        raise UsageError(f"all {len(texts):,} images have the label {classes[0]!r}: a head needs two classes or more")
    single = [name for name in classes if counts[name] == 1]
    if single:
        raise UsageError(
            f"{'the class' if len(single) == 1 else 'the classes'} {_some(single)} {'has' if len(single) == 1 else 'have'}"
            " a single image: a class needs two or more, one to learn from and one to test on; "
            "add images, or merge or leave out the class with --labels FILE"
        )
    several = any(len(names) > 1 for names in sets)
    return Labels(classes, _targets(sets, classes, several))


def encode_known(texts: Sequence[str | None], classes: Sequence[str], several: bool) -> npt.NDArray[Any]:
    """Targets of rows whose classes a head has learnt already, as in `Labels`.

    Raises:
        UsageError: a label is missing or is none of the classes.
    """
    sets = [_parts(text) if several else (text,) if text else () for text in texts]
    unknown = sorted({name for names in sets for name in names} - set(classes))
    if unknown:
        raise UsageError(f"the head does not know the class {_some(unknown)}: it was fitted on {_some(list(classes))}")
    without = sum(not names for names in sets)
    if without:
        raise UsageError(
            f"{without:,} of {len(texts):,} images have no label: label them with --labels FILE (path,label)"
        )
    return _targets(sets, classes, several)


def _targets(sets: Sequence[tuple[str, ...]], classes: Sequence[str], several: bool) -> npt.NDArray[Any]:
    numbers = {name: number for number, name in enumerate(classes)}
    if not several:
        return np.array([numbers[names[0]] for names in sets], np.int64)
    targets = np.zeros((len(sets), len(classes)), bool)
    for row, names in enumerate(sets):
        targets[row, [numbers[name] for name in names]] = True
    return targets


def _parts(text: str | None) -> tuple[str, ...]:
    return tuple(sorted({part.strip() for part in (text or "").split(SEPARATOR)} - {""}))


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_SHOWN])
    return f"{shown}, …" if len(names) > _SHOWN else shown
