"""Maps of images: features (rows, columns) to points of two dimensions."""

import types
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from extract.api import quiet_libraries
from fit.arrays import Floats
from fit.neighbors import Vectors, unit_rows
from fit.page.charts import percent
from store.errors import UsageError
from store.suggestions import suggest_install

PCA, UMAP = "pca", "umap"
MAPS = (PCA, UMAP)
"""How images are placed."""

LEAST_NEIGHBORHOOD = 15
"""UMAP's own number of neighbors, which decides how local the map is; fewer images are placed by PCA."""

_AXES = "Across and up are the first two principal components, with {} and {} of the variance"
_NEIGHBORHOODS = "Placed by UMAP: near images are near, but sizes of groups and distances between them mean nothing"


@dataclass(frozen=True)
class Projection:
    """Points (rows, 2), and what their axes are, in a sentence without its end."""

    points: Floats
    axes: str


def require_map(way: str) -> None:
    """Raise UsageError unless images can be placed in that way: it is one of MAPS, and its library is there."""
    if way not in MAPS:
        raise UsageError(f"--map is {way!r}: expected one of {', '.join(MAPS)}")
    if way == UMAP:
        _import_umap()


def project(values: Vectors, way: str = PCA) -> Projection:
    """Places of rows (rows, columns) on a map.

    Raises:
        UsageError: UMAP is asked for and not installed.
    """
    return _umap(values) if way == UMAP and len(values) > LEAST_NEIGHBORHOOD else _pca(values)


def _umap(values: Vectors) -> Projection:
    """UMAP by the cosine (McInnes, Healy and Melville 2018, arXiv:1802.03426), the same each time."""
    umap = _import_umap()
    placed = umap.UMAP(n_components=2, n_neighbors=LEAST_NEIGHBORHOOD, metric="cosine", random_state=0, n_jobs=1)
    points: Floats = placed.fit_transform(unit_rows(values)).astype(np.float64)
    return Projection(points, _NEIGHBORHOODS)


def _import_umap() -> types.ModuleType:
    try:
        with quiet_libraries():  # it imports TensorFlow where that is installed
            import umap
    except ImportError:
        raise UsageError(
            f"--map umap needs umap-learn: {suggest_install('stillframe[umap]')}, or use --map pca"
        ) from None
    found: types.ModuleType = umap
    return found


def _pca(values: Vectors) -> Projection:
    """The first two principal components of rows (rows, columns), each with its largest weight positive.

    Computed from the smaller of the two matrices of products (Jolliffe 2002, Principal Component Analysis, section 3.5).
    """
    centered = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    rows, columns = centered.shape
    if rows < 2 or columns < 1:
        return Projection(np.zeros((rows, 2)), _AXES.format(percent(0), percent(0)))
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
    return Projection(points, _AXES.format(percent(first), percent(second)))
