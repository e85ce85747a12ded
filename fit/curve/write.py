"""A learning curve as files: curve.csv and curve.png."""

import csv
import io
from pathlib import Path

from fit.curve.estimates import MEASURES
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
    scores = {name: [point.scores[name] for point in curve.points] for name in curve.metrics}
    figure = draw_curve(curve.head, [point.images for point in curve.points], scores, curve.validation)
    write_whole(folder / PICTURE, to_png(figure))


def curve_csv(curve: Curve) -> bytes:
    """One line per size of the training set; `gained`, or `changed`, is the main metric less that of the line before."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    main = curve.metrics[0]
    names = (*curve.metrics, MEASURES[main].changed)
    writer.writerow(["images", "draws", *(f"{name}{end}" for name in names for end in ("", "_low", "_high"))])
    for point, step in zip(curve.points, [None, *curve.steps], strict=True):
        scores = [*point.scores.values(), None if step is None else step.changes[main]]
        cells = [["", "", ""] if score is None else [score.value, score.low, score.high] for score in scores]
        writer.writerow([point.images, point.draws, *(cell for three in cells for cell in three)])
    return table.getvalue().encode()
