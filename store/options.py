"""Options that are written once: the fields of a dataclass are the parameters of a Python function and of a command.

A field says in its annotation how the command line shows it; `store.command_line` makes a command's options from that:

    pooling: Annotated[str, Option("none, avg or max: reduce each spatial output to a vector.")] = "none"
"""

import difflib
import functools
import inspect
import re
import typing
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Concatenate, ParamSpec, TypeVar

from store.errors import UsageError


@dataclass(frozen=True)
class Option:
    """How the command line shows a field.

    Attributes:
        help: what it is for, in a sentence.
        flags: its names on the command line; from the field's name if there are none.
        default: what help shows as the default, if that is not the field's own; "" shows none.
        kind: the type that the command line reads, if that is not the field's own.
        metavar: what help calls the value, if that is not its type.
        complete: the values that a shell completes, from the values of the options before it.
    """

    help: str
    flags: tuple[str, ...] = ()
    default: str | None = None
    kind: type | None = None
    metavar: str | None = None
    complete: Callable[[Mapping[str, object]], Iterable[str]] | None = None


def one_of(choices: Iterable[str]) -> Callable[[Mapping[str, object]], Iterable[str]]:
    """A value of `Option.complete` for an option that has fixed values."""
    return lambda _: choices


@dataclass(frozen=True)
class Argument:
    """A field that the command line takes by its position; `metavar` is what help calls it."""

    metavar: str
    help: str = ""
    complete: Callable[[Mapping[str, object]], Iterable[str]] | None = None


Fields = ParamSpec("Fields")
First = TypeVar("First")
Options = TypeVar("Options")
Result = TypeVar("Result")


def taking_fields_of(
    options: Callable[Fields, Options], renamed: Mapping[str, str] | None = None
) -> Callable[[Callable[[Options], Result]], Callable[Fields, Result]]:
    """Give a function of one options object that object's fields as its parameters, for type checkers and `help` too.

    An unknown name is a UsageError that suggests the nearest one. `renamed` has names of earlier versions, which still
    work, with a DeprecationWarning.
    """

    def decorate(function: Callable[[Options], Result]) -> Callable[Fields, Result]:
        @functools.wraps(function)
        def call(*args: Fields.args, **kwargs: Fields.kwargs) -> Result:
            return function(_made(options, args, _current(kwargs, renamed or {})))

        _describe(call, options, [])
        return call

    return decorate


def taking_first_and_fields_of(
    options: Callable[Fields, Options], renamed: Mapping[str, str] | None = None
) -> Callable[[Callable[[First, Options], Result]], Callable[Concatenate[First, Fields], Result]]:
    """As `taking_fields_of`, for a function that takes something else first."""

    def decorate(function: Callable[[First, Options], Result]) -> Callable[Concatenate[First, Fields], Result]:
        @functools.wraps(function)
        def call(first: First, /, *args: Fields.args, **kwargs: Fields.kwargs) -> Result:
            return function(first, _made(options, args, _current(kwargs, renamed or {})))

        named = next(iter(inspect.signature(function).parameters.values()))
        _describe(call, options, [named.replace(kind=inspect.Parameter.POSITIONAL_ONLY)])
        return call

    return decorate


def _current(given: Mapping[str, object], renamed: Mapping[str, str]) -> dict[str, object]:
    """The parameters under their names of today."""
    for name in given.keys() & renamed.keys():
        warnings.warn(f"the parameter {name} is now {renamed[name]}", DeprecationWarning, stacklevel=3)
    return {renamed.get(name, name): value for name, value in given.items()}


def _made(options: Callable[..., Options], args: tuple[object, ...], kwargs: dict[str, object]) -> Options:
    known = inspect.signature(options)
    for name in kwargs:
        if name not in known.parameters:
            near = difflib.get_close_matches(name, known.parameters, 1)
            hint = f"did you mean {near[0]}?" if near else f"the parameters are {', '.join(known.parameters)}"
            raise UsageError(f"there is no parameter {name!r}: {hint}")
    try:
        known.bind(*args, **kwargs)
    except TypeError as error:
        raise UsageError(f"{error}; the parameters are {', '.join(known.parameters)}") from None
    return options(*args, **kwargs)


def _describe(call: Callable[..., object], options: Callable[..., object], first: list[inspect.Parameter]) -> None:
    """Give a function the signature and the documentation of its parameters, for `help` and for notebooks."""
    result = inspect.signature(call).return_annotation
    parameters, lines = [*first], []
    for parameter in inspect.signature(options).parameters.values():
        plain, shown = parameter.annotation, None
        if typing.get_origin(plain) is Annotated:
            plain, shown = typing.get_args(plain)
        parameters.append(parameter.replace(annotation=plain))
        if isinstance(shown, Option | Argument):
            lines.append(f"    {parameter.name}: {shown.help}")
    call.__signature__ = inspect.Signature(parameters, return_annotation=result)  # type: ignore[attr-defined]
    start, section, rest = re.split(
        r"(^(?:Returns|Raises):$)", inspect.getdoc(call) or "", maxsplit=1, flags=re.MULTILINE
    )
    call.__doc__ = "\n".join([f"{start}Args:", *lines, "", f"{section}{rest}"])
