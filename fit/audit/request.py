"""What an audit is about: a store's images, their labels, and the features of their unaltered views."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter
from fit.audit.options import AuditOptions
from fit.choices import WHOLE
from fit.data import Features, load_features
from fit.rows import ImageRows, require_complete, select_images
from fit.splits import Positions
from store.reader import FeatureStore
from store.recipe import Output


@dataclass(frozen=True)
class AuditedImages:
    """The images of an audit; image i has row i of the features.

    Attributes:
        store: where they are.
        options: what was asked for.
        output: which features.
        rows: one per image.
        features: vectors of the unaltered views.
    """

    store: FeatureStore
    options: AuditOptions
    output: Output
    rows: ImageRows
    features: Features

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def paths(self) -> list[str]:
        """Their row names."""
        return self.rows.texts("path")

    @property
    def labels(self) -> list[str | None]:
        """Their labels, where they have one."""
        labels: list[str | None] = self.rows.table["label"].to_pylist()
        return labels

    @property
    def splits(self) -> list[str | None]:
        """Their splits, where they have one."""
        splits: list[str | None] = self.rows.table["split"].to_pylist()
        return splits


@dataclass(frozen=True)
class FeatureRows:
    """Some rows of features as `fit.neighbors.Rows`: slices that are read when they are needed, less their mean.

    Without that, features that are about the same for all images, as those of early layers are, make all images alike.
    """

    features: Features
    rows: Positions
    mean: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice, /) -> npt.NDArray[np.float32]:
        values = self.features.take(self.rows[part])
        centered: npt.NDArray[np.float32] = values - self.mean
        return centered


def load_audited(store: FeatureStore, options: AuditOptions, reporter: Reporter = SILENT) -> AuditedImages:
    """What an audit looks at.

    Raises:
        UsageError: there are no images, a table cannot be used, or a feature is not a number.
        StoppedEarly: the store is not complete.
    """
    require_complete(store)
    output = store.find_output(options.output)
    rows = select_images(store, options.labels, reporter, options.exclude_from)
    reduction = options.reduce if output.spatial else WHOLE
    features = load_features(store, output, reduction, rows.stored * store.recipe.views, True, reporter)
    return AuditedImages(store, options, output, rows, features)
