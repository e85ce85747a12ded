"""A head's probabilities and predictions for the rows of a store."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from extract.api import SILENT, Reporter
from fit.blocks import StoredBlock, find_stored, load_blocks, match_images
from fit.data import Features
from fit.head import Head
from fit.heads.base import Predictor
from fit.predictions import prediction_columns
from fit.rows import ImageRows, require_complete, select_images
from fit.splits import Positions
from store.reader import FeatureStore

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


def stored_blocks(head: Head, stores: Sequence[FeatureStore]) -> tuple[StoredBlock, ...]:
    """Where complete stores have the features that a head takes.

    Raises:
        RecipeMismatch: they have not all of them, or one has none of them.
        StoppedEarly: a store is not complete.
    """
    found = find_stored(head.info.blocks, stores)
    for store in stores:
        require_complete(store)
    return found


def read_unaltered(blocks: Sequence[StoredBlock], rows: ImageRows, reporter: Reporter = SILENT) -> StoredImages:
    """Those images with their features for a head, from the stores where its blocks are.

    Raises:
        UsageError: a feature is not a number.
    """
    return StoredImages(rows, load_blocks(blocks, rows, streams=True, reporter=reporter))


def predict_store(head: Head, store: FeatureStore | Sequence[FeatureStore], reporter: Reporter = SILENT) -> pa.Table:
    """Predictions for a store's images, as `Head.predict` gives them for image files; for a head on several recipes,
    for the images that a store of each has.

    Raises:
        RecipeMismatch: the store has another recipe than the head.
        UsageError: the store has no images, or the stores have none in common.
        StoppedEarly: the store is not complete.
    """
    stores = [store] if isinstance(store, FeatureStore) else store
    blocks = stored_blocks(head, stores)
    rows = match_images(select_images(stores[0], reporter=reporter), stores, reporter)
    images = read_unaltered(blocks, rows, reporter)
    columns = prediction_columns(images.predict(head.predictor, reporter), head.info.task)
    errors = pa.nulls(len(images.rows), pa.string())
    return pa.table({"path": images.rows.table["path"], **columns, "error": errors})
