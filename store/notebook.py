"""Small HTML tables and pictures for notebooks: all names in them are escaped text."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from store.files.names import printable

_SIDE = 96  # of a picture, in pixels


@dataclass(frozen=True)
class Picture:
    """A small image for a notebook.

    Attributes:
        uri: the image itself, a data URI.
        name: what it is of, shown where a mouse rests on it.
        caption: below it.
    """

    uri: str
    name: str
    caption: str


@dataclass(frozen=True)
class Pictures:
    """Some pictures, and what they have in common."""

    title: str
    pictures: Sequence[Picture]


def notebook_table(title: str, facts: Mapping[str, str], shown: Pictures | None = None) -> str:
    """A table of facts below a title, as `_repr_html_` gives it, and pictures below the table."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align: left">{_escaped(name)}</th>'
        f'<td style="text-align: left">{_escaped(value)}</td></tr>'
        for name, value in facts.items()
    )
    pictures = _pictures(shown) if shown and shown.pictures else ""
    return f"<div><strong>{_escaped(title)}</strong><table>{rows}</table>{pictures}</div>"


def _pictures(shown: Pictures) -> str:
    figures = "".join(
        f'<figure style="margin: 0; width: {_SIDE}px">'
        f'<img src="{_escaped(picture.uri)}" alt="{_escaped(picture.name)}" title="{_escaped(picture.name)}" '
        f'style="max-width: {_SIDE}px; max-height: {_SIDE}px">'
        f'<figcaption style="font-size: smaller; overflow-wrap: anywhere">{_escaped(picture.caption)}</figcaption>'
        "</figure>"
        for picture in shown.pictures
    )
    return f'<p>{_escaped(shown.title)}</p><div style="display: flex; flex-wrap: wrap; gap: 8px">{figures}</div>'


def _escaped(text: str) -> str:
    return html.escape(printable(text), quote=True)
