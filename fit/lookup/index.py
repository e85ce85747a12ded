"""An approximate index of a store's features by USearch (extra `index`), kept in the cache folder and checked once.

The index is the graph of Malkov and Yashunin 2018 (arXiv:1603.09320) over directions in float16. A store's published
files never change, so it lies outside the store; its name is a digest of what it was made from, and a store that has
changed gets another one.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter
from fit.lookup.candidates import Candidates
from fit.neighbors import NO_ROW, Neighbors, nearest, unit_rows
from store.errors import EnvironmentFailure, UsageError
from store.files.cache import cache_folder
from store.files.local import whole_file, write_whole
from store.json_values import parse
from store.schema import InvalidField, read_fields
from store.suggestions import suggest_install

if TYPE_CHECKING:
    from usearch.index import Index

CHECKED = 100
"""The number of images that an index is checked with."""

AT = 10
"""The number of nearest images to compare for each of them."""

_MADE = 1  # part of an index's name: raised when indexes are made in another way
_EXPANSION = 128  # candidates that a search keeps; the recall below is that of this number
_MOST_BYTES = 2**16


@dataclass(frozen=True)
class Recall:
    """How good an index is, found when it was built.

    Attributes:
        value: of the nearest images by exact search, the share that the index finds.
        images: how many images it was measured with.
        nearest: how many nearest of each.
    """

    value: float
    images: int
    nearest: int

    @property
    def sentence(self) -> str:
        """In words."""
        return (
            f"the index finds {self.value:.1%} of the {self.nearest} nearest of {self.images:,} images that were tried"
        )


@dataclass(frozen=True)
class StoreIndex:
    """An index that is open: its file, and how good it is."""

    file: Path
    recall: Recall
    index: "Index"

    def nearest(self, queries: npt.NDArray[np.generic], k: int) -> Neighbors:
        """What `fit.neighbors.nearest` gives, approximately."""
        return _search(self.index, queries, k)


def require_usearch() -> None:
    """Raise UsageError unless USearch is installed."""
    try:
        import usearch.index  # noqa: F401
    except ImportError:
        raise UsageError(
            f"--index needs USearch: {suggest_install('stillframe[index]')}, or leave it out for exact search"
        ) from None


def open_index(candidates: Candidates, reporter: Reporter = SILENT) -> StoreIndex:
    """The index of these images; built and checked if there is none yet.

    Raises:
        UsageError: USearch is not installed, or a feature is not a number.
        EnvironmentFailure: the cache folder cannot be written.
    """
    require_usearch()
    from usearch.index import Index

    file = cache_folder() / "indexes" / f"{_name(candidates)}.usearch"
    recall = _read_recall(file)
    if recall is None:
        recall = _build(candidates, file, reporter)
    index = Index.restore(str(file), view=True)
    if index is None:
        raise EnvironmentFailure(f"{file} is not an index: delete it, then run the same command again")
    index.expansion_search = _EXPANSION
    return StoreIndex(file, recall, index)


def _name(candidates: Candidates) -> str:
    """A digest of the features that are indexed: recipe, output, reduction, plan, and the shards that are there."""
    snapshot = candidates.store.snapshot
    parts: Sequence[object] = (
        _MADE,
        candidates.store.fingerprint,
        candidates.output.name,
        candidates.reduction,
        snapshot.current.plan if snapshot.current else "",
        sorted(record.shard for record in snapshot.records.values()),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _build(candidates: Candidates, file: Path, reporter: Reporter) -> Recall:
    from usearch.index import Index

    started = time.perf_counter()
    index, sample = None, _Sample(candidates.rows.stored)
    for values, rows in candidates.batches(reporter, "building the index"):
        if index is None:
            index = Index(ndim=values.shape[1], metric="ip", dtype="f16", expansion_search=_EXPANSION)
        index.add(rows.astype(np.uint64), unit_rows(values))
        sample.offer(values, rows)
    assert index is not None, "a store without images is refused before"
    recall = _measure(index, candidates, sample.features(), reporter)
    try:
        with whole_file(file) as part:
            index.save(str(part))
    except (OSError, RuntimeError) as error:
        raise EnvironmentFailure(
            f"cannot write {file} ({error}): fix that, or name another folder in STILLFRAME_CACHE"
        ) from error
    write_whole(_beside(file), (json.dumps(asdict(recall)) + "\n").encode())
    reporter.message(f"built an index in {time.perf_counter() - started:.0f} s, kept as {file}")
    return recall


class _Sample:
    """The features of some rows, evenly spaced, as they come by in a pass."""

    def __init__(self, stored: npt.NDArray[np.int64]) -> None:
        count = min(CHECKED, len(stored))
        self._chosen = stored[np.linspace(0, len(stored) - 1, count).round().astype(np.int64)]
        self._found: list[npt.NDArray[np.float32]] = []

    def offer(self, values: npt.NDArray[np.float32], rows: npt.NDArray[np.int64]) -> None:
        self._found.append(values[np.isin(rows, self._chosen)])

    def features(self) -> npt.NDArray[np.float32]:
        return np.concatenate(self._found)


def _measure(index: "Index", candidates: Candidates, queries: npt.NDArray[np.float32], reporter: Reporter) -> Recall:
    """The share of the exactly nearest that the index finds; one that is as near as the last of them counts too."""
    k = min(AT, len(candidates.rows))
    exact = nearest(queries, candidates.batches(reporter, "checking the index"), k)
    found = _search(index, queries, k)
    equal = found.cosines >= exact.cosines[:, -1:] - 1e-3  # float16
    right = (found.rows[:, :, None] == exact.rows[:, None, :]).any(axis=2)
    return Recall(float((right | equal).mean()), len(queries), k)


def _search(index: "Index", queries: npt.NDArray[np.generic], k: int) -> Neighbors:
    found = index.search(unit_rows(queries), k)
    shape = (len(queries), k)
    counts = np.reshape(getattr(found, "counts", len(found)), (-1, 1))
    missing = np.arange(k) >= counts
    rows = np.zeros(shape, np.int64)
    cosines = np.zeros(shape, np.float32)
    width = min(k, np.shape(found.keys)[-1])
    rows[:, :width] = np.reshape(found.keys, (len(queries), -1)).astype(np.int64)
    cosines[:, :width] = 1 - np.reshape(found.distances, (len(queries), -1))
    return Neighbors(np.where(missing, NO_ROW, rows), np.where(missing, np.float32(-np.inf), cosines))


def _beside(file: Path) -> Path:
    """The file that holds an index's recall."""
    return file.with_suffix(".json")


def _read_recall(file: Path) -> Recall | None:
    """How good an index is; None if there is none, or no note of it."""
    try:
        return read_fields(Recall, parse(_beside(file).read_bytes(), _MOST_BYTES)) if file.is_file() else None
    except (OSError, ValueError, InvalidField):
        return None
