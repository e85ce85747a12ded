"""Tables of predictions, and those tables as files."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from fit.task import Task
from store.errors import EnvironmentFailure, TooManyFailures, UsageError
from store.files.local import whole_file

ENDINGS = (".csv", ".parquet")
_RESERVED = {"path", "label", "predicted", "probability", "split", "error"}


def class_column(name: str) -> str:
    """The column of a class's probability: its name, with `class:` before it where another column has that name."""
    return f"class:{name}" if name in _RESERVED else name


def prediction_columns(probabilities: npt.NDArray[np.float64], task: Task) -> dict[str, pa.Array]:
    """The columns predicted, probability (the highest), and one per class; a row of NaN is one without a prediction.

    Args:
        probabilities: (rows, classes).
        task: what is predicted.
    """
    missing: npt.NDArray[np.bool_] = np.any(np.isnan(probabilities), axis=1)
    filled = np.where(missing[:, None], 0.0, probabilities)
    names = task.names(filled)
    columns = {
        "predicted": pa.array([None if skip else name for name, skip in zip(names, missing, strict=True)], pa.string()),
        "probability": pa.array(filled.max(axis=1), pa.float64(), mask=missing),
    }
    for number, name in enumerate(task.classes):
        columns[class_column(name)] = pa.array(np.ascontiguousarray(filled[:, number]), pa.float64(), mask=missing)
    return columns


def require_table_name(path: Path) -> None:
    """Raise UsageError unless the file's ending is one that `write_table` knows."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"--out {path}: expected a file ending in {' or '.join(ENDINGS)}")


def write_table(table: pa.Table, path: Path) -> None:
    """Write a CSV or Parquet file, by its ending; whole or not at all."""
    require_table_name(path)
    try:
        with whole_file(path) as part:
            if path.suffix.lower() == ".csv":
                pyarrow.csv.write_csv(table, part)
            else:
                pq.write_table(table, part, compression="zstd")
    except OSError as error:
        raise EnvironmentFailure(f"cannot write {path}: {error.strerror or error}") from error


def require_few_errors(table: pa.Table, max_bad: float) -> None:
    """Raise TooManyFailures if more than that fraction of the images gave no prediction."""
    failed = len(table) - table["error"].null_count
    if failed > max_bad * len(table):
        raise TooManyFailures(
            f"{failed:,} of {len(table):,} images failed, more than --max-bad {max_bad:g} allows; "
            "the column error says why"
        )
