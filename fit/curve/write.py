"""A learning curve as files: curve.csv and curve.png."""

import csv
import io
from pathlib import Path

from fit.curve.run import Curve
from fit.report.curves import draw_curve
from fit.report.style import to_png
from store.errors import UsageError
from store.files.local import write_whole

CSV, PICTURE = "curve.csv", "curve.png"


def require_curve_place(folder: Path, force: bool) -> None:
    """Raise UsageError unless a curve can be written there; with `force`, an earlier one may be replaced."""
    if not force and any((folder / name).exists() for name in (CSV, PICTURE)):
        raise UsageError(f"{folder} holds a curve already: choose another --out, or replace it with --force")


def write_curve(curve: Curve, folder: Path) -> None:
    """Write both files.

    Raises:
        EnvironmentFailure: they cannot be written.
    """
    write_whole(folder / CSV, curve_csv(curve))
    points = [(point.images, point.accuracy, point.log_loss) for point in curve.points]
    write_whole(folder / PICTURE, to_png(draw_curve(curve.head, points, curve.validation)))


def curve_csv(curve: Curve) -> bytes:
    """One line per size of the training set; `gained` is the accuracy less that of the line before."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    names = ("accuracy", "log_loss", "gained")
    writer.writerow(["images", "draws", *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))])
    for point, step in zip(curve.points, [None, *curve.steps], strict=True):
        scores = [point.accuracy, point.log_loss, None if step is None else step.accuracy]
        cells = [["", "", ""] if score is None else [score.value, score.low, score.high] for score in scores]
        writer.writerow([point.images, point.draws, *(cell for three in cells for cell in three)])
    return table.getvalue().encode()
