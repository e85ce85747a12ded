"""The page of a gallery: what is on it, and its HTML. Everything on it is text, which the template escapes."""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from store.files.names import printable


@dataclass(frozen=True)
class Picture:
    """An image of a card: its path, its label, and its thumbnail as a data URI, if there is one."""

    path: str
    label: str | None = None
    uri: str | None = None


@dataclass(frozen=True)
class Card:
    """One entry of a section: its pictures side by side, and lines of text below."""

    pictures: Sequence[Picture]
    lines: Sequence[str]


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        name: for links to it: letters, digits and underscores.
        title: its heading.
        text: a sentence below the heading.
        cards: those that are shown.
        count: the number of all of them.
        command: what to do about them, as it can be typed; or nothing.
    """

    name: str
    title: str
    text: str
    cards: Sequence[Card]
    count: int
    command: str = ""


@dataclass(frozen=True)
class Page:
    """A page.

    Attributes:
        title: its heading.
        subtitle: the line above the heading.
        numbers: (name, value) of its headline.
        notes: sentences below.
        sections: in their order.
    """

    title: str
    subtitle: str
    numbers: Sequence[tuple[str, str]]
    notes: Sequence[str]
    sections: Sequence[Section]


def render(page: Page) -> str:
    """The page as HTML. It loads nothing and runs nothing: its Content-Security-Policy admits its one style and data URIs."""
    from jinja2 import Environment, StrictUndefined

    style = _resource("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode("utf-8")).digest()).decode("ascii")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["printable"] = printable
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    template = environment.from_string(_resource("page.html"))
    return template.render(page=page, style=_Verbatim(style), policy=policy)


class _Verbatim(str):
    """Our own text, which is not escaped."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


def _resource(name: str) -> str:
    return files("fit.gallery").joinpath(name).read_text(encoding="utf-8")
