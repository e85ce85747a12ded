"""A store's features as heads take them: reduced; in memory if they fit, else read from the shards at each pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter
from fit.choices import WHOLE
from fit.splits import Positions
from store.errors import UsageError
from store.files.names import printable
from store.memory import available_memory
from store.reader import SHARDS_AT_ONCE, FeatureStore
from store.recipe import Output
from store.suggestions import suggest
from store.tensors import Tensor

_READ_ROWS = 256
_FEATURES_PART = 0.5  # of the memory that is left; the rest is for the fit itself
_SHARDS_PART = 0.2


def reduce_tensor(tensor: Tensor, reduction: str) -> Tensor:
    """Rows of (height, width, channels) as vectors: avg in float32, max and flatten in the tensor's own type.

    Rows that are vectors already, and the reduction none, stay as they are.
    """
    if tensor.ndim == 2 or reduction == WHOLE:
        return tensor
    if reduction == "flatten":
        return tensor.reshape(len(tensor), int(np.prod(tensor.shape[1:])))  # not -1, which no rows do not determine
    axes = tuple(range(1, tensor.ndim - 1))
    reduced: Tensor = tensor.mean(axis=axes, dtype=np.float32) if reduction == "avg" else tensor.max(axis=axes)
    return reduced


def reduced_shape(shape: tuple[int, ...], reduction: str) -> tuple[int, ...]:
    """The shape of one row after `reduce_tensor`."""
    if len(shape) == 1 or reduction == WHOLE:
        return shape
    return (int(np.prod(shape)),) if reduction == "flatten" else shape[-1:]


class Features(Protocol):
    """Features of some rows, numbered from 0, as a head takes them: float32."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        ...

    def take(self, rows: Positions) -> npt.NDArray[np.float32]:
        """The rows at these positions, in this order."""
        ...

    def batches(
        self, rows: Positions, batch_size: int, seed: int | None
    ) -> Iterator[tuple[npt.NDArray[np.float32], Positions]]:
        """One pass over those rows: batches of (features, row numbers), in random order if there is a seed."""
        ...


@dataclass(frozen=True)
class InMemory:
    """`Features` in memory; `values` is (rows, *shape) in the type in which they take the least memory."""

    values: npt.NDArray[np.generic]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.values.shape[1:]

    def take(self, rows: Positions) -> npt.NDArray[np.float32]:
        """See `Features`."""
        return self.values[rows].astype(np.float32, copy=False)

    def batches(
        self, rows: Positions, batch_size: int, seed: int | None
    ) -> Iterator[tuple[npt.NDArray[np.float32], Positions]]:
        """See `Features`."""
        if seed is not None:
            rows = np.random.default_rng(seed).permutation(rows)
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            yield self.take(part), part


@dataclass(frozen=True)
class Streamed:
    """`Features` that are read from the store's shards at each pass.

    Attributes:
        store: where they are.
        output: which of its outputs.
        reduction: how spatial tensors become vectors.
        stored: (rows,), each row's position in the store.
        shards: the number of shards in memory at a time.
    """

    store: FeatureStore
    output: Output
    reduction: str
    stored: Positions
    shards: int

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return reduced_shape(self.output.shape, self.reduction)

    def take(self, rows: Positions) -> npt.NDArray[np.float32]:
        """See `Features`."""
        taken = np.empty((len(rows), *self.shape), np.float32)
        order = np.argsort(self.stored[rows], kind="stable")
        done = 0
        for part, _ in self.batches(rows[order], _READ_ROWS, None):
            taken[order[done : done + len(part)]] = part
            done += len(part)
        return taken

    def batches(
        self, rows: Positions, batch_size: int, seed: int | None
    ) -> Iterator[tuple[npt.NDArray[np.float32], Positions]]:
        """See `Features`."""
        numbers = np.empty(len(self.store), np.int64)
        numbers[self.stored] = np.arange(len(self.stored))
        for tensor, positions in self.store.passes(self.stored[rows], batch_size, seed, self.output.name, self.shards):
            yield reduce_tensor(tensor, self.reduction).astype(np.float32), numbers[positions]


