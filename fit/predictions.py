"""Probabilities -> tables of predictions, and those tables as files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from fit.task import SEPARATOR
from store.errors import EnvironmentFailure, TooManyFailures, UsageError
from store.files.local import whole_file

ENDINGS = (".csv", ".parquet")
_RESERVED = {"path", "label", "predicted", "probability", "split", "error"}


def predicted_names(probabilities: npt.NDArray[Any], classes: Sequence[str], several: bool) -> list[str]:
    """Each row's most probable class; where rows have several labels, those of 0.5 or more, joined by `|`."""
    if not several:
        return [classes[number] for number in probabilities.argmax(axis=1)]
    return [
        SEPARATOR.join(name for name, value in zip(classes, row, strict=True) if value >= 0.5) for row in probabilities
    ]


def class_column(name: str) -> str:
    """The column of a class's probability: its name, with `class:` before it where another column has that name."""
    return f"class:{name}" if name in _RESERVED else name


def prediction_columns(probabilities: npt.NDArray[Any], classes: Sequence[str], several: bool) -> dict[str, pa.Array]:
    """Columns predicted, probability (the highest), and one a class; a row of NaN is one without a prediction."""
    without = np.isnan(probabilities).any(axis=1)
    filled = np.where(without[:, None], 0.0, probabilities)
    names = predicted_names(filled, classes, several)
    columns = {
        "predicted": pa.array([None if skip else name for name, skip in zip(names, without, strict=True)], pa.string()),
        "probability": pa.array(filled.max(axis=1), pa.float64(), mask=without),
    }
    for number, name in enumerate(classes):
        columns[class_column(name)] = pa.array(np.ascontiguousarray(filled[:, number]), pa.float64(), mask=without)
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
