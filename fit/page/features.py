"""The features of a head's images, if they are still at hand, and the nearest training images of each mistake."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fit.blocks import StoredBlock, find_stored, match_images
from fit.choices import WHOLE
from fit.data import Features, Joined, Scaled, Streamed
from fit.head_info import Block, HeadInfo
from fit.heads.balanced import column_factors
from fit.neighbors import Neighbors, nearest
from fit.rows import ImageRows
from fit.splits import Positions
from store.errors import RecipeMismatch, StillframeError
from store.files.names import file_path, printable
from store.reader import SHARDS_AT_ONCE, FeatureStore, open_store

_READ_ROWS = 256
_MOST_COLUMNS = 4096  # longer vectors are averaged over height and width: a map needs no more


class NoFeatures(Exception):
    """The features of a head's images are not at hand."""


@dataclass(frozen=True)
class StoredFeatures:
    """The unaltered features of a store's images, reduced to vectors as the head takes them; of several stores, joined.

    Attributes:
        stores: where they are.
        features: row by row, read when they are needed.
        row_bytes: how much is read for an image.
        position_of: the image's row of the features, by path.
        group_of: the image's group, by path; None where it has none.
    """

    stores: tuple[FeatureStore, ...]
    features: Features
    row_bytes: int
    position_of: Mapping[str, int]
    group_of: Mapping[str, str | None]

    def batches(self, paths: Sequence[str]) -> Iterator[tuple[npt.NDArray[np.float32], Positions]]:
        """(features, positions in `paths`) in the order of the store; paths that it does not have are left out."""
        places = np.array([self.position_of.get(path, -1) for path in paths], np.int64)
        order = np.argsort(places, kind="stable")
        order = order[places[order] >= 0]
        done = 0
        for values, _ in self.features.batches(places[order], _READ_ROWS, None):
            yield values, order[done : done + len(values)]
            done += len(values)

    def take(self, paths: Sequence[str]) -> tuple[npt.NDArray[np.float32], Positions]:
        """(rows, columns) of all those paths that the store has, and their positions in `paths`."""
        parts = list(self.batches(paths))
        if not parts:
            return np.empty((0, 0), np.float32), np.empty(0, np.int64)
        return np.concatenate([values for values, _ in parts]), np.concatenate([rows for _, rows in parts])

    @property
    def bytes(self) -> int:
        """The size in bytes of all rows of features."""
        return len(self.position_of) * self.row_bytes


def find_features(info: HeadInfo, given: Sequence[str | FeatureStore] = ()) -> StoredFeatures:
    """The features that a head was fitted on.

    Args:
        info: the head's.
        given: the stores, if they are no longer where they were.

    Raises:
        NoFeatures: there are no such stores, or they have other recipes.
    """
    places = dict.fromkeys(block.store for block in info.blocks)
    if not given and "" in places:
        raise NoFeatures("the head is of an earlier version, which did not note where its features were")
    try:
        found = given or [file_path(place) for place in places]
        stores = tuple(store if isinstance(store, FeatureStore) else open_store(store) for store in found)
        rows = match_images(ImageRows(stores[0].images(), np.arange(len(stores[0].images()))), stores)
    except StillframeError as error:
        raise NoFeatures(f"the features cannot be read: {printable(str(error))}") from error
    try:
        blocks = find_stored(info.blocks, stores)
    except RecipeMismatch:
        shown = " and ".join(printable(str(store.folder)) for store in stores)
        raise NoFeatures(f"the store {shown} has another recipe than the head") from None
    paths = rows.texts("path")
    return StoredFeatures(
        stores,
        _streamed(info, blocks, rows),
        sum(block.output.row_bytes for block in blocks),
        {path: number for number, path in enumerate(paths)},
        dict(zip(paths, rows.table["group"].to_pylist(), strict=True)),
    )


def _streamed(info: HeadInfo, blocks: Sequence[StoredBlock], rows: ImageRows) -> Features:
    """The features of those images as vectors, scaled as the head scales them."""
    parts = [
        Streamed(
            stored.store,
            stored.output,
            _vector_reduction(block),
            rows.positions(stored.number) * stored.store.recipe.views,
            SHARDS_AT_ONCE,
        )
        for stored, block in zip(blocks, info.blocks, strict=True)
    ]
    if len(parts) == 1:
        return parts[0]
    scales = [block.scale for block in info.blocks]
    return Scaled(Joined(tuple(parts)), column_factors(scales, [part.shape[0] for part in parts]))


def _vector_reduction(block: Block) -> str:
    if block.reduction == WHOLE or int(np.prod(block.shape)) > _MOST_COLUMNS:
        return "avg"
    return block.reduction


def nearest_images(
    features: StoredFeatures, queries: Sequence[str], candidates: Sequence[str], count: int
) -> list[list[tuple[int, float]]]:
    """For each query the candidates with the largest cosines: (position in `candidates`, cosine), nearest first.

    Args:
        features: of both.
        queries: paths; one without features has no neighbors.
        candidates: paths.
        count: how many of each.
    """
    found = list[list[tuple[int, float]]]([] for _ in queries)
    asked, rows = features.take(queries)
    if len(rows):
        neighbors = nearest(asked, features.batches(candidates), count)
        for row, pairs in zip(rows.tolist(), _pairs(neighbors), strict=True):
            found[row] = pairs
    return found


def _pairs(neighbors: Neighbors) -> Iterator[list[tuple[int, float]]]:
    for rows, cosines in zip(neighbors.rows.tolist(), neighbors.cosines.tolist(), strict=True):
        yield [(row, cosine) for row, cosine in zip(rows, cosines, strict=True) if row >= 0]
