"""Values of metrics and their intervals in words. Pure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fit.metrics.regression import ERRORS

_DIGITS = 4
_PLAIN = (1e-4, 1e9)
"""Errors between these are written without an exponent."""


def format_values(metric: str, values: Sequence[float], sign: str = "") -> list[str]:
    """Values of one metric that are read together: three digits behind the point, and none where they are large.

    Errors are in the unit of the labels, which may be tiny or in the thousands: the largest value has four significant
    digits, the others have as many behind the point.

    Args:
        metric: its name in metrics.json.
        values: such as a value and the ends of its interval.
        sign: "+" for differences, whose sign is always written.
    """
    if metric not in ERRORS:
        return [_write(value, 3 if abs(value) < 1000 else 0, sign) for value in values]
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest == 0 or _PLAIN[0] <= largest < _PLAIN[1]:
        exponent = int(f"{largest:.{_DIGITS - 1}e}".partition("e")[2])  # of the rounded value: 9.9996 is 10.00
        decimals = _DIGITS - 1 - exponent
        return [_write(value, decimals, sign) for value in values]
    return [f"{value:{sign}.{_DIGITS - 1}e}" for value in values]


def _write(value: float, decimals: int, sign: str) -> str:
    return f"{round(value, decimals) + 0.0:{sign},.{max(decimals, 0)}f}"  # + 0.0, for -0.0 has a sign


def format_interval(metric: str, interval: Mapping[str, Any], sign: str = "") -> str:
    """A value of metrics.json and its 95 % interval, if there is one; see `format_values`."""
    value, low, high = interval["value"], interval["low"], interval["high"]
    if value is None:
        return "-"
    if low is None or high is None:
        return format_values(metric, [value], sign)[0]
    shown, *ends = format_values(metric, [value, low, high], sign)
    return f"{shown} ({'..'.join(ends)})"
