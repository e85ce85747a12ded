"""Reading a store: rows and tensors in plan order, all at once, in batches, or as a Dask array."""

import os
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.errors import DamagedStore, UsageError
from store.files.base import Files
from store.files.opening import open_files
from store.formats import Format, get_format
from store.formats.base import ROW_SCHEMA
from store.labels import count_labels
from store.notebook import notebook_table
from store.plan import DESCRIPTION
from store.recipe import Output, Recipe
from store.shard_file import checked_ahead, read_shard
from store.snapshot import ShardRows, Snapshot, load_snapshot
from store.suggestions import suggest
from store.tensors import Tensor, empty_rows

if TYPE_CHECKING:
    import dask.array

    from store.maintenance import Verification

LABELS = pa.schema([ROW_SCHEMA.field(name) for name in (*DESCRIPTION, "view", "sha256")])
"""The columns of `FeatureStore.labels`."""

SHARDS_AT_ONCE = 4
"""How many decoded shards `batches` has in memory, and across how many it shuffles."""


class FeatureStore:
    """A store opened for reading, as it was at that moment. `len()` is the number of rows.

    Rows come in plan order: sorted by path, an image's views one after the other, the unaltered one first. Every method
    that gives rows gives them in this order unless it shuffles.
    """

    def __init__(self, folder: Files, snapshot: Snapshot) -> None:
        self.folder = folder
        self.snapshot = snapshot
        self._decoded: OrderedDict[tuple[int, str], Tensor] = OrderedDict()

    @property
    def recipe(self) -> Recipe:
        """What the features depend on."""
        return self.snapshot.info.recipe

    @property
    def fingerprint(self) -> str:
        """The recipe's SHA-256."""
        return self.recipe.fingerprint

    @property
    def outputs(self) -> dict[str, Output]:
        """The columns of features by name."""
        return {output.name: output for output in self.snapshot.info.outputs}

    @property
    def complete(self) -> bool:
        """Whether every image of the current plan is a row or a failure."""
        return self.snapshot.plan is not None and self.snapshot.counts().pending == 0

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        return f"FeatureStore({str(self.folder)!r}, {len(self)} rows, outputs {', '.join(self.outputs)})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        counts, recipe = self.snapshot.counts(), self.recipe
        outputs = (
            f"{name}: {' × '.join(map(str, output.shape))}, {output.dtype}" for name, output in self.outputs.items()
        )
        facts = {
            "images": f"{counts.images:,}",
            "rows": f"{counts.rows:,}",
            "failures": f"{counts.failures:,}",
            "outputs": "; ".join(outputs),
            "backbone": f"{recipe.backbone}, {' × '.join(map(str, recipe.image_size))}",
        }
        if counts.pending:
            facts["not computed yet"] = f"{counts.pending:,}"
        if self.snapshot.plan is not None:
            facts["labels"] = count_labels(self.snapshot.plan.rows).sentence
        return notebook_table(f"Features in {self.folder}", facts)

    @cached_property
    def _shards(self) -> list[ShardRows]:
        return self.snapshot.committed_shards()

    @cached_property
    def _numbers(self) -> npt.NDArray[np.int64]:
        """The numbers of the stored rows (see `ShardRows`), ascending."""
        return np.sort(np.concatenate([shard.numbers for shard in self._shards] or [np.empty(0, np.int64)]))

    @cached_property
    def _located(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """For each row, the position of its shard in `_shards`, and its own position in that shard."""
        size = len(self.snapshot.plan.rows) * self.recipe.views if self.snapshot.plan else 0
        located = np.full((2, size), -1, np.int64)
        for number, shard in enumerate(self._shards):
            located[0, shard.numbers] = number
            located[1, shard.numbers] = shard.shard_positions
        return located[0, self._numbers], located[1, self._numbers]

    @cached_property
    def _table(self) -> pa.Table:
        if self.snapshot.plan is None or not self._shards:
            return ROW_SCHEMA.empty_table()
        checked = checked_ahead(self.folder, [shard.record for shard in self._shards])
        shards = (self._shards[number] for number in checked)
        parts = [self._row_columns(shard).take(shard.shard_positions) for shard in shards]
        stored = pa.concat_tables(parts).take(self._order)
        for name in ("label", "split", "group"):
            stored = stored.set_column(stored.schema.get_field_index(name), name, self._labels[name])
        return stored.combine_chunks()

    @cached_property
    def _order(self) -> npt.NDArray[np.int64]:
        """Positions of the rows, in plan order, among those of all shards one after the other."""
        return np.argsort(np.concatenate([shard.numbers for shard in self._shards]))

    @cached_property
    def _labels(self) -> pa.Table:
        if self.snapshot.plan is None or not self._shards:
            return LABELS.empty_table()
        described = self.snapshot.plan.rows.select(DESCRIPTION).take(self._numbers // self.recipe.views)
        recorded = [
            shard.record.expected_rows(self.recipe.views).select(["view", "sha256"]).take(shard.shard_positions)
            for shard in self._shards
        ]
        for column in pa.concat_tables(recorded).take(self._order).itercolumns():
            described = described.append_column(LABELS.field(described.num_columns), column)
        return described.combine_chunks()

    def labels(self, split: str | None = None) -> pa.Table:
        """The rows as the plan and the commit records describe them: path, label, split, group, view, sha256.

        No shard is read, and none is downloaded.
        """
        return self._labels if split is None else self._labels.take(self._selected(split))

    def table(self, split: str | None = None) -> pa.Table:
        """The rows without features: path, label, split, group, view, width, height, sha256.

        Label, split and group are the current plan's, so relabelling shows at once. Width and height are in the shards;
        `labels` does without them.
        """
        return self._table if split is None else self._table.take(self._selected(split))

    def images(self) -> pa.Table:
        """The rows of the unaltered views, one per image: its row i is row i * views of `table()`."""
        return self._table.take(np.arange(0, len(self), self.recipe.views))

    def arrays(self, output: str | None = None, split: str | None = None) -> tuple[Tensor, pa.Table]:
        """All features of one output, shape (rows, *shape), and their rows in the same order.

        Args:
            output: its name; may be left out where the store has only one.
            split: only rows of this split.

        Raises:
            UsageError: no such output, or no such split.
            DamagedStore: a shard does not hold what its record says.
        """
        chosen = self.find_output(output)
        selected = self._selected(split)
        return self._gather(chosen, selected), self.table(split)

    def batches(
        self,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        split: str | None = None,
        output: str | None = None,
    ) -> Iterator[tuple[Tensor, pa.Table]]:
        """The features in batches of (X, rows), the last one shorter, with at most four shards in memory.

        With `shuffle`, shards come in random order and rows are shuffled across four shards at a time.
        """
        for features, rows in self.passes(self._selected(split), batch_size, seed if shuffle else None, output):
            yield features, self._table.take(rows)

    def passes(
        self,
        rows: npt.NDArray[np.int64],
        batch_size: int,
        seed: int | None = None,
        output: str | None = None,
        shards: int = SHARDS_AT_ONCE,
    ) -> Iterator[tuple[Tensor, npt.NDArray[np.int64]]]:
        """One pass over chosen rows, by position in `table()`: batches of (features, positions), as `batches` gives them.

        Without a seed the rows come in the order given. `shards` is how many are in memory, and shuffled across.
        """
        chosen = self.find_output(output)
        if seed is not None:
            rows = self._shuffled(rows, np.random.default_rng(seed), shards)
        for start in range(0, len(rows), batch_size):
            part = rows[start : start + batch_size]
            yield self._gather(chosen, part, shards), part

    def to_dask(self, output: str | None = None, chunk_rows: int = 512) -> "dask.array.Array":
        """One output as a Dask array, rows in the order of `table()`."""
        import dask
        import dask.array

        chosen = self.find_output(output)
        pieces = []
        for start in range(0, len(self), chunk_rows):
            rows = np.arange(start, min(start + chunk_rows, len(self)))
            delayed = dask.delayed(FeatureStore._gather)(self, chosen, rows)
            pieces.append(dask.array.from_delayed(delayed, (len(rows), *chosen.shape), np.dtype(chosen.dtype)))
        if not pieces:
            return dask.array.zeros((0, *chosen.shape), dtype=chosen.dtype)
        return dask.array.concatenate(pieces)

    def verify(self) -> "Verification":
        """Read everything back and check it; see `store.maintenance.verify`."""
        from store.maintenance import verify

        return verify(self.folder)

    def __getstate__(self) -> dict[str, object]:
        return {"folder": self.folder, "snapshot": self.snapshot, "_decoded": OrderedDict()}

    def find_output(self, name: str | None) -> Output:
        """The output of that name, or the only one.

        Raises:
            UsageError: there is no such output, or no name was given and there are several.
        """
        outputs = self.outputs
        if name is None and len(outputs) == 1:
            return next(iter(outputs.values()))
        if name not in outputs:
            asked = "no output was named" if name is None else f"there is no output {name!r}"
            raise UsageError(f"{asked}: choose one of {', '.join(outputs)}")
        return outputs[name]

    def _selected(self, split: str | None) -> npt.NDArray[np.int64]:
        if split is None:
            return np.arange(len(self))
        splits = self._labels["split"].to_pylist()
        if split not in splits:
            present = sorted({str(name) for name in splits if name is not None})
            raise UsageError(f"no rows of split {split!r}: the store has {', '.join(present) or 'no splits'}")
        return np.flatnonzero([name == split for name in splits])

    def _shuffled(self, rows: npt.NDArray[np.int64], rng: np.random.Generator, shards: int) -> npt.NDArray[np.int64]:
        numbers = self._located[0][rows]
        order = rng.permutation(np.unique(numbers))
        groups = [order[start : start + shards] for start in range(0, len(order), shards)]
        parts = [rng.permutation(rows[np.isin(numbers, group)]) for group in groups]
        return np.concatenate(parts) if parts else rows

    def _gather(self, output: Output, rows: npt.NDArray[np.int64], cached_shards: int = 0) -> Tensor:
        """Features of the given rows, in that order; with `cached_shards`, whole shards are decoded and that many cached."""
        gathered = empty_rows(len(rows), output)
        numbers, positions = self._located[0][rows], self._located[1][rows]
        for number in self._ready(numbers, output):
            targets = np.flatnonzero(numbers == number)
            targets = targets[np.argsort(positions[targets], kind="stable")]
            shard, in_shard, to = self._shards[number], positions[targets], _span(targets)
            if cached_shards:
                gathered[to] = self._whole_shard(number, output, cached_shards)[_span(in_shard)]
            elif isinstance(to, slice):
                self._tensor(shard, output, in_shard, gathered[to])
            else:
                gathered[to] = self._tensor(shard, output, in_shard)
        return gathered

    def _ready(self, numbers: npt.NDArray[np.int64], output: Output) -> Iterator[int]:
        """Each of the shards' numbers once: decoded ones first, before others push them out, then each that is checked."""
        needed = dict.fromkeys(numbers.tolist())
        decoded = [number for number in needed if (number, output.name) in self._decoded]
        yield from decoded
        others = [number for number in needed if number not in decoded]
        for position in checked_ahead(self.folder, [self._shards[number].record for number in others]):
            yield others[position]

    @property
    def _format(self) -> Format:
        return get_format(self.snapshot.info.shard_format)

    def _whole_shard(self, number: int, output: Output, cached_shards: int) -> Tensor:
        key = (number, output.name)
        if key not in self._decoded:
            while len(self._decoded) >= cached_shards:
                self._decoded.popitem(last=False)
            self._decoded[key] = self._tensor(self._shards[number], output)
        self._decoded.move_to_end(key)
        return self._decoded[key]

    def _tensor(
        self,
        shard: ShardRows,
        output: Output,
        positions: npt.NDArray[np.int64] | None = None,
        into: Tensor | None = None,
    ) -> Tensor:
        count = len(shard.record.rows) * self.recipe.views
        return read_shard(
            self.folder, shard.record, lambda path: self._format.tensor(path, output, positions, into, count)
        )

    def _row_columns(self, shard: ShardRows) -> pa.Table:
        expected = shard.record.expected_rows(self.recipe.views)
        rows = read_shard(self.folder, shard.record, lambda path: self._format.rows(path, len(expected)))
        if not all(rows[name].equals(expected[name]) for name in ("path", "view")):
            raise DamagedStore(
                f"{self.folder}/data/{shard.record.shard} does not hold the rows its record names: "
                f"run {suggest('store', 'repair', str(self.folder))}, then extract again"
            )
        return rows


def _span(rows: npt.NDArray[np.int64]) -> slice | npt.NDArray[np.int64]:
    """The same rows as a slice if they follow each other: indexing with one copies nothing twice."""
    first, count = int(rows[0]), len(rows)
    consecutive = int(rows[-1]) == first + count - 1 and bool(np.all(np.diff(rows) == 1))
    return slice(first, first + count) if consecutive else rows


def open_store(path: str | os.PathLike[str]) -> FeatureStore:
    """Open a store, at a path or URL, for reading.

    Raises:
        NotAStore: the folder is not a store.
        DamagedStore: its small files are damaged (shards are checked when read).
    """
    files = open_files(path)
    return FeatureStore(files, load_snapshot(files))
