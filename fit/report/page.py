"""A page of a head's pictures: HTML that holds nothing but text, which is escaped, and the pictures beside it."""

import html
from collections.abc import Mapping, Sequence

from fit.report.images import Mistake
from store.files.names import printable

INDEX = "index.html"

_STYLE = """
body { font: 15px/1.5 sans-serif; color: #26323d; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
figure { margin: 2em 0; } img { max-width: 100%; } figcaption, td, th { text-align: left; }
table { border-collapse: collapse; } td, th { padding: 2px 16px 2px 0; } .wrong { color: #b8473f; }
"""


def report_page(title: str, pictures: Mapping[str, str], mistakes: Sequence[Mistake], notes: Sequence[str]) -> str:
    """The page.

    Args:
        title: of the page, any text.
        pictures: by file name in the page's folder, what each shows.
        mistakes: those in the picture of mistakes, in that order.
        notes: sentences below the title.
    """
    figures = "".join(
        f'<figure id="{_escaped(name)}"><a href="{_escaped(name)}"><img src="{_escaped(name)}" alt="{_escaped(shows)}"></a>'
        f"<figcaption>{_escaped(shows)}</figcaption></figure>\n"
        for name, shows in pictures.items()
    )
    links = "".join(f'<li><a href="#{_escaped(name)}">{_escaped(shows)}</a></li>\n' for name, shows in pictures.items())
    paragraphs = "".join(f"<p>{_escaped(note)}</p>\n" for note in notes)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{_escaped(title)}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body><h1>{_escaped(title)}</h1>\n{paragraphs}<ul>\n{links}</ul>\n"
        f"{figures}{_table(mistakes)}</body></html>\n"
    )


def _table(mistakes: Sequence[Mistake]) -> str:
    if not mistakes:
        return ""
    rows = "".join(
        f"<tr><td>{_escaped(mistake.path)}</td><td>{_escaped(mistake.actual)}</td>"
        f'<td class="wrong">{_escaped(mistake.predicted)}</td><td>{100 * mistake.probability:.1f} %</td></tr>\n'
        for mistake in mistakes
    )
    heading = "<tr><th>image</th><th>actual</th><th>predicted</th><th>probability</th></tr>\n"
    return f"<h2>Mistakes</h2>\n<table>\n{heading}{rows}</table>\n"


def _escaped(text: str) -> str:
    return html.escape(printable(text), quote=True)
