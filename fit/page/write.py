"""Writing a head's page and its model card."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from extract.api import SILENT, Reporter
from fit.head_folder import Results, read_results
from fit.page.card import model_card
from fit.page.gather import BESIDE_A_FIT, PageOptions, gather_content
from fit.page.regression import regression_card, regression_content, render_regression
from fit.page.render import render_page
from store.errors import StillframeError
from store.files.local import write_whole
from store.reader import FeatureStore

PAGE, CARD = "report.html", "README.md"


@dataclass(frozen=True)
class WrittenPage:
    """What was written.

    Attributes:
        page: the file.
        card: the model card; None where there was one already, which may have been edited.
        images: how many images are on the page.
        thumbnails: how many of them have a thumbnail.
        notes: what is missing from the page, and why, in sentences.
    """

    page: Path
    card: Path | None
    images: int
    thumbnails: int
    notes: tuple[str, ...]


def write_page(
    results: Results, folder: Path, options: PageOptions | None = None, reporter: Reporter = SILENT
) -> WrittenPage:
    """Write report.html, and README.md unless there is one.

    Args:
        results: what the head's folder holds.
        folder: where to write.
        options: where the page's parts come from, and how much of them it takes.
        reporter: shows progress.

    Raises:
        EnvironmentFailure: they cannot be written.
    """
    if results.info.task.regression:
        numbers = regression_content(results)
        page, card = _write_files(folder, render_regression(numbers), regression_card(numbers))
        return WrittenPage(page, card, len(numbers.points), 0, tuple(numbers.notes))
    content = gather_content(results, options or PageOptions(), reporter)
    page, card = _write_files(folder, render_page(content), model_card(content))
    return WrittenPage(page, card, len(content.listed.paths), content.thumbnails, tuple(content.notes))


def _write_files(folder: Path, page: str, card: str) -> tuple[Path, Path | None]:
    """Write the page, and the card unless there is one; a card that was there is None."""
    write_whole(folder / PAGE, page.encode())
    if (folder / CARD).exists():
        return folder / PAGE, None
    write_whole(folder / CARD, card.encode())
    return folder / PAGE, folder / CARD


def write_page_beside(folder: Path, stores: Sequence[FeatureStore], reporter: Reporter = SILENT) -> WrittenPage | None:
    """The page of a head that was fitted just now, in its folder; None, and a warning, if it cannot be made.

    Args:
        folder: the head's.
        stores: what it was fitted on.
        reporter: shows progress.
    """
    try:
        options = replace(BESIDE_A_FIT, features=tuple(stores))
        return write_page(read_results(folder), folder, options, reporter)
    except StillframeError as error:
        reporter.message(f"warning: there is no report.html: {error}")
        return None
