"""The commands of `fit` to look at heads: parse, call, print."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from fit.app import HeadPlace, TableOptions, app
from store.command_line import Console, command
from store.options import Argument, Option
from store.tables import columns, facts, paragraph


@dataclass(frozen=True)
class ReportOptions:
    """Where a report comes from and goes to."""

    images: Annotated[Path | None, Option("The folder that the images are in, if no longer where they were.")] = None
    features: Annotated[
        str | None, Option("The store of the head's features, if no longer where it was.", ("--features", "-f"))
    ] = None
    out: Annotated[
        Path | None,
        Option("A folder for the page and the pictures.", ("--out", "-o"), default="HEAD, pictures in HEAD/report"),
    ] = None


@command(app, "report", HeadPlace, ReportOptions)
def report(place: HeadPlace, options: ReportOptions, console: Console) -> None:
    """Write a page, report.html, of all that is known about a head and its images, and pictures as PNG files."""
    from fit.head_folder import read_results
    from fit.page.gather import PageOptions
    from fit.page.write import write_page
    from fit.report.pictures import write_report

    results = read_results(place.folder)
    with console.reporter.step("drawing", None):
        written = write_report(results, options.out, options.images)
    parts = PageOptions(options.images, options.features)
    page = write_page(results, options.out or place.folder, parts, console.reporter)
    if written.left_out:
        reasons = "; ".join(dict.fromkeys(written.left_out.values()))
        console.message(
            f"warning: not written: {', '.join(written.left_out)}: {reasons}; say where they are with --images DIR"
        )
    console.result(
        {
            "report": str(written.folder),
            "page": str(page.page),
            "card": None if page.card is None else str(page.card),
            "pictures": written.pictures,
            "left_out": written.left_out,
            "notes": list(page.notes),
        }
    )
    shown = [[str(page.page), f"open it in a browser: {page.images:,} images, {page.thumbnails:,} thumbnails"]]
    if page.card is not None:
        shown.append([str(page.card), "a model card to fill in"])
    shown += [[str(written.folder / name), shows] for name, shows in written.pictures.items()]
    console.summary(*facts(shown))
    for note in page.notes:
        console.summary(*paragraph(note))
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
    from fit.compare_numbers import compare_number_heads, number_comparison_figure
    from fit.head_folder import read_results
    from fit.report.style import require_png, to_png
    from fit.text import format_comparison, format_number_comparison
    from store.files.local import write_whole

    if options.out is not None:
        require_png(options.out)
    heads = [read_results(folder) for folder in options.heads]
    with console.reporter.step("comparing", None):
        if any(head.info.task.regression for head in heads):
            numbers = compare_number_heads(heads)
            described, found, draw = numbers.to_dict(), numbers.notes, partial(number_comparison_figure, numbers)
            rows = format_number_comparison(numbers)
        else:
            comparison = compare_heads(heads)
            described, found, draw = comparison.to_dict(), comparison.notes, partial(comparison_figure, comparison)
            rows = format_comparison(comparison, table.everything)
    if options.out is not None:
        write_whole(options.out, to_png(draw()))
    console.result(described)
    notes = [line for note in found for line in paragraph(note)]
    console.output(*columns(rows))
    console.summary("", *notes)