@dataclass(frozen=True)
class Joined:
    """`Features` of several blocks of vectors side by side: row i is row i of each, one after the other."""

    blocks: tuple[Features, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return (sum(block.shape[0] for block in self.blocks),)

    def take(self, rows: Positions) -> npt.NDArray[np.float32]:
        """See `Features`."""
        return np.concatenate([block.take(rows) for block in self.blocks], axis=1)

    def batches(
        self, rows: Positions, batch_size: int, seed: int | None
    ) -> Iterator[tuple[npt.NDArray[np.float32], Positions]]:
        """See `Features`; the first block decides the random order."""
        first, *others = self.blocks
        for values, part in first.batches(rows, batch_size, seed):
            yield np.concatenate([values, *(block.take(part) for block in others)], axis=1), part


@dataclass(frozen=True)
class Scaled:
    """`Features` of vectors that are multiplied, column by column, by `factors` (columns,)."""

    features: Features
    factors: npt.NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row."""
        return self.features.shape

    def take(self, rows: Positions) -> npt.NDArray[np.float32]:
        """See `Features`."""
        scaled: npt.NDArray[np.float32] = self.features.take(rows) * self.factors
        return scaled

    def batches(
        self, rows: Positions, batch_size: int, seed: int | None
    ) -> Iterator[tuple[npt.NDArray[np.float32], Positions]]:
        """See `Features`."""
        for values, part in self.features.batches(rows, batch_size, seed):
            yield values * self.factors, part


@dataclass(frozen=True)
class Source:
    """Rows of features with their targets. `targets` has those of all rows of the features, not only of `rows`."""

    features: Features
    rows: Positions
    targets: npt.NDArray[np.generic]

    def __len__(self) -> int:
        return len(self.rows)

    def batches(
        self, batch_size: int, seed: int | None
    ) -> Iterator[tuple[npt.NDArray[np.float32], npt.NDArray[np.generic]]]:
        """One pass: batches of (features, targets), in random order if there is a seed."""
        for values, rows in self.features.batches(self.rows, batch_size, seed):
            yield values, self.targets[rows]


def load_features(
    store: FeatureStore,
    output: Output,
    reduction: str,
    stored: Positions,
    streams: bool,
    reporter: Reporter = SILENT,
) -> Features:
    """The features of those rows of the store, checked to be finite.

    Args:
        store: where they are.
        output: which of its outputs.
        reduction: how spatial tensors become vectors.
        stored: the rows, by position in the store, ascending.
        streams: whether the head learns batch by batch, so that the features need not fit into memory.
        reporter: shows progress.

    Raises:
        UsageError: a value is NaN or infinite; or they do not fit into memory and the head cannot stream.
    """
    left = available_memory()
    shards = int(min(SHARDS_AT_ONCE, max(1, _SHARDS_PART * left // _shard_bytes(store, output))))
    streamed = Streamed(store, output, reduction, stored, shards)
    needed = len(stored) * int(np.prod(streamed.shape)) * 4
    if needed <= _FEATURES_PART * left:
        values = np.empty((len(stored), *streamed.shape), np.float32 if reduction == "avg" else output.dtype)
        for features, rows in _checked_batches(streamed, reporter):
            values[rows] = features
        return InMemory(values)
    if not streams:
        spatial = output.spatial and reduction in ("flatten", WHOLE)
        ways = "--reduce avg, " if spatial else ""
        raise UsageError(
            f"the features take {needed / 1e9:.1f} GB and {left / 1e9:.1f} GB of memory are left, of which half may go "
            f"to them: use {ways}--head linear, where images have one class each, or --head dense, which learn batch by "
            "batch; or a machine with more memory"
        )
    for _ in _checked_batches(streamed, reporter):
        pass
    return streamed


def _shard_bytes(store: FeatureStore, output: Output) -> int:
    """The size of the largest shard in memory."""
    largest = max((len(record.rows) for record in store.snapshot.records.values()), default=1)
    return max(1, largest * store.recipe.views * int(np.prod(output.shape)) * np.dtype(output.dtype).itemsize)


def _checked_batches(streamed: Streamed, reporter: Reporter) -> Iterator[tuple[npt.NDArray[np.float32], Positions]]:
    """All features in batches, each checked to be finite."""
    count = len(streamed.stored)
    with reporter.step("reading features", count) as progress:
        for features, rows in streamed.batches(np.arange(count), _READ_ROWS, None):
            _require_finite(features, rows, streamed)
            progress.advance(len(rows), 0)
            yield features, rows


def _require_finite(values: npt.NDArray[np.float32], rows: Positions, streamed: Streamed) -> None:
    finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
    if not finite.all():
        position = int(streamed.stored[rows[~finite][0]])
        path = printable(streamed.store.table()["path"][position].as_py())
        verify = suggest("store", "verify", str(streamed.store.folder))
        raise UsageError(
            f"the features of {path} hold NaN or infinity ({int((~finite).sum())} such rows in its batch): no head can "
            f"learn from them; look for the cause with {verify}, leave such images "
            "out with --labels FILE, or extract again with sound weights"
        )
