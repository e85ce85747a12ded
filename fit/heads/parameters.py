"""One parameter of a head, and how its value is parsed."""

import math
from dataclasses import dataclass

from store.errors import UsageError

Value = int | float | str
"""What a parameter can be."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a head.

    Attributes:
        name: as --set takes it.
        default: its value if nothing is given; all its values have this type.
        help: what it is, in a line.
        choices: all values that it can have, where they are few.
        minimum: the smallest value that it can have.
    """

    name: str
    default: Value
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None

    def parse(self, text: str) -> Value:
        """A value of the default's type.

        Raises:
            UsageError: the text is none, or not among the choices.
        """
        if self.choices and text not in self.choices:
            raise UsageError(f"{self.name} is {text!r}: expected one of {', '.join(self.choices)}")
        kind = type(self.default)
        try:
            value = kind(text)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError
            return value
        except ValueError:
            expected = {int: "a whole number", float: "a number"}[kind]
            raise UsageError(
                f"{self.name} is {text!r}: expected {expected}, as in {self.name}={self.default}"
            ) from None

    def require_possible(self, value: Value) -> None:
        """Raise UsageError if a value is below the smallest one."""
        if self.minimum is not None and float(value) < self.minimum:
            raise UsageError(f"{self.name} is {value}: expected {self.minimum:g} or more")
