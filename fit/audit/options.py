"""The options of an audit, checked."""

from dataclasses import dataclass
from typing import Annotated

from fit.choices import REDUCTIONS
from fit.common_options import ExcludedFile, ImagesFolder, LabelsFile, OneOutput, Reduction
from store.errors import UsageError
from store.options import Option


@dataclass(frozen=True)
class AuditOptions:
    """The options of `fit audit`.

    Raises:
        UsageError: a value that cannot be.
    """

    output: OneOutput = None
    reduce: Reduction = "avg"
    labels: LabelsFile = None
    exclude_from: ExcludedFile = None
    group_by: Annotated[str | None, Option("A column, such as group, whose equal values stay in one fold.")] = None
    near: Annotated[
        float, Option("The least similarity of near duplicates: cosine of features, correlation of pixels.")
    ] = 0.99
    folds: Annotated[int, Option("Folds of the cross-validation that doubts labels; 0 for none.")] = 5
    images: ImagesFolder = None
    pixels: Annotated[int, Option("The number of images whose pixels are read, at most; 0 for none.")] = 20_000
    seed: Annotated[int, Option("Random seed of the folds.")] = 0

    def __post_init__(self) -> None:
        if self.reduce not in REDUCTIONS:
            raise UsageError(f"--reduce is {self.reduce!r}: expected one of {', '.join(REDUCTIONS)}")
        if not 0 < self.near <= 1:
            raise UsageError(f"--near is {self.near}: expected a similarity above 0 and at most 1")
        if self.folds < 0 or self.folds == 1:
            raise UsageError(f"--folds is {self.folds}: expected 2 or more, or 0 for none")
        if self.pixels < 0:
            raise UsageError(f"--pixels is {self.pixels}: expected 0 or more")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}: expected 0 or more")
