"""The options of a search in a store, checked."""

import os
from dataclasses import dataclass
from typing import Annotated

from fit.choices import REDUCTIONS
from fit.common_options import ImagesFolder, OneOutput, Reduction
from store.errors import UsageError
from store.options import Option


@dataclass(frozen=True)
class SearchOptions:
    """The options of `fit search`.

    Raises:
        UsageError: a value that cannot be, or two that do not go together.
    """

    top: Annotated[int, Option("How many images to find for each query.")] = 10
    output: OneOutput = None
    reduce: Reduction = "avg"
    split: Annotated[str | None, Option("Only images of this split.")] = None
    label: Annotated[str | None, Option("Only images with this label.")] = None
    head: Annotated[str | os.PathLike[str] | None, Option("A head's folder: find images of its class --class.")] = None
    class_name: Annotated[str | None, Option("The class of the head.", ("--class",))] = None
    weights: Annotated[str | None, Option("Where the backbone's weights are, if no longer where they were.")] = None
    images: ImagesFolder = None
    index: Annotated[
        bool, Option("Search approximately, by an index in the cache folder, built if there is none (extra index).")
    ] = False

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UsageError(f"--top is {self.top}: expected 1 or more")
        if self.reduce not in REDUCTIONS:
            raise UsageError(f"--reduce is {self.reduce!r}: expected one of {', '.join(REDUCTIONS)}")
        if (self.head is None) != (self.class_name is None):
            raise UsageError("--head and --class go together: the head's folder, and the class to find images of")
        limited = [f"--{name}" for name in ("split", "label", "head") if getattr(self, name) is not None]
        if self.index and limited:
            raise UsageError(f"--index searches all images: leave out {' and '.join(limited)}, or --index")
