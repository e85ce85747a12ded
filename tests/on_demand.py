"""Values that are made when they are first asked for, so that a quick test does not wait for those of slow ones."""

from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class OnDemand(dict[str, Value], Generic[Value]):
    """A dictionary whose missing values are made from their names, once."""

    def __init__(self, make: Callable[[str], Value]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, name: str) -> Value:
        value = self[name] = self._make(name)
        return value
