"""The command of `fit` to compare heads: parse, call, print."""

from collections.abc import Sequence
from dataclasses import fields
from typing import TYPE_CHECKING

from fit.app import TableOptions, app
from fit.compare.options import ComparisonOptions
from fit.options import FitOptions
from store.command_line import Console, command
from store.command_options import Without
from store.errors import UsageError
from store.tables import columns, facts, paragraph

if TYPE_CHECKING:
    from fit.compare.grid import FittedGrid

_OF_EACH_HEAD = ("head", "tensorboard", "by")


@command(app, "compare", ComparisonOptions, TableOptions, Without(FitOptions, _OF_EACH_HEAD))
def compare(options: ComparisonOptions, table: TableOptions, fit_options: FitOptions, console: Console) -> None:
    """Compare heads: what each scored, its distance from the best on the same images, and what it costs."""
    from fit.compare.grid import FittedGrid, fit_grid
    from fit.compare.page import HEADS, require_comparison_place
    from fit.compare.text import format_refused
    from fit.head_folder import read_results

    if not options.stores and console.given & {field.name for field in fields(FitOptions)}:
        raise UsageError("options of a fit are for --heads, which fits: the heads in folders are compared as they are")
    if options.folder is not None:
        require_comparison_place(options.folder)
    if options.folder is not None and options.stores:
        grid = fit_grid(options, fit_options, options.folder / HEADS, console.reporter)
    else:
        grid = FittedGrid([read_results(folder) for folder in options.folders], ())
    console.result({"refused": [{"name": name, "reason": reason} for name, reason in grid.refused]})
    if any(head.info.task.regression for head in grid.heads):
        notes, written = _compare_errors(grid, options, console)
    else:
        notes, written = _compare_classes(grid, options, table, console)
    console.summary(*facts(format_refused(grid.refused)))
    console.summary("", *(line for note in notes for line in paragraph(note)))
    console.report(*written)


def _compare_classes(
    grid: "FittedGrid", options: ComparisonOptions, table: TableOptions, console: Console
) -> tuple[Sequence[str], Sequence[str]]:
    """Compare heads that predict classes; returns the notes, and what to look at."""
    from fit.compare.heads import compare_heads, comparison_figure
    from fit.compare.page import write_comparison
    from fit.compare.text import format_comparison
    from fit.report.style import to_png
    from store.files.local import write_whole

    with console.reporter.step("comparing", None):
        comparison = compare_heads(grid.heads)
        page = write_comparison(comparison, grid.refused, options.folder) if options.folder else None
    if options.chart is not None:
        write_whole(options.chart, to_png(comparison_figure(comparison)))
    console.result({**comparison.to_dict(), "page": None if page is None else str(page)})
    console.output(*columns(format_comparison(comparison, table.everything)))
    return comparison.notes, [] if page is None else [f"to look at it, open {page} in a browser"]


def _compare_errors(
    grid: "FittedGrid", options: ComparisonOptions, console: Console
) -> tuple[Sequence[str], Sequence[str]]:
    """Compare heads that predict numbers; returns the notes, and what to look at."""
    from fit.compare.errors import compare_errors_of, error_figure
    from fit.compare.page import write_errors
    from fit.compare.text import format_errors
    from fit.report.style import to_png
    from store.files.local import write_whole

    comparison = compare_errors_of(grid.heads)
    chart = options.chart
    if options.folder is not None:
        chart = write_errors(comparison, grid.refused, options.folder)
    elif chart is not None:
        write_whole(chart, to_png(error_figure(comparison)))
    console.result({**comparison.to_dict(), "page": None})
    console.output(*columns(format_errors(comparison)))
    return comparison.notes, [] if chart is None else [f"it is drawn in {chart}"]
