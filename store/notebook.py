"""Small HTML tables for notebooks: everything in them is escaped text."""

import html
from collections.abc import Mapping

from store.files.names import printable


def notebook_table(title: str, facts: Mapping[str, str]) -> str:
    """A table of facts below a title, as `_repr_html_` gives it."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align: left">{_escaped(name)}</th>'
        f'<td style="text-align: left">{_escaped(value)}</td></tr>'
        for name, value in facts.items()
    )
    return f"<div><strong>{_escaped(title)}</strong><table>{rows}</table></div>"


def _escaped(text: str) -> str:
    return html.escape(printable(text), quote=True)
