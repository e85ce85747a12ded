"""The command of `fit` to search in a store: parse, call, print."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fit.app import app
from fit.lookup.options import SearchOptions
from store.command_line import Console, command
from store.errors import TooManyFailures
from store.options import Argument, Option
from store.tables import facts, paragraph


@dataclass(frozen=True)
class SearchPlace:
    """Options of `fit search`: its store, its query and its output."""

    store: Annotated[str, Argument("STORE", "The store that is searched.")]
    queries: Annotated[tuple[str, ...], Argument("QUERY…", "Paths of images in the store, or other image files.")] = ()
    page: Annotated[Path | None, Option("Also write a page of thumbnails, an .html file.")] = None
    force: Annotated[bool, Option("Replace an existing page.")] = False


@command(app, "search", SearchPlace, SearchOptions)
def search(place: SearchPlace, options: SearchOptions, console: Console) -> None:
    """Find the images of a store nearest to an image, or those most probably of a class of a head."""
    from fit.lookup.search import search_store
    from fit.lookup.show import describe_answers, format_answer, require_page_place, title_of, write_answers
    from store.reader import open_store

    if place.page is not None:
        require_page_place(place.page, place.force)
    store = open_store(place.store)
    answers = search_store(store, place.queries, options, console.reporter)
    if place.page is not None:
        write_answers(store, answers, place.page, options.images, console.reporter)
    page = None if place.page is None else str(place.page)
    console.result({"store": place.store, "page": page, "answers": describe_answers(store, answers)})
    for number, answer in enumerate(answers):
        if answer.error is not None:
            console.output(f"{title_of(answer)}: error: {answer.error}")
            continue
        console.summary(*([""] if number else []), title_of(answer))
        console.output(*facts(format_answer(store, answer)))
    for sentence in dict.fromkeys(answer.recall.sentence for answer in answers if answer.recall is not None):
        console.summary("", *paragraph(sentence))
    if place.page is not None:
        console.report(f"the page is {place.page}")
    failed = sum(answer.error is not None for answer in answers)
    if failed:
        raise TooManyFailures(f"{failed:,} of {len(answers):,} queries cannot be read; each one's line says why")
