"""Tables as lines of text that fit the terminal; names in them are never cut.

A table that is too wide continues below with its other columns, the first column repeated. Text wraps in its column.
"""

import re
import shutil
import textwrap
import unicodedata
from collections.abc import Sequence

_GAP = "  "
_COMMAND = re.compile("`[^`\n]*`")
_SPACE = "\N{NULL}"
_NARROWEST = 40
_FALLBACK = (80, 24)


def terminal_width() -> int:
    """Columns of the terminal: 80 where there is none; COLUMNS in the environment counts first."""
    return max(_NARROWEST, shutil.get_terminal_size(_FALLBACK).columns)


def display_width(text: str) -> int:
    """The columns that a text takes: two for each wide character, as in Chinese, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def table_width(rows: Sequence[Sequence[str]]) -> int:
    """The columns of the terminal that a table takes where it is not wrapped."""
    widths = _widths(rows)
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def columns(rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """The lines of a table of short cells, its first row and column being headings.

    Args:
        rows: all of the same length.
        width: of a line, at most, unless a cell and its heading alone are wider; by default the terminal's.
    """
    widths = _widths(rows)
    lines: list[str] = []
    for chosen in _blocks(widths, terminal_width() if width is None else width):
        lines += [""] if lines else []
        lines += [_line([row[at] for at in chosen], [widths[at] for at in chosen]) for row in rows]
    return lines


def facts(rows: Sequence[Sequence[str]], width: int | None = None) -> list[str]:
    """The lines of a table whose last column is text, which wraps, or goes below where there is too little room.

    Args:
        rows: all of the same length.
        width: as in `columns`.
    """
    if not rows:
        return []
    width = terminal_width() if width is None else width
    widths = _widths(rows)
    indent = sum(widths[:-1]) + len(_GAP) * (len(widths) - 1)
    room = width - indent
    lines = []
    for row in rows:
        start = _line(row[:-1], widths[:-1])
        if room < width // 3 or any(display_width(word) > room for word in row[-1].split()):
            lines += [start, *paragraph(row[-1], width, indent="    ")]
            continue
        first, *others = _wrapped(row[-1], room) or [""]
        lines.append(f"{start}{' ' * (indent - display_width(start))}{first}".rstrip())
        lines += [" " * indent + text for text in others]
    return lines


def paragraph(text: str, width: int | None = None, indent: str = "") -> list[str]:
    """The lines of a text, wrapped at spaces; by default at the terminal's width."""
    width = terminal_width() if width is None else width
    return [indent + line for line in _wrapped(text, width - len(indent))]


def _wrapped(text: str, width: int) -> list[str]:
    # A command is left on one line, a long one to the terminal, so that what is copied from there runs.
    joined = _COMMAND.sub(lambda command: command.group().replace(" ", _SPACE), text)
    lines = textwrap.wrap(joined, max(width, 1), break_long_words=False, break_on_hyphens=False)
    return [line.replace(_SPACE, " ") for line in lines]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(display_width(row[at]) for row in rows) for at in range(len(rows[0]))]


def _blocks(widths: Sequence[int], most: int) -> list[list[int]]:
    """The columns of each part of a table, as many as fit, and the first column in all of them."""
    blocks = [[0]]
    for at in range(1, len(widths)):
        taken = sum(widths[before] + len(_GAP) for before in blocks[-1])
        if taken + widths[at] > most and len(blocks[-1]) > 1:
            blocks.append([0])
        blocks[-1].append(at)
    return blocks


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell + " " * (width - display_width(cell)) for cell, width in zip(cells, widths, strict=True))
    return _GAP.join(padded).rstrip()
