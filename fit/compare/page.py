"""A comparison as a page, compare.html, and as JSON, compare.json, in a folder; of numbers, as compare.png instead of a page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fit.compare.chart import CostChart, cost_chart
from fit.compare.costs import differing
from fit.compare.errors import ErrorComparison, error_figure
from fit.compare.heads import CHOOSING, ComparedHead, Comparison
from fit.compare.numbers import common_parent, format_bytes, format_milliseconds, format_p
from fit.metrics.intervals import Interval
from fit.metrics.scores import Scores
from fit.page.content import Number, Snippet
from fit.page.numbers import number
from fit.page.render import render_template
from fit.page.sources import EVALUATIONS
from fit.report.style import to_png
from store.errors import UsageError
from store.files.local import LocalFiles, write_whole
from store.files.names import printable
from store.suggestions import suggested_line

PAGE, PICTURE, VALUES, HEADS = "compare.html", "compare.png", "compare.json", "heads"


@dataclass(frozen=True)
class Sortable:
    """A cell of the table: what is shown, and what it is sorted by; None is last."""

    shown: Number
    value: float | str | None


@dataclass(frozen=True)
class HeadRow:
    """A head in the table: its number, from 1, its name, and a cell per column."""

    number: int
    name: str
    best: bool
    on_front: bool
    cells: Sequence[Sortable]


@dataclass(frozen=True)
class Content:
    """Everything on the page.

    Attributes:
        title: what is compared.
        place: the folder that all heads are in; empty if there is none.
        best: the row of the best head.
        chosen_by: what it was chosen by, in words.
        measured: which accuracy is set against the costs, in words.
        columns: the names of the table's columns, and whether they are numbers or text.
        rows: a head each.
        same: what is the same for all heads, by its name.
        chart: accuracy against cost; None where no cost is known.
        refused: heads that could not be fitted, and why.
        notes: what the numbers mean, and what limits them.
        blocks: commands to copy.
    """

    title: str
    place: str
    best: HeadRow
    chosen_by: str
    measured: str
    columns: Sequence[tuple[str, str]]
    rows: Sequence[HeadRow]
    same: Mapping[str, str]
    chart: CostChart | None
    refused: Sequence[tuple[str, str]]
    notes: Sequence[str]
    blocks: Sequence[Snippet]


def require_comparison_place(folder: Path) -> None:
    """Raise UsageError unless a comparison can be written there: nothing is there yet, or an earlier comparison, which may
    have been stopped while its heads were fitted.
    """
    if not folder.exists():
        return
    names = {place.name for place in folder.iterdir()} if folder.is_dir() else {folder.name}
    if VALUES not in names and not names <= {HEADS}:
        raise UsageError(f"{folder} exists and is not a comparison: choose another --out")


def write_comparison(comparison: Comparison, refused: Sequence[tuple[str, str]], folder: Path) -> Path:
    """Write compare.html and compare.json, in the place of an earlier comparison; returns the page.

    Raises:
        EnvironmentFailure: they cannot be written.
    """
    _write_values(comparison.to_dict(), refused, folder)
    LocalFiles(folder).remove(PICTURE)  # of numbers that were compared there before
    content = comparison_content(comparison, refused)
    write_whole(folder / PAGE, render_template("compare.html", ("page.js",), content, {}).encode())
    return folder / PAGE


def write_errors(comparison: ErrorComparison, refused: Sequence[tuple[str, str]], folder: Path) -> Path:
    """Write compare.png and compare.json, in the place of an earlier comparison; returns the picture.

    Raises:
        EnvironmentFailure: they cannot be written.
    """
    _write_values(comparison.to_dict(), refused, folder)
    LocalFiles(folder).remove(PAGE)  # of classes that were compared there before
    write_whole(folder / PICTURE, to_png(error_figure(comparison)))
    return folder / PICTURE


def _write_values(values: Mapping[str, object], refused: Sequence[tuple[str, str]], folder: Path) -> None:
    """Write compare.json: a comparison as plain JSON values."""
    everything = {**values, "refused": [list(one) for one in refused]}
    write_whole(folder / VALUES, (json.dumps(everything, indent=1, ensure_ascii=True) + "\n").encode())


def comparison_content(comparison: Comparison, refused: Sequence[tuple[str, str]] = ()) -> Content:
    """What the page says."""
    features = [head.features for head in comparison.heads]
    parent = common_parent([head.name for head in comparison.heads])
    columns = _columns(comparison, differing(features))
    rows = [
        HeadRow(
            at + 1,
            printable(head.name.removeprefix(parent)),
            at == comparison.best,
            at in comparison.front,
            [cell for _, _, cell in columns[at]],
        )
        for at, head in enumerate(comparison.heads)
    ]
    best = rows[comparison.best]
    place = comparison.heads[comparison.best].name
    return Content(
        title=f"{len(rows)} heads compared",
        place=printable(parent),
        best=best,
        chosen_by=CHOOSING[comparison.chosen_by],
        measured=EVALUATIONS[comparison.measured],
        columns=[(name, kind) for name, kind, _ in columns[0]],
        rows=rows,
        same={
            name: printable(values.pop()) for name in features[0] if len(values := {one[name] for one in features}) == 1
        },
        chart=cost_chart(comparison),
        refused=[(printable(name), printable(reason)) for name, reason in refused],
        notes=[f"{note[0].upper()}{note[1:]}." for note in comparison.notes],
        blocks=[Snippet("Look at the best head", printable(suggested_line("fit", "report", place)))],
    )


def _columns(comparison: Comparison, features: Sequence[str]) -> list[list[tuple[str, str, Sortable]]]:
    """For each head: name, kind and cell of each column. Columns that no head has anything in are left out."""
    rows = [_cells(head, features) for head in comparison.heads]
    filled = [any(row[at][2].value is not None for row in rows) for at in range(len(rows[0]))]
    return [[cell for cell, shown in zip(row, filled, strict=True) if shown] for row in rows]


def _cells(head: ComparedHead, features: Sequence[str]) -> list[tuple[str, str, Sortable]]:
    paired, folds, costs = head.paired, head.folds, head.costs
    evaluations = ("validation", "cv", "test")
    return [
        *((f"{of} accuracy", "number", _measured("accuracy", head.scores(of))) for of in evaluations),
        ("ms per image", "number", _plain(costs.seconds_per_image, format_milliseconds(costs.seconds_per_image))),
        ("bytes per image", "number", _plain(costs.bytes_per_image, format_bytes(costs.bytes_per_image))),
        ("test less best's", "number", _difference(paired.difference if paired else None)),
        ("p", "number", _plain(head.p_value, format_p(head.p_value))),
        ("cv less best's", "number", _difference(folds.difference if folds else None)),
        ("cv p", "number", _plain(head.folds_p_value, format_p(head.folds_p_value))),
        ("fit, s", "number", _plain(costs.fit_seconds, f"{costs.fit_seconds:.1f}")),
        *((f"{of} log loss", "number", _measured("log_loss", head.scores(of))) for of in evaluations),
        ("head", "text", _text(head.head)),
        *((name, "text", _text(head.features[name])) for name in features),
    ]


def _text(value: str) -> Sortable:
    return Sortable(Number(printable(value)), printable(value))


def _plain(value: float | None, shown: str) -> Sortable:
    return Sortable(Number(shown), value)


def _measured(metric: str, scores: Scores | None) -> Sortable:
    if scores is None:
        return Sortable(Number("-"), None)
    measured = scores.metric(metric)
    return Sortable(number(metric, measured.to_dict()), measured.value)


def _difference(interval: Interval | None) -> Sortable:
    """A difference in percentage points."""
    if interval is None or interval.value is None:
        return Sortable(Number("-"), None)
    shown = f"{100 * interval.value:+.1f}"
    if interval.low is None or interval.high is None:
        return Sortable(Number(shown, reason=printable(interval.reason or "")), interval.value)
    return Sortable(Number(shown, f"{100 * interval.low:+.1f} to {100 * interval.high:+.1f}"), interval.value)
