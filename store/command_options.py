"""The fields of options dataclasses as the parameters of a command, as Typer reads them."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from store.config_file import read_config
from store.errors import UsageError
from store.options import Argument, Option

_CONFIG = "--config"
_NOT_IN_A_FILE = ("config", "help", "as_json", "debug")  # the last two are looked at before a file is read


@dataclass(frozen=True)
class Without:
    """An options dataclass, some of whose fields a command does not offer."""

    kind: type[object]
    fields: tuple[str, ...]


Made = typing.TypeVar("Made")


def made_of(kind: Callable[..., Made], values: Mapping[str, object]) -> Made:
    """An options object from the values that the command line gave; where it gave none, the field has its default."""
    names = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    given = {name: value for name, value in values.items() if name in names and value is not None}
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})


def given_names(context: typer.Context) -> frozenset[str]:
    """The parameters that the command line or a --config file gave a value, be it the default."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return frozenset(name for name, source in sources.items() if source is not None and source.name != "DEFAULT")


def signature_of(offered: Sequence[Without]) -> inspect.Signature:
    """The signature of a command that offers these options, and --config unless one of them has that name; Typer fills
    in `context`.
    """
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    parameters = [context, *(parameter for given in offered for parameter in _parameters(given))]
    shown = [shown for given in offered for _, _, shown in _shown_fields(given)]
    if not any(isinstance(option, Option) and _CONFIG in option.flags for option in shown):
        parameters.append(_config_parameter())
    return inspect.Signature(sorted(parameters, key=lambda parameter: parameter.default is not inspect.Parameter.empty))


def _parameters(offered: Without) -> list[inspect.Parameter]:
    """The parameters of a command function, as Typer reads them, that stand for a dataclass's fields."""
    return [_parameter(field, plain, shown) for field, plain, shown in _shown_fields(offered)]


def _shown_fields(offered: Without) -> "list[tuple[dataclasses.Field[object], object, Option | Argument]]":
    """The fields that the command line shows, each with its plain type and how it is shown."""
    hints = typing.get_type_hints(offered.kind, include_extras=True)
    fields = [field for field in dataclasses.fields(offered.kind) if field.name not in offered.fields]  # type: ignore[arg-type]
    return [
        (field, *typing.get_args(hints[field.name]))
        for field in fields
        if typing.get_origin(hints[field.name]) is Annotated
    ]


def _parameter(field: "dataclasses.Field[object]", plain: object, shown: Option | Argument) -> inspect.Parameter:
    default = inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default
    default = None if default == () else default
    if isinstance(shown, Argument):
        info: object = typer.Argument(
            metavar=shown.metavar,
            help=shown.help or None,
            autocompletion=_completion(shown),
            readable=False,  # who reads it says so: as typer says it, it would be wrong use
        )
        kind = _read_type(plain)
    else:
        kind = shown.kind or _read_type(plain)
        info = _option_info(field.name, shown, default)
    optional = kind | None if default is None else kind
    return inspect.Parameter(
        field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[optional, info]
    )


def _config_parameter() -> inspect.Parameter:
    shown = typer.Option(
        _CONFIG,
        help="A TOML file with options; those on the command line win.",
        metavar="<file>",
        is_eager=True,
        callback=_use_config,
    )
    return inspect.Parameter(
        "config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Path | None, shown]
    )


def _use_config(context: typer.Context, path: Path | None) -> Path | None:
    if path is not None and not context.resilient_parsing:
        command = " ".join(context.command_path.split()[-2:])
        try:
            values = read_config(path, command, _config_keys(context))
            context.default_map = {name: _checked(context, name, value) for name, value in values.items()}
        except UsageError as error:
            raise typer.BadParameter(str(error)) from None
    return path


def _checked(context: typer.Context, name: str, value: object) -> object:
    """A file's value for a parameter, if it is one value or several as the parameter takes; one of several is a list."""
    (parameter,) = [given for given in context.command.params if given.name == name]
    flag = bool(getattr(parameter, "is_flag", False))  # arguments have neither
    if getattr(parameter, "multiple", False) or parameter.nargs == -1:
        return value if isinstance(value, list) else [value]
    if isinstance(value, list | dict) or isinstance(value, bool) != flag:
        kind = "true or false" if flag else "one value, not a list and not true or false"
        raise UsageError(f"{name.replace('_', '-')} = {value!r}: expected {kind}")
    return value


def _config_keys(context: typer.Context) -> dict[str, str]:
    """The keys that a file may have, with `_` for `-`, and the parameter of each: long names, and names in Python."""
    parameters = [
        (given.name or "", given.opts) for given in context.command.params if given.name not in _NOT_IN_A_FILE
    ]
    long = {flag[2:].replace("-", "_"): name for name, flags in parameters for flag in flags if flag.startswith("--")}
    return long | {name: name for name, _ in parameters}


def _option_info(name: str, shown: Option, default: object) -> object:
    flags = shown.flags or (f"--{name.replace('_', '-')}",)
    text = shown.help if not shown.default else f"{shown.help}  [default: {shown.default}]"
    own_default = shown.default is None and default is not None and not isinstance(default, bool | Path)
    return typer.Option(
        *flags,
        help=text,
        show_default=own_default,
        metavar=shown.metavar,
        autocompletion=_completion(shown),
        readable=False,  # see above
    )


def _completion(shown: Option | Argument) -> Callable[[typer.Context, str], list[str]] | None:
    """What a shell offers for an option's value; nothing rather than an error."""
    complete = shown.complete
    if complete is None:
        return None

    def offer(ctx: typer.Context, incomplete: str) -> list[str]:
        try:
            return [value for value in complete(ctx.params) if value.startswith(incomplete)]
        except Exception:  # noqa: BLE001  a shell waits for this, and shows errors as if they were values
            return []

    return offer


def _read_type(plain: object) -> typing.Any:
    """The type that the command line reads for a field's type: text where a field takes text among others."""
    if typing.get_origin(plain) is tuple:
        return list[str]
    if isinstance(plain, types.UnionType) or typing.get_origin(plain) is typing.Union:
        kinds = [kind for kind in typing.get_args(plain) if kind is not type(None)]
        return str if str in kinds else _read_type(kinds[0])
    return plain
