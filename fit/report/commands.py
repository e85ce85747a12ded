"""The commands of `fit` to look at heads: parse, call, print."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fit.app import HeadPlace, TableOptions, app
from store.command_line import Console, command
from store.options import Argument, Option
from store.tables import columns, facts, paragraph


@dataclass(frozen=True)
class ReportOptions:
    """Where pictures come from and go to."""

    images: Annotated[Path | None, Option("The folder that the images are in, if no longer where they were.")] = None
    out: Annotated[Path | None, Option("A folder.", ("--out", "-o"), default="HEAD/report")] = None


@command(app, "report", HeadPlace, ReportOptions)
def report(place: HeadPlace, options: ReportOptions, console: Console) -> None:
    """Draw a head's correct and wrong predictions and its training images, as PNG files."""
    from fit.head_folder import read_results
    from fit.report.pictures import write_report

    with console.reporter.step("drawing", None):
        written = write_report(read_results(place.folder), options.out, options.images)
    if written.left_out:
        reasons = "; ".join(dict.fromkeys(written.left_out.values()))
        console.message(
            f"warning: not written: {', '.join(written.left_out)}: {reasons}; say where they are with --images DIR"
        )
    console.result(
        {
            "report": str(written.folder),
            "page": str(written.page),
            "pictures": written.pictures,
            "left_out": written.left_out,
        }
    )
    shown = {**written.pictures, written.page.name: "all of these on a page, with the paths of the mistakes"}
    console.summary(*facts([[str(written.folder / name), shows] for name, shows in shown.items()]))
    if written.no_mistakes:
        console.summary(written.no_mistakes)


@dataclass(frozen=True)
class ComparisonOptions:
    """Which heads to compare."""

    heads: Annotated[tuple[Path, ...], Argument("HEAD HEAD…", "Folders that `fit head` wrote.")]
    out: Annotated[Path | None, Option("Also save a chart to this .png file.", ("--out", "-o"))] = None


@command(app, "compare", ComparisonOptions, TableOptions)
def compare(options: ComparisonOptions, table: TableOptions, console: Console) -> None:
    """Compare heads: what each scored, and how far each is from the best by validation on the same test images."""
    from fit.compare import compare_heads, comparison_figure
    from fit.head_folder import read_results
    from fit.report.style import require_png, to_png
    from fit.text import format_comparison
    from store.files.local import write_whole

    if options.out is not None:
        require_png(options.out)
    with console.reporter.step("comparing", None):
        comparison = compare_heads([read_results(folder) for folder in options.heads])
    if options.out is not None:
        write_whole(options.out, to_png(comparison_figure(comparison)))
    console.result(comparison.to_dict())
    notes = [line for note in comparison.notes for line in paragraph(note)]
    console.summary(*columns(format_comparison(comparison, table.everything)), "", *notes)
