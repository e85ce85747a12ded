"""The settings that a sweep tries. Pure: the same request and seed give the same settings in the same order.

A *setting* names some of a head's parameters and their values; the others keep those of the base settings.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fit.heads.parameters import Parameter, Value
from fit.heads.table import HeadKind
from store.errors import UsageError
from store.suggestions import suggest

Setting = Mapping[str, Value]

LOG_SPAN = 10
"""A range above 0 whose ends lie further apart than this is drawn from evenly on a logarithmic scale."""


@dataclass(frozen=True)
class Choices:
    """Different values of a parameter, in the order given."""

    name: str
    values: tuple[Value, ...]

    @property
    def count(self) -> float:
        """The number of values."""
        return len(self.values)

    def draw(self, rng: np.random.Generator) -> Value:
        """One of them."""
        return self.values[int(rng.integers(len(self.values)))]

    def __contains__(self, value: Value) -> bool:
        return value in self.values


@dataclass(frozen=True)
class Range:
    """All values of a parameter from `low` to `high`, both included; whole numbers where both ends are int."""

    name: str
    low: int | float
    high: int | float

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return isinstance(self.low, int)

    @property
    def log(self) -> bool:
        """Whether values are drawn evenly on a logarithmic scale."""
        return self.low > 0 and self.high >= LOG_SPAN * self.low

    @property
    def count(self) -> float:
        """The number of values, which is infinite for real numbers."""
        return self.high - self.low + 1 if self.whole else math.inf

    def draw(self, rng: np.random.Generator) -> Value:
        """One of them."""
        margin = 0.5 if self.whole else 0.0  # so that the ends come up as often as the others
        low, high = self.low - margin, self.high + margin
        value = math.exp(rng.uniform(math.log(low), math.log(high))) if self.log else float(rng.uniform(low, high))
        return int(np.clip(round(value), self.low, self.high)) if self.whole else min(max(value, self.low), self.high)

    def __contains__(self, value: Value) -> bool:
        return not isinstance(value, str) and self.low <= value <= self.high


Dimension = Choices | Range


def parse_space(tries: Sequence[str], kind: HeadKind) -> tuple[Dimension, ...]:
    """`--try key=v1,v2` and `--try key=low..high`, repeated; values that hold commas stand apart by semicolons.

    Raises:
        UsageError: no key or no values, a parameter that the head does not have, a value of the wrong type, or one twice.
    """
    space = [_parse_dimension(text, kind) for text in tries]
    if not space:
        raise UsageError(
            f"nothing to try: name parameters and their values, --try key=v1,v2; {suggest('fit', 'heads')} lists them"
        )
    names = [dimension.name for dimension in space]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--try {name} is given twice: give all its values at once, --try {name}=v1,v2")
    return tuple(space)


def _parse_dimension(text: str, kind: HeadKind) -> Dimension:
    name, equals, values_text = (part.strip() for part in text.partition("="))
    if not equals or not values_text:
        raise UsageError(f"--try {text}: expected key=v1,v2 or key=low..high, as in --try dropout=0.2,0.5")
    known = {parameter.name: parameter for parameter in kind.parameters}
    if name not in known:
        kind.complete({name: values_text})  # raises an error that lists the head's parameters
    parameter = known[name]
    low, dots, high = values_text.partition("..")
    if dots and not isinstance(parameter.default, str):
        return _parse_range(text, parameter, low.strip(), high.strip())
    parts = [part.strip() for part in values_text.split(";" if ";" in values_text else ",")]
    values = tuple(_parse_value(parameter, part) for part in parts)
    if len(set(values)) < len(values):
        raise UsageError(f"--try {text}: expected different values, some are there twice")
    return Choices(name, values)


def _parse_range(text: str, parameter: Parameter, low: str, high: str) -> Range:
    first, last = _parse_value(parameter, low), _parse_value(parameter, high)
    if isinstance(first, str) or isinstance(last, str) or not first < last:
        raise UsageError(f"--try {text}: expected a range from a lower to a higher value")
    return Range(parameter.name, first, last)


def _parse_value(parameter: Parameter, text: str) -> Value:
    """A value of the parameter's type. One below its minimum is refused by its trial, so that the others are run."""
    return replace(parameter, minimum=None).parse(text)


def grid(space: Sequence[Dimension]) -> list[Setting]:
    """All combinations, the last parameter changing fastest.

    Raises:
        UsageError: there is a range among them.
    """
    choices = [_require_choices(dimension, "grid") for dimension in space]
    names = [dimension.name for dimension in choices]
    products = itertools.product(*(dimension.values for dimension in choices))
    return [dict(zip(names, values, strict=True)) for values in products]


def one_at_a_time(space: Sequence[Dimension], base: Setting) -> list[Setting]:
    """The base settings, then each other value of each parameter by itself.

    Raises:
        UsageError: there is a range among them.
    """
    changes = [
        {dimension.name: value}
        for dimension in (_require_choices(dimension, "one") for dimension in space)
        for value in dimension.values
        if value != base[dimension.name]
    ]
    return [{}, *changes]


def _require_choices(dimension: Dimension, method: str) -> Choices:
    if isinstance(dimension, Range):
        raise UsageError(
            f"--try {dimension.name}={dimension.low}..{dimension.high} is a range, which --method {method} cannot list: "
            "name the values, or use --method random or optuna"
        )
    return dimension


def random_settings(space: Sequence[Dimension], count: int, seed: int) -> list[Setting]:
    """`count` different settings, or all if there are fewer; a larger count begins with the same settings."""
    settings: list[Setting] = []
    draws = endless_draws(space, seed)
    while len(settings) < min(count, size(space)):
        setting = next(draws)
        if setting not in settings:
            settings.append(setting)
    return settings


def endless_draws(space: Sequence[Dimension], seed: int) -> Iterator[Setting]:
    """Endless independent draws; settings may repeat."""
    rng = np.random.default_rng(seed)
    while True:
        yield {dimension.name: dimension.draw(rng) for dimension in space}


def size(space: Sequence[Dimension]) -> float:
    """The number of settings, maybe infinite."""
    return math.prod(dimension.count for dimension in space)


def format_setting(setting: Setting) -> str:
    """A setting as one line of text."""
    return ", ".join(f"{name}={format_value(value)}" for name, value in setting.items()) or "the base settings"


def format_value(value: Value) -> str:
    """A parameter's value, numbers to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
