"""An audit as rows of cells for a terminal."""

from collections.abc import Sequence
from pathlib import Path

from fit.audit.findings import count_kinds
from fit.audit.run import Audit
from fit.audit.write import PAGE, fit_again, same_rows
from fit.command_words import table_words
from store.files.names import printable
from store.suggestions import suggested_line
from store.tables import display_width


def format_findings(audit: Audit) -> list[list[str]]:
    """One line per kind that was found: how many, and the first example."""
    rows = [["", "images", "first", ""]]
    for kind, count in count_kinds(audit.findings).items():
        if count:
            first = next(finding for finding in audit.findings if finding.kind == kind)
            path = audit.images.paths[first.row]
            if first.other is not None:
                beside = f"= {shorten(audit.images.paths[first.other], 24)}"
            else:
                beside = "" if first.suggested is None else f"{audit.images.labels[first.row]} -> {first.suggested}"
            rows.append([kind, f"{count:,}", shorten(path, 24), shorten(beside, 28)])
    return rows if len(rows) > 1 else [["nothing", "found"]]


def shorten(text: str, most: int) -> str:
    """A text that ends as it does, of at most that number of columns: the end of a path says most."""
    shown = printable(text)
    if display_width(shown) <= most:
        return shown
    while display_width(shown) > most - 1:
        shown = shown[1:]
    return f"…{shown}"


def next_steps(audit: Audit, store: str, folder: Path) -> Sequence[str]:
    """Commands that run as printed: fit without what was found; as it is, where nothing was; none without two classes."""
    if not _can_be_fitted(audit):
        return []
    found = [kind for kind, count in count_kinds(audit.findings).items() if count]
    if found:
        return list(dict.fromkeys(fit_again(audit.options, store, kind, folder) for kind in found))
    options = audit.options
    return [suggested_line("fit", "head", "--features", store, *same_rows(options), *table_words(options))]


def where(audit: Audit, folder: Path) -> str:
    """The sentence that says what was written, and what to do with it."""
    if not _can_be_fitted(audit):
        return f"look at {folder / PAGE}"
    if not audit.findings:
        return f"the page is {folder / PAGE}; next:"
    return f"look at {folder / PAGE}, take the images that are fine out of the tables in {folder}, then fit without the rest:"


def _can_be_fitted(audit: Audit) -> bool:
    return len(audit.counts.classes) > 1
