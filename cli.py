"""The command line: the apps of the three packages, alone and as groups of `stillframe`.

The commands are in each package's commands.py; how errors become exit codes is in store/command_line.py.
"""

import importlib.metadata
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from extract.commands import app as extract_app
from extract.signals import end_in_time_after_signals
from fit.commands import app as fit_app
from store.command_line import leave, new_app, run_app
from store.commands import app as store_app
from store.streams import fill_closed_streams

stillframe_app = new_app("Extract the features of images once, and fit heads on them as often as you like.")

GROUPS = {"extract": extract_app, "fit": fit_app, "store": store_app}


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"stillframe {importlib.metadata.version('stillframe')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")]


def _offer_version(app: typer.Typer) -> None:
    """Give an app the option --version."""

    def callback(version: Version = False) -> None:
        pass

    callback.__doc__ = app.info.help
    app.callback()(callback)


for _name, _app in GROUPS.items():
    _offer_version(_app)
    stillframe_app.add_typer(_app, name=_name)
_offer_version(stillframe_app)


def _name_files_in_utf8() -> None:
    """Start the program again in Python's UTF-8 mode if the locale has file names read in another encoding.

    A store's rows and classes are named by files, and would have other names in each locale. What is printed keeps the
    encoding of the terminal.
    """
    named_in_utf8 = sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1"
    if named_in_utf8 or not sys.executable or not os.path.isfile(sys.argv[0]):  # else not started from a file
        return
    os.environ["PYTHONUTF8"] = "1"  # workers that are started inherit it
    os.environ.setdefault("PYTHONIOENCODING", sys.stdout.encoding)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606  this very program


def _program(app: typer.Typer, name: str) -> Callable[[], None]:
    """The entry point of a program."""

    def main() -> None:
        fill_closed_streams()
        _name_files_in_utf8()
        end_in_time_after_signals()
        leave(run_app(app, name))

    main.__doc__ = f"Entry point of `{name}`."
    return main


extract_main = _program(extract_app, "extract")
fit_main = _program(fit_app, "fit")
store_main = _program(store_app, "store")
main = _program(stillframe_app, "stillframe")
