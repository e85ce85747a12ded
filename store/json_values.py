"""JSON objects read from and written to the files of a store, checked where they are read."""

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from store.errors import DamagedStore

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

JsonObject: TypeAlias = dict[str, object]
Entry = TypeVar("Entry", bound="DataclassInstance")


def encode(values: Mapping[str, object]) -> bytes:
    """A JSON object as the bytes of a file."""
    return utf8(json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def utf8(text: str) -> bytes:
    """Text as UTF-8."""
    # A path that is not UTF-8 has lone surrogates in Python: JSON's own escape, \udcNN, keeps them.
    return text.encode(errors="backslashreplace")


def decode(data: bytes, what: str) -> JsonObject:
    """The JSON object in `data`.

    Raises:
        DamagedStore: it is not one; `what` names the file.
    """
    try:
        values = json.loads(data)
    except ValueError as error:
        raise DamagedStore(f"{what} is not valid JSON ({error}): run `store repair`") from error
    if not isinstance(values, dict):
        raise DamagedStore(f"{what} holds {type(values).__name__}, expected an object: run `store repair`")
    return values


def as_object(value: object) -> JsonObject:
    """`value`, which has to be a JSON object (else TypeError)."""
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} where an object is expected")
    return value


def as_list(value: object) -> list[object]:
    """`value`, which has to be a JSON list (else TypeError)."""
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} where a list is expected")
    return value


def known_fields(entry: type[Entry], values: JsonObject) -> Entry:
    """A dataclass made of those values that it has fields for."""
    names = {known.name for known in fields(entry)}
    return entry(**{name: value for name, value in values.items() if name in names})
