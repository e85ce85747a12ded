"""Values drawn as points and their intervals as lines."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from fit.metrics.intervals import Interval


def draw_vertical_intervals(
    axes: Axes, places: Sequence[float], intervals: Sequence[Interval], color: str, label: str
) -> None:
    """Points at positions along x, each with a vertical interval."""
    values, lows, highs = _bounds(intervals)
    axes.vlines(places, lows, highs, color=color, linewidth=1, alpha=0.55)
    axes.scatter(places, values, color=color, s=18, label=label, zorder=3)


def draw_horizontal_intervals(
    axes: Axes, places: npt.NDArray[np.number], intervals: Sequence[Interval | None], color: str, label: str
) -> None:
    """Points at positions along y, each with a horizontal interval; nothing is drawn for None."""
    known = [number for number, interval in enumerate(intervals) if interval is not None]
    values, lows, highs = _bounds([interval for interval in intervals if interval is not None])
    axes.hlines(places[known], lows, highs, color=color, linewidth=1.4, alpha=0.6)
    axes.scatter(values, places[known], color=color, s=22, label=label, zorder=3)


def _bounds(intervals: Sequence[Interval]) -> tuple[list[float], list[float], list[float]]:
    """Values, lower and upper bounds; NaN, which matplotlib leaves out, where undefined."""
    columns = [[getattr(interval, name) for interval in intervals] for name in ("value", "low", "high")]
    values, lows, highs = ([np.nan if number is None else number for number in column] for column in columns)
    return values, lows, highs
