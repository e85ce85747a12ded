"""JSON objects read from and written to files. Nothing in a file is trusted: neither its length nor its depth."""

import json
from collections.abc import Mapping
from typing import NoReturn, TypeAlias

from store.errors import DamagedStore
from store.schema import InvalidField, shown

JsonObject: TypeAlias = dict[str, object]

MOST_BYTES = 2**20
"""The maximum size of store.json and of a file in view/."""


def encode(values: Mapping[str, object]) -> bytes:
    """A JSON object as the bytes of a file."""
    return utf8(json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def utf8(text: str) -> bytes:
    """Text as UTF-8."""
    # A path that is not UTF-8 has lone surrogates in Python: JSON's own escape, \udcNN, keeps them.
    return text.encode(errors="backslashreplace")


def parse(data: bytes, most: int = MOST_BYTES, finite: bool = True) -> JsonObject:
    """The JSON object in `data`, which has at most `most` bytes; `finite` is whether NaN and Infinity are refused.

    Raises:
        ValueError: it is not one; the message goes after the file's name.
    """
    if len(data) > most:
        raise ValueError(f"has {len(data):,} bytes, expected {most:,} at most")
    try:
        values = json.loads(data, parse_constant=_refuse_constant if finite else None)
    except RecursionError:
        raise ValueError("is not valid JSON (lists or objects lie in each other too deep)") from None
    except ValueError as error:
        raise ValueError(f"is not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError(f"holds {type(values).__name__}, expected an object")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def decode(data: bytes, what: str, most: int = MOST_BYTES) -> JsonObject:
    """The JSON object in a file of a store.

    Raises:
        DamagedStore: it is not one; `what` names the file.
    """
    try:
        return parse(data, most)
    except ValueError as error:
        raise DamagedStore(f"{what} {error}: run `store repair`") from error


def as_object(value: object, name: str) -> JsonObject:
    """`value`, which has to be a JSON object (else InvalidField)."""
    if not isinstance(value, dict):
        raise InvalidField(f"{name} is {shown(value)}: expected an object")
    return value


def as_list(value: object, name: str) -> list[object]:
    """`value`, which has to be a JSON list (else InvalidField)."""
    if not isinstance(value, list):
        raise InvalidField(f"{name} is {shown(value)}: expected a list")
    return value
