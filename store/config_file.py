"""--config FILE.toml: options of commands from a file. What the command line says wins.

    out = "features"              # for the command that reads the file
    [extract.run]
    backbone = "mobilenet_v2"
    include = ["*.jpg", "*.png"]

Keys are the long names of options, or of arguments, with `-` or `_`. A table named by a program and its command, such
as [extract.run], is for that command only, so that one file can describe a whole job; it wins over the keys above it.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path

from store.errors import UsageError
from store.files.names import printable

PROGRAMS = ("extract", "fit", "store")


def read_config(path: Path, command: str, names: Mapping[str, str]) -> dict[str, object]:
    """The values that a file has for a command, by the names of its parameters.

    Args:
        path: the file.
        command: a program and its command, such as `extract run`.
        names: the keys that the command knows, with `_`, and the parameter of each.

    Raises:
        UsageError: the file cannot be read, or has a key that the command does not know.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {printable(str(path))}: {error.strerror or error}; name a TOML file") from None
    except ValueError as error:
        raise UsageError(f"{printable(str(path))} is not TOML: {error}") from None
    for program in PROGRAMS:
        _require_tables(content.get(program, {}), program, path)
    program, _, name = command.partition(" ")
    own = content.get(program, {}).get(name, {})
    strange = [key for key, value in content.items() if isinstance(value, Mapping) and key not in PROGRAMS]
    if strange:
        raise UsageError(
            f"{printable(str(path))}: unknown table [{printable(strange[0])}]: expected one of a command, such as [extract.run]"
        )
    shared = {key: value for key, value in content.items() if not isinstance(value, Mapping)}
    return {_known(key, names, path, command): value for key, value in {**shared, **own}.items()}


def _require_tables(tables: object, program: str, path: Path) -> None:
    """Raise UsageError unless each key of a program is a table, for one of its commands."""
    values = tables if isinstance(tables, Mapping) else {"…": tables}
    for key, value in values.items():
        if not isinstance(value, Mapping):
            raise UsageError(
                f"{printable(str(path))}: {printable(key)} in [{program}] is not a table: put options into a table of a command, "
                f"such as [{program}.run]"
            )


def write_config(values: Mapping[str, object], command: str) -> str:
    """A file for `read_config` that gives a command these values: texts, numbers, booleans, and tuples of them."""
    lines = [f"{name.replace('_', '-')} = {_toml(value)}" for name, value in values.items()]
    return "\n".join([f"[{command.replace(' ', '.')}]", *lines])


def _known(key: str, names: Mapping[str, str], path: Path, command: str) -> str:
    name = key.replace("-", "_")
    if name in names:
        return names[name]
    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {near[0].replace('_', '-')}?" if near else f"`{command} --help` lists the options"
    raise UsageError(f"{printable(str(path))}: `{command}` has no option {printable(key)}: {hint}")


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml, value))}]"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in text) + '"'
