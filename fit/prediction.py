"""A head's probabilities and predictions for the rows of a store."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from extract.api import SILENT, Reporter
from fit.data import Features, load_features
from fit.head import Head
from fit.heads.base import Predictor
from fit.predictions import prediction_columns
from fit.rows import ImageRows, require_complete, select_images
from fit.splits import Positions
from store.errors import RecipeMismatch
from store.reader import FeatureStore
from store.recipe import differences

_READ_ROWS = 1024


def predict_rows(
    predictor: Predictor, features: Features, rows: Positions, reporter: Reporter = SILENT
) -> npt.NDArray[np.float64]:
    """Probabilities (rows, classes) of those rows, read in batches."""
    parts = []
    with reporter.step("predicting", len(rows)) as progress:
        for values, _ in features.batches(rows, _READ_ROWS, None):
            parts.append(predictor.predict_proba(values))
            progress.advance(len(values), 0)
    return np.concatenate(parts).astype(np.float64)


@dataclass(frozen=True)
class StoredImages:
    """Images of a store with their unaltered features, as a head takes them; image i has row i of the features."""

    rows: ImageRows
    features: Features

    def predict(self, predictor: Predictor, reporter: Reporter = SILENT) -> npt.NDArray[np.float64]:
        """Probabilities (images, classes)."""
        return predict_rows(predictor, self.features, np.arange(len(self.rows)), reporter)


def require_usable(head: Head, store: FeatureStore) -> None:
    """Check that a head can be used on a store.

    Raises:
        RecipeMismatch: the store has another recipe than the head.
        StoppedEarly: the store is not complete.
    """
    require_same_recipe(head, store)
    require_complete(store)


def read_unaltered(head: Head, store: FeatureStore, rows: ImageRows, reporter: Reporter = SILENT) -> StoredImages:
    """Those images of a store with their features for a head.

    Raises:
        UsageError: a feature is not a number.
    """
    unaltered = rows.stored * store.recipe.views
    block = head.info.blocks[0]
    return StoredImages(rows, load_features(store, block.output, block.reduction, unaltered, True, reporter))


def require_same_recipe(head: Head, store: FeatureStore) -> None:
    """Raise RecipeMismatch unless the store's unaltered features are those that the head was fitted on."""
    block = head.info.blocks[0]
    lines = differences(block.recipe.unaltered, store.recipe.unaltered, "the head has", "the store has")
    if not lines and store.outputs.get(block.output.name) != block.output:
        lines = [f"output: the head has {block.output}, the store has {list(store.outputs.values())}"]
    if lines:
        raise RecipeMismatch(
            f"{store.folder} was made with another recipe than the head; {'; '.join(lines)}. "
            "Extract with the head's recipe, or fit a head on this store"
        )


def predict_store(head: Head, store: FeatureStore, reporter: Reporter = SILENT) -> pa.Table:
    """Predictions for a store's images, as `Head.predict` gives them for image files.

    Raises:
        RecipeMismatch: the store has another recipe than the head.
        UsageError: the store has no images.
        StoppedEarly: the store is not complete.
    """
    require_usable(head, store)
    images = read_unaltered(head, store, select_images(store, reporter=reporter), reporter)
    columns = prediction_columns(images.predict(head.predictor, reporter), head.info.task)
    errors = pa.nulls(len(images.rows), pa.string())
    return pa.table({"path": images.rows.table["path"], **columns, "error": errors})
