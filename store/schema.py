"""The schema of JSON files: the type of a field says what it may hold, and one place checks it when a file is read.

    image_size: Annotated[tuple[int, int], Range(1, MOST_PIXELS)]
    pooling: Annotated[str, OneOf(POOLINGS)]

A field without a limit may hold anything of its type. Values stay as they were read: 40 does not become 40.0.
"""

import functools
import math
import re
import reprlib
import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Entry = TypeVar("Entry", bound="DataclassInstance")

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", object: "a value"}
_LARGEST = sys.float_info.max
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong = 3, 60, 40


class InvalidField(TypeError):
    """A field is missing or does not hold what it has to; the message says which, what was expected and what came."""


class Limit(Protocol):
    """A rule for the values of a type."""

    @property
    def expected(self) -> str:
        """The rule in words, for messages."""
        ...

    def accepts(self, value: object) -> bool:
        """Whether a value of the right type is within the limit."""
        ...


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`, both included."""

    least: float
    most: float = math.inf

    @property
    def expected(self) -> str:
        """See Limit."""
        return f"from {self.least:,} to {self.most:,}" if math.isfinite(self.most) else f"of {self.least:,} or more"

    def accepts(self, value: object) -> bool:
        """See Limit."""
        return isinstance(value, int | float) and self.least <= value <= self.most


@dataclass(frozen=True)
class OneOf:
    """One of a few texts."""

    choices: tuple[str, ...]

    @property
    def expected(self) -> str:
        """See Limit."""
        return f"one of {', '.join(self.choices)}"

    def accepts(self, value: object) -> bool:
        """See Limit."""
        return value in self.choices


@dataclass(frozen=True)
class Like:
    """Texts that a regular expression matches as a whole."""

    pattern: str
    expected: str

    def accepts(self, value: object) -> bool:
        """See Limit."""
        return isinstance(value, str) and re.fullmatch(self.pattern, value, re.DOTALL) is not None


Sha256 = Annotated[str, Like("[0-9a-f]{64}", "a SHA-256")]
"""The type of a field with a SHA-256 in hexadecimal digits."""


def read_fields(
    entry: type[Entry], values: Mapping[str, object], made: Mapping[str, object] | None = None, within: str = ""
) -> Entry:
    """A dataclass made of the JSON values that it has fields for; those that it has none for are passed over.

    Args:
        entry: the dataclass.
        values: of a JSON object.
        made: fields that the caller has read already.
        within: what comes before a field's name in messages, as `recipe.`.

    Raises:
        InvalidField: a field without a default is missing, or a value is not what its field may hold.
    """
    found = dict(made or {})
    for name, (kind, required) in _schema(entry).items():
        if name in found:
            continue
        if name in values:
            found[name] = read_value(kind, values[name], f"{within}{name}")
        elif required:
            raise InvalidField(f"{within}{name} is missing: expected {_expected(kind)}")
    return entry(**found)


@functools.cache
def _schema(entry: "type[DataclassInstance]") -> dict[str, tuple[object, bool]]:
    """For each field its type, with its limit, and whether it has no default."""
    hints = typing.get_type_hints(entry, include_extras=True)
    return {
        field.name: (hints[field.name], field.default is MISSING and field.default_factory is MISSING)
        for field in fields(entry)
    }


def read_value(kind: object, value: object, where: str) -> object:
    """A JSON value as a field of that type has it: a list becomes a tuple, all else stays as it is.

    Raises:
        InvalidField: it is not what the field may hold; `where` is the field's name.
    """
    plain, limit = _parted(kind)
    if typing.get_origin(plain) is Mapping and isinstance(value, dict):
        inner = _limited(typing.get_args(plain)[1], limit)
        return {name: read_value(inner, item, f"{where}.{name}") for name, item in value.items()}
    if not _fits(plain, limit, value):
        raise InvalidField(f"{where} is {shown(value)}: expected {_expected(kind)}")
    return tuple(value) if isinstance(value, list) else value


def _fits(plain: object, limit: Limit | None, value: object) -> bool:
    parts = typing.get_args(plain)
    if typing.get_origin(plain) is tuple:
        if not isinstance(value, list):
            return False
        kinds = [parts[0]] * len(value) if parts[1:] == (...,) else list(parts)
        return len(kinds) == len(value) and all(map(_fits, kinds, [limit] * len(kinds), value))
    kinds = list(parts) if typing.get_origin(plain) is types.UnionType else [plain]
    return any(_is(value, kind) for kind in kinds) and (limit is None or limit.accepts(value))


def _is(value: object, kind: object) -> bool:
    """Whether a JSON value is of a plain type; true and false are not numbers, and numbers are finite."""
    if kind is float:
        # Comparing fits NaN, infinity and whole numbers that no float holds.
        return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(kind, type) and isinstance(value, kind)


def _parted(kind: object) -> tuple[object, Limit | None]:
    if typing.get_origin(kind) is Annotated:
        plain, limit = typing.get_args(kind)
        return plain, limit
    return kind, None


def _limited(kind: object, limit: Limit | None) -> object:
    return kind if limit is None else Annotated[kind, limit]


def _expected(kind: object) -> str:
    plain, limit = _parted(kind)
    origin, parts = typing.get_origin(plain), typing.get_args(plain)
    if origin is tuple:
        count = "a list" if parts[1:] == (...,) else f"a list of {len(parts)}"
        return f"{count}, each {_expected(_limited(parts[0], limit))}"
    if origin is Mapping:
        return f"an object, each value {_expected(_limited(parts[1], limit))}"
    if limit is not None and plain is str:
        return limit.expected
    named = " or ".join(_NAMES.get(one, "a value") for one in (parts if origin is types.UnionType else (plain,)))
    return named if limit is None else f"{named} {limit.expected}"


def shown(value: object) -> str:
    """A JSON value in a message, cut where it is long or deep."""
    return _SHORT.repr(value)
