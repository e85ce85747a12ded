"""The images that are searched, and one pass over their features."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter
from fit.data import Streamed
from fit.rows import ImageRows
from fit.splits import Positions
from store.errors import UsageError
from store.reader import FeatureStore
from store.recipe import Output

READ_ROWS = 2048


@dataclass(frozen=True)
class Candidates:
    """The images that are searched, and how their features are read: vectors of the unaltered views."""

    store: FeatureStore
    rows: ImageRows
    output: Output
    reduction: str

    def batches(
        self, reporter: Reporter = SILENT, doing: str = "searching"
    ) -> Iterator[tuple[npt.NDArray[np.float32], Positions]]:
        """One pass: (features, positions among the store's images), a shard in memory at a time.

        Raises:
            UsageError: a feature is not a number.
        """
        stored = self.rows.stored * self.store.recipe.views
        streamed = Streamed(self.store, self.output, self.reduction, stored, shards=1)
        with reporter.step(doing, len(self.rows)) as progress:
            for values, numbers in streamed.batches(np.arange(len(self.rows)), READ_ROWS, None):
                if not np.isfinite(values).all():
                    raise UsageError(
                        f"features of {self.store.folder} hold NaN or infinity: extract again with sound weights"
                    )
                yield values, self.rows.stored[numbers]
                progress.advance(len(numbers), 0)
