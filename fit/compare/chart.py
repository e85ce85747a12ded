"""Accuracy against cost as points in the coordinates of an SVG, y downward. Pure: numbers -> points."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from fit.arrays import Floats
from fit.compare.heads import Comparison
from fit.compare.numbers import format_bytes, format_milliseconds
from fit.page.charts import HEIGHT, WIDTH, Tick, percent
from store.files.names import printable

_STEPS = (1, 2, 5)
_MOST_TICKS = 6
_GAP = 13.0
"""Between the labels of points that lie above each other."""


@dataclass(frozen=True)
class CostPoint:
    """A head on the chart: where it is, its interval, its number in the table, and where that is written.

    Attributes:
        number: from 1.
        x: by its cost.
        y: by its accuracy.
        low: the y of the lower end of its interval.
        high: that of the upper end.
        label: the y of its number.
        on_front: whether no other head beats it in both.
        says: all of it in words.
    """

    number: int
    x: float
    y: float
    low: float
    high: float
    label: float
    on_front: bool
    says: str


@dataclass(frozen=True)
class CostChart:
    """Accuracy against cost, with the Pareto front as a line; costs on a logarithmic scale.

    Attributes:
        axis: what is across, with its unit.
        points: the heads whose cost is known.
        across: the ticks of the cost.
        up: the ticks of the accuracy.
        front: the points of a polyline.
    """

    axis: str
    points: Sequence[CostPoint]
    across: Sequence[Tick]
    up: Sequence[Tick]
    front: str


def cost_chart(comparison: Comparison) -> CostChart | None:
    """The chart of a comparison; None where no cost is known."""
    seconds = comparison.cost == "seconds_per_image"
    known = [
        (number, head, scores.accuracy, cost)
        for number, head in enumerate(comparison.heads)
        if (cost := head.costs.seconds_per_image if seconds else head.costs.bytes_per_image)
        and (scores := head.scores(comparison.measured))
    ]
    if not known:
        return None
    values = np.array([accuracy.value or 0.0 for _, _, accuracy, _ in known])
    lows = np.array([value if a.low is None else a.low for value, (_, _, a, _) in zip(values, known, strict=True)])
    highs = np.array([value if a.high is None else a.high for value, (_, _, a, _) in zip(values, known, strict=True)])
    costs = np.array([cost for *_, cost in known])
    across, up = _LogScale.of(costs), _Scale.of(lows, highs)
    write = format_milliseconds if seconds else format_bytes
    unit = " ms" if seconds else ""
    points = [
        CostPoint(
            number=number + 1,
            x=across.place(cost),
            y=up.place(value),
            low=up.place(low),
            high=up.place(high),
            label=up.place(value),
            on_front=number in comparison.front,
            says=f"{number + 1}: {printable(head.name)}, {percent(value)}, {write(cost)}{unit} per image",
        )
        for (number, head, _, cost), value, low, high in zip(known, values, lows, highs, strict=True)
    ]
    return CostChart(
        axis="ms per image, from file to features" if seconds else "bytes per image in the store",
        points=_labels_apart(points),
        across=[Tick(across.place(cost), write(cost)) for cost in across.ticks()],
        up=[Tick(up.place(value), percent(value) if up.fine else f"{100 * value:.0f} %") for value in up.ticks()],
        front=_steps([point for at in comparison.front for point in points if point.number == at + 1]),
    )


@dataclass(frozen=True)
class _LogScale:
    """Costs across, from `low` to `high`."""

    low: float
    high: float

    @classmethod
    def of(cls, costs: Floats) -> "_LogScale":
        return cls(float(np.min(costs)) / 1.5, float(np.max(costs)) * 1.5)

    def place(self, cost: float) -> float:
        return float(WIDTH * np.log(cost / self.low) / np.log(self.high / self.low))

    def ticks(self) -> list[float]:
        powers = range(int(np.floor(np.log10(self.low))), int(np.ceil(np.log10(self.high))) + 1)
        fine = [step * 10.0**power for power in powers for step in _STEPS]
        found = [value for value in fine if self.low <= value <= self.high]
        return found if len(found) <= _MOST_TICKS else [value for value in found if np.log10(value).round(9) % 1 == 0]


@dataclass(frozen=True)
class _Scale:
    """Accuracies up, from `low` to `high`, which are multiples of `step`."""

    low: float
    high: float
    step: float

    @classmethod
    def of(cls, lows: Floats, highs: Floats) -> "_Scale":
        low, high = float(lows.min()), float(highs.max())
        reach = max(high - low, 0.01)
        step = next(step for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if reach / step <= _MOST_TICKS)
        return cls(max(0.0, np.floor(low / step - 0.2) * step), min(1.0, np.ceil(high / step + 0.2) * step), step)

    @property
    def fine(self) -> bool:
        """Whether ticks need a digit behind the point."""
        return self.step < 0.01

    def place(self, value: float) -> float:
        return float(HEIGHT * (self.high - value) / (self.high - self.low))

    def ticks(self) -> list[float]:
        return [float(value) for value in np.arange(self.low, self.high + self.step / 2, self.step)]


def _labels_apart(points: Sequence[CostPoint]) -> list[CostPoint]:
    """The points, with the labels of those that lie above each other moved down so that each can be read."""
    placed = list[CostPoint]()
    for point in sorted(points, key=lambda point: point.y):
        above = [other.label for other in placed if abs(other.x - point.x) < 2 * _GAP]
        placed.append(replace(point, label=max([point.y, *(label + _GAP for label in above)])))
    return sorted(placed, key=lambda point: point.number)


def _steps(front: Sequence[CostPoint]) -> str:
    """The front as a staircase: the best accuracy at each cost, up to the right edge."""
    corners = list[tuple[float, float]]()
    for point in front:
        corners += [(point.x, corners[-1][1])] if corners else []
        corners.append((point.x, point.y))
    corners += [(WIDTH, corners[-1][1])] if corners else []
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
