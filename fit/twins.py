"""Near twins: different images that show the same thing, such as a copy of a photograph saved again or resized.

If one of them is learned from and the other evaluated, the number is too good. They are found by their features, exactly
and before the split, so that a split can keep them together.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter
from fit.data import Features, reduce_tensor
from fit.neighbors import near_groups, near_pairs
from fit.splits import Positions

NEAR = 0.99
"""The cosine, of features less their mean, from which on two images are near twins."""

LEAST_IMAGES = 50  # of fewer, the mean is too close to each image
LEAST_COLUMNS = 64  # in fewer dimensions, images are near each other by chance
MOST_IMAGES = 10_000  # more take longer to compare than to fit
_MOST_BYTES = 2**30
_READ_ROWS = 256


def find_near_twins(
    features: Features, unaltered: Positions, sha256: Sequence[str], reporter: Reporter = SILENT
) -> Positions | None:
    """(images,): images with the same number are near twins, directly or through others; None if there are none.

    Args:
        features: of all rows.
        unaltered: (images,), the row of each image's unaltered view.
        sha256: each image's digest; images of equal bytes are not counted in what is reported.
        reporter: the number of them is reported, and where they are not looked for.
    """
    count = len(unaltered)
    columns = features.shape[-1]
    if count < LEAST_IMAGES or columns < LEAST_COLUMNS:
        return None
    if count > MOST_IMAGES or count * columns * 4 > _MOST_BYTES:
        reporter.message(
            f"note: near twins are not looked for among {count:,} images of {columns:,} features, which would take long: "
            f"that is done for up to {MOST_IMAGES:,} images, if their features take no more than {_MOST_BYTES / 2**30:g} GB"
        )
        return None
    values = _vectors(features, unaltered, reporter)
    groups = near_groups(near_pairs(values - values.mean(axis=0), NEAR), count)
    twins = _count_twins(groups, sha256)
    if twins == 0:
        return None
    reporter.message(
        f"{twins:,} images are near twins of another (their features have a cosine of {NEAR} or more): they stay in the "
        "same split; --near-twins ignore splits them as if they were not"
    )
    return groups


def _vectors(features: Features, rows: Positions, reporter: Reporter) -> npt.NDArray[np.float32]:
    """(rows, columns): spatial tensors averaged."""
    values = np.empty((len(rows), features.shape[-1]), np.float32)
    with reporter.step("looking for near twins", len(rows)) as progress:
        for at in range(0, len(rows), _READ_ROWS):
            part = rows[at : at + _READ_ROWS]
            values[at : at + len(part)] = reduce_tensor(features.take(part), "avg")
            progress.advance(len(part), 0)
    return values


def _count_twins(groups: Positions, sha256: Sequence[str]) -> int:
    """How many images are in a group with one of other bytes."""
    contents = np.unique(np.array(sha256), return_inverse=True)[1]
    pairs = np.unique(np.stack([groups, contents], axis=1), axis=0)
    different = np.bincount(pairs[:, 0], minlength=int(groups.max()) + 1)
    return int((different[groups] > 1).sum())
