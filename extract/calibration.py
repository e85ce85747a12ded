"""The images that a network is quantized with, and how near its features are to those of float32.

Rule 1: of the images of the split train, or of all where DATA has no such split, the first 375 that can be decoded of the
first 750 in the order of the SHA-256 of their paths. Every fifth of them is held out: there the features are compared.
The others calibrate. No label is used.
"""

import hashlib
import heapq
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc

from extract.images.decode import DecodePolicy, without_pillow_limits
from extract.images.loader import ImageLoader, LoadedView
from extract.monitor import Clock
from extract.runtimes.base import Runtime
from extract.sources.base import Listing
from extract.sources.reading import open_images
from store.errors import UsageError
from store.quantization import Agreement
from store.tensors import Tensor

RULE = 1
_IMAGES = 375
_HELD_OUT = 5  # every fifth
_FEWEST = 20
_READ_AT_ONCE = 125


@dataclass(frozen=True)
class Calibration:
    """Images as the network sees them: those that calibrate, and those that are held out."""

    images: Sequence[LoadedView]
    held_out: Sequence[LoadedView]

    @property
    def digest(self) -> str:
        """The digest of the images that calibrate; see `store.quantization.Quantization`."""
        return hashlib.sha256("\n".join(sorted(view.row.sha256 for view in self.images)).encode()).hexdigest()


def read_calibration(listing: Listing, policy: DecodePolicy, decoders: int) -> Calibration:
    """Read the images that rule 1 chooses.

    Raises:
        UsageError: there are too few images.
        EnvironmentFailure: an image cannot be read now.
    """
    paths = candidates(listing)
    loader, clock = ImageLoader(open_images(listing.root), policy, None, decoders), Clock()
    views: list[LoadedView] = []
    with without_pillow_limits(), ThreadPoolExecutor(loader.threads) as threads:
        for start in range(0, len(paths), _READ_AT_ONCE):
            part = paths[start : start + _READ_AT_ONCE]
            for loaded in threads.map(lambda path: loader.load(path, clock), part):
                views += loaded if isinstance(loaded, list) else []
            if len(views) >= _IMAGES:
                break
    views = views[:_IMAGES]
    _require_enough(len(views))
    held_out = views[_HELD_OUT - 1 :: _HELD_OUT]
    return Calibration([view for at, view in enumerate(views) if (at + 1) % _HELD_OUT], held_out)


def require_candidates(listing: Listing) -> None:
    """Raise UsageError if rule 1 has too few images to choose from, whatever is in them."""
    _require_enough(len(candidates(listing)))


def _require_enough(images: int) -> None:
    if images < _FEWEST:
        raise UsageError(
            f"--precision int8 needs {_FEWEST} images to choose the network's 8-bit numbers, and {images} can be "
            "decoded: choose --precision float32"
        )


def candidates(listing: Listing) -> list[str]:
    """The paths of a listing that rule 1 looks at, in its order; twice as many as are needed, for some cannot be decoded."""
    table = listing.table
    train = table.filter(pc.equal(table["split"], "train"))
    paths = (train if len(train) else table)["path"].to_pylist()
    return heapq.nsmallest(
        2 * _IMAGES, paths, key=lambda path: hashlib.sha256(path.encode(errors="surrogatepass")).digest()
    )


def compare_features(
    exact: Runtime, quantized: Runtime, images: Sequence[LoadedView], outputs: Sequence[str]
) -> tuple[Agreement, ...]:
    """How near the features of two runtimes are on these images, for each output."""
    cosines: list[list[float]] = [[] for _ in outputs]
    for view in images:
        calls = [runtime.start([view.decoded.pixels]) for runtime in (exact, quantized)]
        for found, first, second in zip(cosines, *(call.result().tensors for call in calls), strict=True):
            found.append(cosine(first, second))
    return tuple(
        Agreement(output, len(found), round(float(np.median(found)), 6), round(min(found), 6))
        for output, found in zip(outputs, cosines, strict=True)
    )


def cosine(first: Tensor, second: Tensor) -> float:
    """The cosine of the angle between two tensors of one shape: 1 if they are equal, even if both are zero; 0 if one of
    them is zero or not finite.
    """
    one, other = (np.ravel(tensor).astype(np.float64) for tensor in (first, second))
    if np.array_equal(one, other):
        return 1.0
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.clip(one @ other / size, -1, 1)) if 0 < size < math.inf else 0.0
