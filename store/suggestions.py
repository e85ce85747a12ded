"""Commands that messages suggest: they run as printed, from where the user is."""

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from store.errors import DamagedStore

_PROGRAMS = ("extract", "fit", "store", "stillframe")


def suggest(program: str, *words: str | os.PathLike[str]) -> str:
    """A command as a message names it, in backticks: words are quoted for the shell where that is needed."""
    return f"`{suggested_line(program, *words)}`"


def suggested_line(program: str, *words: str | os.PathLike[str]) -> str:
    """A command as the user can type it.

    A program that is not on PATH is named as the user has named the one that runs: `.venv/bin/fit` after
    `.venv/bin/extract`, `stillframe fit` after `stillframe extract`.
    """
    return join_words([*_called(program), *(_no_option(os.fspath(word)) for word in words)])


def join_words(words: Iterable[str]) -> str:
    r"""Words as a line that a shell splits into them again, all of it printable: in bash and zsh, `$'\n'` is a newline."""
    return " ".join(shlex.quote(word) if word.isprintable() else _escaped(word) for word in words)


def _no_option(word: str) -> str:
    """A path that begins with a dash, which would be taken for an option, from the folder on; options have two dashes."""
    return f"./{word}" if word.startswith("-") and not word.startswith("--") else word


def _escaped(word: str) -> str:
    raw = word.encode(errors="surrogateescape").replace(b"\\", rb"\\").replace(b"'", rb"\'")
    return "$'" + "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in raw) + "'"


def suggest_install(requirement: str) -> str:
    """The command that installs something for the Python that runs this, in backticks."""
    found = shutil.which("pip")
    ours = found is not None and os.path.dirname(found) == os.path.dirname(sys.executable)
    pip = ["pip"] if ours else [sys.executable, "-m", "pip"]
    return f"`{join_words([*pip, 'install', requirement])}`"


@contextmanager
def naming_store(store: object) -> Iterator[None]:
    """Inside the block, an error that says `store repair` says of which store, by its `str()`."""
    try:
        yield
    except DamagedStore as error:
        named = str(error).replace("`store repair`", suggest("store", "repair", str(store)))
        raise DamagedStore(named) from error


def _called(program: str) -> list[str]:
    folder, running = os.path.split(sys.argv[0])
    if running == "stillframe":
        return [_placed(folder, running), program]
    return [_placed(folder, program) if running in _PROGRAMS else program]


def _placed(folder: str, program: str) -> str:
    """The program's name if it is on PATH, or else its path in that folder, if it is there."""
    beside, found = os.path.join(folder, program), shutil.which(program)
    if not folder or not os.path.isfile(beside) or (found is not None and os.path.samefile(found, beside)):
        return program
    return beside
