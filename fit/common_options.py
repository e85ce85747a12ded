"""Options that several commands have, each with its help, as types of the fields of options dataclasses."""

import os
from pathlib import Path
from typing import Annotated

from fit.choices import REDUCTIONS
from store.options import Option, one_of

ABSTAINS = "Predict nothing where the class has a probability below this."
"""The help of --abstain, which is another option for a fit than for a head."""

OneOutput = Annotated[str | None, Option("Which output, where the store has several.")]
Reduction = Annotated[
    str, Option("avg, max or flatten: how spatial tensors become vectors.", complete=one_of(REDUCTIONS))
]
LabelsFile = Annotated[
    str | os.PathLike[str] | None, Option("A .csv or .parquet table of path,label[,split,group]: other labels.")
]
ExcludedFile = Annotated[
    str | os.PathLike[str] | None, Option("A .csv or .parquet table with a column path: images to leave out.")
]
ImagesFolder = Annotated[
    str | os.PathLike[str] | None, Option("The folder that the images are in, if no longer where they were.")
]
LikeFolder = Annotated[
    str | os.PathLike[str] | None,
    Option("A head's folder: fit again with its options; those that are given beside it win.", kind=Path),
]
ByColumn = Annotated[str | None, Option("A column, such as group: print the accuracy of each of its values.")]
