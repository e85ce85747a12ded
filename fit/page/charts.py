"""Charts of a page as points in the coordinates of an SVG, y downward. Pure: numbers -> points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from fit.metrics.calibration import ReliabilityBin

WIDTH, HEIGHT = 400.0, 300.0
"""The size of the area within the axes of both charts, in units of the SVG."""

BARS = 70.0
"""The height of the bars below a reliability diagram."""

_TICKS = 5


@dataclass(frozen=True)
class Tick:
    """A line of the grid: where it is, and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class ReliabilityPoint:
    """A bin of a reliability diagram.

    Attributes:
        x: its mean confidence.
        y: its accuracy.
        low: the lower end of the interval.
        high: the upper end.
        bar: the height of its bar.
        confidence: in words, as `accuracy` and `interval` are.
        accuracy: see there.
        interval: see there.
        decisions: how many predictions it has.
    """

    x: float
    y: float
    low: float
    high: float
    bar: float
    confidence: str
    accuracy: str
    interval: str
    decisions: int


@dataclass(frozen=True)
class ReliabilityChart:
    """How often predictions are right, by the probability they were given."""

    points: Sequence[ReliabilityPoint]
    ticks: Sequence[Tick]

    @property
    def line(self) -> str:
        """The points of a polyline."""
        return " ".join(f"{point.x:.1f},{point.y:.1f}" for point in self.points)


def reliability_chart(bins: Sequence[ReliabilityBin]) -> ReliabilityChart:
    """The diagram of these bins."""
    most = max((entry.decisions for entry in bins), default=1)
    points = []
    for entry in bins:
        value = entry.accuracy.value or 0.0
        low = value if entry.accuracy.low is None else entry.accuracy.low
        high = value if entry.accuracy.high is None else entry.accuracy.high
        points.append(
            ReliabilityPoint(
                x=entry.confidence * WIDTH,
                y=(1 - value) * HEIGHT,
                low=(1 - low) * HEIGHT,
                high=(1 - high) * HEIGHT,
                bar=BARS * entry.decisions / most,
                confidence=percent(entry.confidence),
                accuracy=percent(value),
                interval=f"{100 * low:.1f} to {percent(high)}",
                decisions=entry.decisions,
            )
        )
    return ReliabilityChart(
        points, [Tick(fraction, f"{100 * fraction:.0f} %") for fraction in np.linspace(0, 1, _TICKS)]
    )


@dataclass(frozen=True)
class Line:
    """A line of a chart: whose it is, its points, and the last value in words."""

    name: str
    points: str
    last: str


@dataclass(frozen=True)
class LineChart:
    """Values by epoch.

    Attributes:
        title: of what.
        lines: training, and validation where there is one.
        across: the ticks of the epochs.
        up: the ticks of the values.
        kept: where the epoch is whose weights are kept.
        table: the epoch and each line's value in words.
    """

    title: str
    lines: Sequence[Line]
    across: Sequence[Tick]
    up: Sequence[Tick]
    kept: float
    table: Sequence[Sequence[str]]


def training_charts(history: Mapping[str, Sequence[float]], kept: int) -> list[LineChart]:
    """Loss and accuracy by epoch; `kept` is the epoch, from 1, whose weights are kept."""
    return [
        _chart(name, {"training": history[name], "validation": history.get(f"val_{name}", [])}, kept)
        for name in ("loss", "accuracy")
        if name in history
    ]


def _chart(title: str, series: Mapping[str, Sequence[float]], kept: int) -> LineChart:
    series = {name: values for name, values in series.items() if len(values)}
    known = [value for values in series.values() for value in values if np.isfinite(value)]
    share = title == "accuracy"
    high = 1.0 if share else _round_top(max(known, default=1.0))
    epochs = max(map(len, series.values()))

    def across(epoch: float) -> float:
        return WIDTH * (0.5 if epochs == 1 else (epoch - 1) / (epochs - 1))

    def up(value: float) -> float:
        return HEIGHT * (1 - value / high)

    def written(value: float | None) -> str:
        if value is None or not np.isfinite(value):
            return "-"
        return percent(value) if share else f"{value:.3g}"

    lines = [
        Line(
            name,
            " ".join(
                f"{across(number):.1f},{up(value):.1f}" for number, value in enumerate(values, 1) if np.isfinite(value)
            ),
            written(values[-1]),
        )
        for name, values in series.items()
    ]
    numbers = np.unique(np.linspace(1, epochs, min(_TICKS, epochs)).round().astype(int))
    rows = zip_longest(*series.values())
    table = [[f"{epoch}", *map(written, values)] for epoch, values in enumerate(rows, 1)]
    return LineChart(
        title,
        lines,
        [Tick(across(number), f"{number}") for number in numbers],
        [Tick(up(value), f"{100 * value:.0f} %" if share else f"{value:g}") for value in np.linspace(0, high, _TICKS)],
        across(kept),
        table,
    )


def _round_top(value: float) -> float:
    """The end of an axis from 0 that has `value` on it, and whose ticks are round numbers."""
    if value <= 0:
        return 1.0
    step = value / (_TICKS - 1)
    power = 10.0 ** np.floor(np.log10(step))
    return float(
        (_TICKS - 1) * power * next(round_step for round_step in (1, 2, 2.5, 5, 10) if round_step * power >= step)
    )


EXTREMES = {"val_loss": "lowest", "val_accuracy": "highest"}
"""Whether the best epoch has the lowest or the highest of a value."""


def kept_epoch(history: Mapping[str, Sequence[float]], monitor: str) -> int:
    """The epoch whose weights are kept, from 1: the first of the best, or the last one without a validation."""
    if monitor not in history or np.isnan(history[monitor]).all():
        return len(history["loss"])
    best = np.nanargmin if EXTREMES[monitor] == "lowest" else np.nanargmax
    return int(best(history[monitor])) + 1


def kept_note(history: Mapping[str, Sequence[float]], monitor: str) -> str:
    """Which epoch's weights are kept, and why, in a sentence."""
    epochs = len(history["loss"])
    note = f"{epochs} epoch{'s' if epochs > 1 else ''}; the weights of epoch {kept_epoch(history, monitor)} are kept"
    if monitor in history:
        note += f", where validation {monitor.removeprefix('val_')} is {EXTREMES[monitor]}"
    return note


def percent(share: float) -> str:
    """0.958 as 95.8 %, with a space that does not break."""
    return f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
