"""The command of `fit` to compare heads: parse, call, print."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fit.app import TableOptions, app
from fit.compare.options import ComparisonOptions
from fit.options import FitOptions
from store.command_line import Console, command
from store.command_options import Without
from store.errors import UsageError
from store.tables import columns, facts, paragraph

if TYPE_CHECKING:
    from fit.head_folder import Results

_OF_EACH_HEAD = ("head", "tensorboard", "by", "task")


@command(app, "compare", ComparisonOptions, TableOptions, Without(FitOptions, _OF_EACH_HEAD))
def compare(options: ComparisonOptions, table: TableOptions, fit_options: FitOptions, console: Console) -> None:
    """Compare heads: what each scored, its distance from the best on the same images, and what it costs."""
    from fit.compare.grid import FittedGrid, fit_grid
    from fit.compare.heads import compare_heads, comparison_figure
    from fit.compare.page import HEADS, require_comparison_place, write_comparison
    from fit.compare.text import format_comparison, format_refused
    from fit.head_folder import read_results
    from fit.report.style import to_png
    from store.files.local import write_whole

    if not options.stores and fit_options != FitOptions():
        raise UsageError("options of a fit are for --heads, which fits: the heads in folders are compared as they are")
    if options.folder is not None:
        require_comparison_place(options.folder)
    if options.folder is not None and options.stores:
        grid = fit_grid(options, fit_options, options.folder / HEADS, console.reporter)
    else:
        grid = FittedGrid([read_results(folder) for folder in options.folders], ())
        if any(head.info.task.regression for head in grid.heads):
            _compare_errors(grid.heads, options, console)
            return
    with console.reporter.step("comparing", None):
        comparison = compare_heads(grid.heads)
        page = write_comparison(comparison, grid.refused, options.folder) if options.folder else None
    if options.chart is not None:
        write_whole(options.chart, to_png(comparison_figure(comparison)))
    refused = [{"name": name, "reason": reason} for name, reason in grid.refused]
    console.result({**comparison.to_dict(), "refused": refused, "page": None if page is None else str(page)})
    console.output(*columns(format_comparison(comparison, table.everything)))
    console.summary(*facts(format_refused(grid.refused)))
    console.summary("", *(line for note in comparison.notes for line in paragraph(note)))
    if page is not None:
        console.report(f"to look at it, open {page} in a browser")


def _compare_errors(heads: "Sequence[Results]", options: ComparisonOptions, console: Console) -> None:
    """Compare heads that predict numbers."""
    from fit.compare.errors import compare_errors_of, error_figure
    from fit.compare.text import format_errors
    from fit.report.style import to_png
    from store.files.local import write_whole

    if options.folder is not None:
        raise UsageError(
            f"--out {options.folder}: heads that predict numbers have no page of a comparison: name a .png file"
        )
    comparison = compare_errors_of(heads)
    if options.chart is not None:
        write_whole(options.chart, to_png(error_figure(comparison)))
    console.result(comparison.to_dict())
    console.output(*columns(format_errors(comparison)))
    console.summary("", *(line for note in comparison.notes for line in paragraph(note)))
