"""What the commands of all packages share: options made from dataclasses, output, and errors as exit codes.

Results go to standard output, everything for people to standard error. A Stillframe error is one line and its own exit
code (see store/errors.py); a traceback appears only with --debug. With --json, standard output holds one JSON object
whatever the exit code, with `exit_code` and `reason`.
"""

import contextlib
import json
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, NoReturn

import typer

from store.command_options import Without, given_names, made_of, signature_of
from store.errors import EnvironmentFailure, StillframeError, StoppedEarly, UsageError, shortage
from store.files.names import printable
from store.options import Option
from store.progress import Reporter, console_reporter
from store.streams import escapes_where_needed, unfailing_standard_error
from store.tables import facts

_TYPER_INTERRUPTED = 130  # what Typer makes of a KeyboardInterrupt
_STOPPED = "stopped early: run the same command again to continue"


def new_app(help_text: str) -> typer.Typer:
    """An app in our manner: -h is --help, plain text."""
    return typer.Typer(
        help=help_text,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


# Commands


@dataclass(frozen=True)
class CommonOptions:
    """The options of every command."""

    as_json: Annotated[bool, Option("One JSON object on standard output, nothing else there.", flags=("--json",))] = (
        False
    )
    quiet: Annotated[bool, Option("Print nothing but errors and results.", flags=("--quiet", "-q"))] = False
    debug: Annotated[bool, Option("Show tracebacks and the libraries' own messages.")] = False


class Console:
    """Where a command's output goes, by its common options.

    `debug` is whether libraries' messages are shown; `given` has the names of the fields that the command line or a
    --config file gave a value, be it the default.
    """

    def __init__(self, options: CommonOptions, given: frozenset[str] = frozenset()) -> None:
        self.given = given
        self.debug = options.debug
        self.quiet = options.quiet
        self._as_json = options.as_json
        self._result: dict[str, object] = {}

    @property
    def reporter(self) -> Reporter:
        """Reports work in progress here."""
        return console_reporter(self.message, self.quiet, self.debug)

    def message(self, text: str) -> None:
        """A line for people, on standard error; nothing with --quiet."""
        if not self.quiet:
            say(text)

    def report(self, *lines: str) -> None:
        """Lines for people about a result, on standard error; nothing with --quiet or --json."""
        if not self._as_json:
            for line in lines:
                self.message(line)

    def result(self, values: Mapping[str, object]) -> None:
        """Set the object that --json prints when the command ends."""
        self._result.update(values)

    def output(self, *lines: str) -> None:
        """Results in lines, on standard output; nothing with --json."""
        if not self._as_json:
            for line in lines:
                print(line)

    def listing(self, rows: Sequence[Sequence[str]], separator: str | None = None) -> None:
        """Results, one row each, on standard output: wrapped on a terminal, a line each for other programs.

        With a separator, the cells of those lines are not aligned but joined by it.
        """
        if sys.stdout.isatty():
            self.output(*facts(rows))
        else:
            self.output(*(facts(rows, sys.maxsize) if separator is None else map(separator.join, rows)))

    def summary(self, *lines: str) -> None:
        """Print as `output` does, but nothing with --quiet."""
        if not self.quiet:
            self.output(*lines)

    def close(self, error: BaseException | None) -> None:
        """Print the JSON object, with --json. `error` is what ended the command."""
        if self._as_json:
            code, reason = outcome(error)
            print(json.dumps({**self._result, "exit_code": code, "reason": reason}, ensure_ascii=True))


def command(
    app: typer.Typer, name: str, *options: type[object] | Without
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add a command to an app. Its function takes an object of each options dataclass, in order, then a Console.

    The dataclasses' fields with an `Option` or `Argument` are the command's options, see `store.options`; the common
    ones are added. Fields of different dataclasses have different names.
    """
    offered = [given if isinstance(given, Without) else Without(given, ()) for given in options]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        def call(context: typer.Context, **values: object) -> None:
            console = Console(made_of(CommonOptions, values), given_names(context))
            error: BaseException | None = None
            try:
                function(*(made_of(given.kind, values) for given in offered), console)
            except BaseException as caught:
                error = caught
                raise
            finally:
                console.close(error)

        call.__signature__ = signature_of([*offered, Without(CommonOptions, ())])  # type: ignore[attr-defined]
        call.__annotations__ = {}
        call.__doc__ = function.__doc__
        app.command(name)(call)
        return function

    return decorate


# Output


def say(text: str) -> None:
    """A line on standard error. A terminal or a pipe that has gone is no reason to stop."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def format_size(count: float) -> str:
    """Bytes with a decimal unit."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"


def format_duration(seconds: float) -> str:
    """Seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def format_count(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def format_shape(shape: Sequence[int]) -> str:
    """A shape such as 8 x 8 x 2048."""
    return " x ".join(map(str, shape))


# Ending


def run_app(app: typer.Typer, name: str) -> int:
    """Run an app on the process's arguments; returns its exit code.

    SIGTERM, a scheduler's request to stop, is treated as Ctrl-C; so is SIGHUP, the end of the terminal, unless it is
    ignored, as under nohup.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        with unfailing_standard_error(), escapes_where_needed():
            return _run(app, name)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(app: typer.Typer, name: str) -> int:
    """Run an app on the process's arguments, and report what ended it early; returns its exit code."""
    try:
        code = int(app(sys.argv[1:] or ["--help"], prog_name=name, standalone_mode=False) or 0)
        if code == _TYPER_INTERRUPTED:
            raise KeyboardInterrupt
        sys.stdout.flush()
        return code
    except typer.TyperException as error:
        _report_usage(app, name, error)
        return UsageError.exit_code
    except BaseException as error:  # noqa: BLE001  the last stop: everything becomes an exit code
        if "--debug" in sys.argv:
            traceback.print_exc()
        code, reason = outcome(error)
        if reason:
            example = error.example if isinstance(error, UsageError) else ""
            say(f"{_kind(error)}{printable(reason.removesuffix(example).rstrip())}")
            if example:  # below the line, as it is: to be copied
                say("\n" + "\n".join(map(printable, example.splitlines())))
        return code


def outcome(error: BaseException | None) -> tuple[int, str | None]:
    """The exit code that an error stands for, and why, in a line; 0 and None without one."""
    match error:
        case None:
            return 0, None
        case StillframeError():
            return error.exit_code, str(error)
        case KeyboardInterrupt() | typer.Abort():
            return StoppedEarly.exit_code, _STOPPED
        case SystemExit(__context__=BrokenPipeError() as cause):  # what Typer makes of one
            return outcome(cause)
        case SystemExit():
            return error.code if isinstance(error.code, int) else int(error.code is not None), None
        case typer.Exit():
            return error.exit_code, None
        case BrokenPipeError():
            return EnvironmentFailure.exit_code, None  # no message, as programs that SIGPIPE ends
        case OSError():
            return EnvironmentFailure.exit_code, f"{error}; fix that, then run the same command again"
        case _ if short := shortage(error):
            return outcome(short)
        case _:
            return 1, f"{type(error).__name__}: {error}; please report it with the output of --debug"


def _kind(error: BaseException) -> str:
    """How the line about an error begins. Stopping on purpose is not an error."""
    if isinstance(error, StoppedEarly | KeyboardInterrupt | typer.Abort):
        return ""
    return "bug: " if outcome(error)[0] == 1 else "error: "


def _report_usage(app: typer.Typer, name: str, error: typer.TyperException) -> None:
    """Say what is wrong with the arguments themselves."""
    known = [command.name or "" for command in app.registered_commands]
    known += [group.name or "" for group in app.registered_groups]
    given = [argument for argument in sys.argv[1:2] if argument in known]
    reason = _run_left_out(app, name, sys.argv[1:]) or (
        f"{printable(error.format_message()).rstrip('.')}; `{' '.join([name, *given])} --help` shows what is possible"
    )
    say(f"error: {reason}")
    if "--json" in sys.argv:
        print(json.dumps({"exit_code": UsageError.exit_code, "reason": reason}, ensure_ascii=True))


def _run_left_out(app: typer.Typer, name: str, arguments: Sequence[str]) -> str:
    """What to say where a folder was given in place of a command, to a program that has the command run; or nothing."""
    first = arguments[0] if arguments else ""
    for group in app.registered_groups:
        if group.name == first and group.typer_instance is not None:
            return _run_left_out(group.typer_instance, f"{name} {first}", arguments[1:])
    known = [command.name for command in app.registered_commands]
    if "run" not in known or first in known or not os.path.exists(first):
        return ""
    return f"{printable(first)} is not a command: did you mean `{name} run {printable(shlex.join(arguments))}`?"


def leave(code: int) -> NoReturn:
    """End the process at once with that exit code.

    An interpreter that takes the numerical libraries down while their threads still run aborts now and then (once in
    some seventy runs on two cores), and would turn a finished run into a failed one.
    """
    try:
        sys.stdout.flush()
    except OSError:
        code = code or EnvironmentFailure.exit_code
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    os._exit(code)
