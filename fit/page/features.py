"""What the features of a head's images say: a map of two dimensions, and the nearest training images of each mistake."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import scipy.linalg

from fit.choices import WHOLE
from fit.data import reduce_tensor, reduced_shape
from fit.head_info import Block, HeadInfo
from fit.metrics.arrays import Floats
from fit.neighbors import Neighbors, nearest
from fit.splits import Positions
from store.errors import StillframeError
from store.files.names import file_path, printable
from store.reader import FeatureStore, open_store
from store.recipe import differences

_READ_ROWS = 256
_MOST_COLUMNS = 4096  # longer vectors are averaged over height and width: a map needs no more


class NoFeatures(Exception):
    """The features of a head's images are not at hand."""


@dataclass(frozen=True)
class StoredFeatures:
    """The unaltered features of a store's images, reduced to vectors as the head takes them.

    Attributes:
        store: where they are.
        output: the name of the output.
        reduction: how spatial tensors become vectors.
        position_of: the image's number in the store, by path.
        group_of: the image's group, by path; None where it has none.
    """

    store: FeatureStore
    output: str
    reduction: str
    position_of: Mapping[str, int]
    group_of: Mapping[str, str | None]

    def batches(self, paths: Sequence[str]) -> Iterator[tuple[npt.NDArray[np.float32], Positions]]:
        """(features, positions in `paths`) in the order of the store; paths that it does not have are left out."""
        places = np.array([self.position_of.get(path, -1) for path in paths], np.int64)
        order = np.argsort(places, kind="stable")
        order = order[places[order] >= 0]
        stored = places[order] * self.store.recipe.views
        done = 0
        for tensor, _ in self.store.passes(stored, _READ_ROWS, None, self.output):
            yield reduce_tensor(tensor, self.reduction).astype(np.float32), order[done : done + len(tensor)]
            done += len(tensor)

    def take(self, paths: Sequence[str]) -> tuple[npt.NDArray[np.float32], Positions]:
        """(rows, columns) of all those paths that the store has, and their positions in `paths`."""
        parts = list(self.batches(paths))
        if not parts:
            return np.empty((0, 0), np.float32), np.empty(0, np.int64)
        return np.concatenate([values for values, _ in parts]), np.concatenate([rows for _, rows in parts])

    @property
    def bytes(self) -> int:
        """How much is read for all images."""
        output = self.store.outputs[self.output]
        return len(self.position_of) * output.row_bytes


def find_features(info: HeadInfo, features: str | FeatureStore | None) -> StoredFeatures:
    """The features that a head was fitted on.

    Args:
        info: the head's.
        features: the store, if it is no longer where it was.

    Raises:
        NoFeatures: there is no such store, or it has another recipe.
    """
    block = info.blocks[0]
    if features is None and not block.store:
        raise NoFeatures("the head is of an earlier version, which did not note where its features were")
    try:
        store = features if isinstance(features, FeatureStore) else open_store(features or file_path(block.store))
        table = store.images()
    except StillframeError as error:
        raise NoFeatures(f"the features cannot be read: {printable(str(error))}") from error
    if differences(block.recipe.unaltered, store.recipe.unaltered, "", "") or (
        store.outputs.get(block.output.name) != block.output
    ):
        raise NoFeatures(f"the store {printable(str(store.folder))} has another recipe than the head")
    paths = table["path"].to_pylist()
    return StoredFeatures(
        store,
        block.output.name,
        _vector_reduction(block),
        {path: number for number, path in enumerate(paths)},
        dict(zip(paths, table["group"].to_pylist(), strict=True)),
    )


def _vector_reduction(block: Block) -> str:
    if block.reduction == WHOLE or int(np.prod(reduced_shape(block.output.shape, block.reduction))) > _MOST_COLUMNS:
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


@dataclass(frozen=True)
class Projection:
    """Points (rows, 2), and the share of the variance that each axis has."""

    points: Floats
    shares: tuple[float, float]


def project(values: npt.NDArray[np.float32]) -> Projection:
    """The first two principal components of rows (rows, columns), each with its largest weight positive.

    Computed from the smaller of the two matrices of products (Jolliffe 2002, Principal Component Analysis, section 3.5).
    """
    centered = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    rows, columns = centered.shape
    if rows < 2 or columns < 1:
        return Projection(np.zeros((rows, 2)), (0.0, 0.0))
    by_rows = rows < columns
    products = centered @ centered.T if by_rows else centered.T @ centered
    count = min(2, len(products))
    variances, vectors = scipy.linalg.eigh(products, subset_by_index=[len(products) - count, len(products) - 1])
    if by_rows:
        vectors = centered.T @ vectors
        vectors /= np.maximum(np.linalg.norm(vectors, axis=0), np.finfo(np.float64).tiny)
    vectors = vectors[:, ::-1]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(count)])
    total = float((centered**2).sum())
    shares = [float(max(0.0, value)) / total if total else 0.0 for value in variances[::-1]]
    points = np.zeros((rows, 2))
    points[:, :count] = centered @ vectors
    first, second = (*shares, 0.0)[:2]
    return Projection(points, (first, second))
