"""What can be asked of an evaluation: which images, with which labels."""

from dataclasses import dataclass
from typing import Annotated

from fit.common_options import ByColumn, ExcludedFile, LabelsFile
from store.options import Option


@dataclass(frozen=True)
class EvaluationOptions:
    """The options of `fit evaluate` and of `evaluate_head()`; `split` is that of `fit.unseen.select_unseen`."""

    labels: LabelsFile = None
    exclude_from: ExcludedFile = None
    split: Annotated[
        str | None,
        Option("Only images of this split: train, validation or test of the head's own fit, or of the store."),
    ] = None
    by: ByColumn = None


ALL_UNSEEN = EvaluationOptions()
"""All images of a store that the head has not seen."""
