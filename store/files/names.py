r"""Row names: how a file's name is written in a store, and how it is shown on a terminal.

A row is named by its `/`-separated path relative to the data. File systems allow any byte in a
name but Parquet, HDF5 and JSON have Unicode, so a byte that is not UTF-8 is written as `\xNN` and
a backslash is doubled. `row_name` does this: it is injective, and `file_path` inverts it.
"""

import os
import re

_ESCAPE = re.compile(r"\\(\\|x[0-9a-f]{2})")
_SURROGATE = re.compile("[\udc80-\udcff]")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|[a-z]+::")
_UNPRINTABLE = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def row_name(path: str) -> str:
    """The row name of a relative file path as Python gives it (`os.fsdecode`, surrogates for stray bytes)."""
    if path.isascii() and "\\" not in path:
        return path
    doubled = path.replace("\\", "\\\\")
    return _SURROGATE.sub(lambda stray: f"\\x{ord(stray.group()) - 0xDC00:02x}", doubled)


def file_path(name: str) -> str:
    """The relative file path that `row_name` was given: its inverse."""
    if "\\" not in name:
        return name
    raw = _ESCAPE.sub(
        lambda escape: "\\" if escape.group(1) == "\\" else chr(0xDC00 + int(escape.group(1)[1:], 16)), name
    )
    return os.fsdecode(os.fsencode(raw))


def is_url(place: str | os.PathLike[str]) -> bool:
    """Whether this is a URL such as `s3://bucket/images` rather than a path of this machine."""
    return bool(_URL.match(os.fspath(place)))


def printable(text: str) -> str:
    """`text` on one line, with nothing a terminal would act on: control and invisible characters are escaped."""
    return "".join(
        character
        if character.isprintable()
        else _UNPRINTABLE.get(character) or character.encode("unicode_escape").decode("ascii")
        for character in text
    )
