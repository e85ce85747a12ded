"""The commands of `fit` to look at heads: parse, call, print."""

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fit.app import HeadPlace, app
from store.command_line import Console, command, format_count
from store.errors import UsageError
from store.options import Option
from store.tables import facts, paragraph


@dataclass(frozen=True)
class ReportOptions:
    """Options of `fit report`: its head and its output."""

    images: Annotated[Path | None, Option("The folder that the images are in, if no longer where they were.")] = None
    features: Annotated[
        tuple[str, ...],
        Option("The store of the head's features, if no longer where it was; repeatable.", ("--features", "-f")),
    ] = ()
    out: Annotated[
        Path | None,
        Option("A folder for the page and the pictures.", ("--out", "-o"), default="HEAD, pictures in HEAD/report"),
    ] = None
    map: Annotated[str, Option("pca or umap (extra umap): how the images are placed on the map.")] = "pca"


def _require_no_images(given: Set[str]) -> None:
    """Raise UsageError if an option is about thumbnails or the map, which the page of a regression does not have."""
    if named := [name for name in ("images", "features", "map") if name in given]:
        raise UsageError(
            f"--{named[0]} is for thumbnails and the map, and the page of a head that predicts numbers has neither: "
            "leave it out"
        )


@command(app, "report", HeadPlace, ReportOptions)
def report(place: HeadPlace, options: ReportOptions, console: Console) -> None:
    """Write a page, report.html, of all that is known about a head and its images, and pictures as PNG files."""
    from fit.head_folder import read_results
    from fit.page.gather import PageOptions
    from fit.page.map import require_map
    from fit.page.write import write_page
    from fit.report.pictures import write_report

    results = read_results(place.folder)
    if results.info.task.regression:
        _require_no_images(console.given)
    require_map(options.map)
    with console.reporter.step("drawing", None):
        written = write_report(results, options.out, options.images)
    parts = PageOptions(options.images, options.features, map=options.map)
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
    thumbnails = "" if results.info.task.regression else f", {page.thumbnails:,} thumbnails"
    shown = [[str(page.page), f"open it in a browser: {format_count(page.images, 'image')}{thumbnails}"]]
    if page.card is not None:
        shown.append([str(page.card), "a model card to fill in"])
    shown += [[str(written.folder / name), shows] for name, shows in written.pictures.items()]
    console.summary(*facts(shown))
    for note in page.notes:
        console.summary(*paragraph(note))
    if written.no_mistakes:
        console.summary(written.no_mistakes)
