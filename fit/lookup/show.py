"""What was found, as rows of cells, plain values, and a page of thumbnails."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from extract.api import SILENT, BadImage, Reporter, any_present, image_root, read_pixels
from fit.gallery.page import Card, Page, Picture, Section, render
from fit.gallery.thumbnails import encode, make_thumbnails, rows_of
from fit.lookup.search import CLASS, IMAGE, Answer
from store.errors import UsageError
from store.files.local import write_whole
from store.files.names import file_path, is_url, printable, row_name
from store.reader import FeatureStore


def describe_answers(store: FeatureStore, answers: Sequence[Answer]) -> list[dict[str, object]]:
    """As plain JSON values."""
    images = store.images()
    return [
        {
            "query": answer.query,
            "kind": answer.kind,
            "measure": answer.measure,
            "error": answer.error,
            "recall": None if answer.recall is None else asdict(answer.recall),
            "results": [{**_columns(images, match.row), "score": round(match.score, 6)} for match in answer.matches],
        }
        for answer in answers
    ]


def _columns(images: pa.Table, row: int) -> dict[str, str | None]:
    return {name: images[name][row].as_py() for name in ("path", "label", "split", "group")}


def format_answer(store: FeatureStore, answer: Answer) -> list[list[str]]:
    """One line per image: its score, label, split and path; columns that no image has are left out."""
    images = store.images()
    found = [_columns(images, match.row) for match in answer.matches]
    names = [name for name in ("label", "split") if any(columns[name] is not None for columns in found)]
    rows = [[answer.measure, *names, "path"]]
    for match, columns in zip(answer.matches, found, strict=True):
        cells = [printable(columns[name] or "-") for name in names]
        rows.append([f"{match.score:.4f}", *cells, printable(columns["path"] or "")])
    return rows


def title_of(answer: Answer) -> str:
    """What a query is, as a heading."""
    if answer.kind == CLASS:
        return f"most probably {printable(answer.query)}"
    return f"nearest to {printable(answer.query)}"


def require_page_place(path: Path, force: bool) -> None:
    """Raise UsageError unless a page can be written there; with `force`, an earlier file may be replaced."""
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--page {path}: expected a file ending in .html")
    if path.exists() and not force:
        raise UsageError(f"{path} exists: choose another --page, or replace it with --force")


def write_answers(
    store: FeatureStore,
    answers: Sequence[Answer],
    path: Path,
    images: str | os.PathLike[str] | None = None,
    reporter: Reporter = SILENT,
) -> None:
    """Write a page of what was found; without thumbnails where the images are no longer there.

    Args:
        store: that was searched.
        answers: what was found.
        path: of the page; a file that is there is replaced.
        images: the folder that the images are in, if no longer where they were.
        reporter: shows progress.

    Raises:
        EnvironmentFailure: it cannot be written, or an image cannot be read now.
    """
    table = store.images()
    rows = list(dict.fromkeys(match.row for answer in answers for match in answer.matches))
    root = _root(store, images)
    there = root and any_present(root, rows_of(table, rows[:200])["path"].to_pylist())
    thumbnails = make_thumbnails(root, rows_of(table, rows), store.recipe, reporter) if there and rows else {}
    sections = [
        _section(table, answer, {**thumbnails, **_own_picture(store, answer, root if there else "")}, number)
        for number, answer in enumerate(answers, start=1)
    ]
    notes = [] if there else [f"the images are not in {root}: say where they are with --images DIR"]
    numbers = [("images searched", f"{len(table):,}"), ("queries", f"{len(answers):,}")]
    page = Page(str(store.folder), "search", numbers, notes, sections)
    write_whole(path, render(page).encode("utf-8"))


def _root(store: FeatureStore, images: str | os.PathLike[str] | None) -> str:
    if images is not None:
        return os.fspath(images)
    return image_root(store.snapshot.current.data) if store.snapshot.current else ""


def _own_picture(store: FeatureStore, answer: Answer, root: str) -> dict[str, str]:
    """The thumbnail of the query, if it is an image that can be read."""
    if answer.kind == CLASS or answer.error is not None or (answer.kind != IMAGE and not root):
        return {}
    name, folder = answer.query, root
    if answer.kind == IMAGE:
        if is_url(name):
            return {}
        folder, base = os.path.split(file_path(name))
        name = row_name(base)
    pixels = next(iter(read_pixels(folder or ".", [name], store.recipe)))
    if isinstance(pixels, BadImage):
        return {}
    return {answer.query: encode(pixels, (pixels.shape[1], pixels.shape[0]))}


def _section(table: pa.Table, answer: Answer, thumbnails: Mapping[str, str], number: int) -> Section:
    cards = []
    if answer.kind != CLASS:
        cards.append(Card([Picture(answer.query, None, thumbnails.get(answer.query))], ["the query"]))
    for match in answer.matches:
        columns = _columns(table, match.row)
        path = columns["path"] or ""
        line = f"{answer.measure} {match.score:.4f}" + (f", {columns['split']}" if columns["split"] else "")
        cards.append(Card([Picture(path, columns["label"], thumbnails.get(path))], [line]))
    text = answer.error or f"Sorted by {answer.measure}."
    return Section(f"query_{number}", title_of(answer), text, cards, len(cards))
