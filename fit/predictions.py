"""Tables of predictions, and those tables as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from fit.splits import Positions
from fit.task import Task
from store.errors import EnvironmentFailure, UsageError, require_few_failed
from store.files.local import whole_file

CV = "cv"
"""The name of the evaluation in cross-validation; the others are named as their splits."""

ENDINGS = (".csv", ".parquet")
SPLIT_GROUP = "split_group"
"""The column of each row's split group in a head's predictions; files of 0.5.0 have none."""

_RESERVED = {"path", "label", "predicted", "probability", "split", SPLIT_GROUP, "error"}
_PREFIX = "class:"


@dataclass(frozen=True)
class Evaluation:
    """The predictions for some images of an experiment.

    Attributes:
        name: train and validation are predicted by the head fitted on train, test by the final head, cv by heads that
            have not seen the image.
        images: their positions in the experiment; maybe none.
        probabilities: (images, classes).
    """

    name: str
    images: Positions
    probabilities: npt.NDArray[np.float64]


def class_column(name: str) -> str:
    """The column of a class's probability: its name, with `class:` before it where another column has that name.

    No two columns have one name: the class `class:error` has the column `class:class:error`.
    """
    bare = name
    while bare.startswith(_PREFIX):
        bare = bare.removeprefix(_PREFIX)
    return f"{_PREFIX}{name}" if bare in _RESERVED else name


def class_columns(table: pa.Table, classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """(rows, classes): the probabilities in a table of predictions, those of earlier versions too."""
    names = [class_column(name) for name in classes]
    found = [name if name in table.column_names else name.removeprefix(_PREFIX) for name in names]
    return np.column_stack([table[name].to_numpy() for name in found])


def split_group_column(table: pa.Table) -> npt.NDArray[np.int64] | None:
    """(rows,): rows with the same number are of one split group; None where the file of an earlier version has none."""
    if SPLIT_GROUP not in table.column_names or table.schema.field(SPLIT_GROUP).type != pa.int64():
        return None  # a floating-point column of that name is the probability of a class
    numbers: npt.NDArray[np.int64] = table[SPLIT_GROUP].to_numpy()
    return numbers


def prediction_columns(probabilities: npt.NDArray[np.float64], task: Task) -> dict[str, pa.Array]:
    """The columns predicted, its probability (of several labels, the highest), and one per class.

    Of a regression, the column predicted alone, a number.

    A row of NaN is one without a prediction; `predicted` alone is null where the head abstains.

    Args:
        probabilities: (rows, classes); (rows, 1) of a regression.
        task: what is predicted.
    """
    missing: npt.NDArray[np.bool_] = np.any(np.isnan(probabilities), axis=1)
    if task.regression:
        return {"predicted": pa.array(np.ascontiguousarray(probabilities[:, 0]), pa.float64(), mask=missing)}
    filled = np.where(missing[:, None], 0.0, probabilities)
    answered = task.answers(filled) & ~missing
    names = zip(task.names(filled), answered, strict=True)
    columns = {
        "predicted": pa.array([name if answer else None for name, answer in names], pa.string()),
        "probability": pa.array(task.confidence(filled), pa.float64(), mask=missing),
    }
    for number, name in enumerate(task.classes):
        columns[class_column(name)] = pa.array(np.ascontiguousarray(filled[:, number]), pa.float64(), mask=missing)
    return columns


def require_table_place(path: Path, force: bool) -> None:
    """Raise UsageError unless `write_table` can write that file; with `force`, an earlier one may be replaced."""
    _require_table_name(path)
    if path.exists() and not force:
        raise UsageError(f"{path} exists: choose another --out, or replace it with --force")


def _require_table_name(path: Path) -> None:
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"--out {path}: expected a file ending in {' or '.join(ENDINGS)}")


def write_table(table: pa.Table, path: Path) -> None:
    """Write a CSV or Parquet file, by its ending; whole or not at all."""
    _require_table_name(path)
    try:
        with whole_file(path) as part, part.open("wb") as file:
            if path.suffix.lower() == ".csv":
                pyarrow.csv.write_csv(table, file)
            else:
                pq.write_table(table, file, compression="zstd")
    except OSError as error:
        raise EnvironmentFailure(f"cannot write {path}: {error.strerror or error}") from error


def count_failures(table: pa.Table) -> int:
    """How many images gave no prediction."""
    return len(table) - int(table["error"].null_count)


def count_abstentions(table: pa.Table) -> int:
    """For how many images the head abstained."""
    return int(pc.sum(pc.and_(pc.is_null(table["predicted"]), pc.is_null(table["error"]))).as_py() or 0)


def require_few_errors(table: pa.Table, max_bad: float, where: str) -> None:
    """Raise TooManyFailures if more than that fraction of the images gave no prediction; `where` has the reasons."""
    require_few_failed(count_failures(table), len(table), max_bad, f"{where} says why")
