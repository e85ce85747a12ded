"""The names and numbers of a comparison in words. Pure."""

import os
from collections.abc import Sequence

_UNITS = ("bytes", "kB", "MB", "GB")


def format_milliseconds(seconds: float | None) -> str:
    """Seconds as milliseconds."""
    return "-" if seconds is None else f"{1000 * seconds:,.3g}" if seconds < 0.1 else f"{1000 * seconds:,.0f}"


def format_bytes(count: float | None) -> str:
    """Bytes with a unit."""
    if count is None:
        return "-"
    power = next((at for at in range(len(_UNITS)) if count < 1000 ** (at + 1)), len(_UNITS) - 1)
    return f"{count / 1000**power:,.{min(power, 1)}f} {_UNITS[power]}"


def format_p(p_value: float | None) -> str:
    """A p-value, or "-"."""
    if p_value is None:
        return "-"
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def common_parent(names: Sequence[str]) -> str:
    """The folder that all are in, with the separator; empty if there is none."""
    parents = {name.rpartition(os.sep)[0] for name in names}
    parent = parents.pop() if len(parents) == 1 else ""
    return f"{parent}{os.sep}" if parent else ""
