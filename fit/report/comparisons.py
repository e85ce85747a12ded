"""Pictures of several heads: a comparison, and a sweep's trials. Pure: numbers -> figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fit.heads.parameters import Value
from fit.metrics.intervals import Interval
from fit.report.points import draw_horizontal_intervals, draw_vertical_intervals
from fit.report.style import BLUE, GREY, LIGHT, ORANGE, drawable, log_axis, new_figure, percents, styled

_PANELS_PER_ROW = 3
_LOG_SPAN = 10  # values that lie further apart are drawn on a logarithmic axis


@dataclass(frozen=True)
class Compared:
    """A metric of a head; `difference` is that of the test images less the best head's."""

    name: str
    validation: Interval | None
    test: Interval | None
    difference: Interval | None


@styled
def draw_comparison(heads: Sequence[Compared], best: str, metric: str = "accuracy") -> Figure:
    """A metric of heads, and their differences from the best head, with intervals."""
    note = f"with 95 % intervals; the best by validation {metric} is {drawable(best)}"
    figure = new_figure(9.4, 1.7 + 0.34 * len(heads), "Comparison", note)
    left, right = figure.subplots(1, 2, sharey=True)
    places = np.arange(len(heads))
    for name, color, shift in (("validation", ORANGE, -0.12), ("test", BLUE, 0.12)):
        draw_horizontal_intervals(left, places + shift, [getattr(head, name) for head in heads], color, name)
    draw_horizontal_intervals(right, places, [head.difference for head in heads], BLUE, "")
    right.axvline(0, color=GREY, linewidth=1)
    left.set_title(metric)
    right.set_title(f"test {metric} against {drawable(best)}, same images")
    left.set_yticks(places, [drawable(head.name) for head in heads])
    left.set_ylim(len(heads) - 0.4, -0.6)
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        if metric == "accuracy":
            axes.xaxis.set_major_formatter(percents())
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


@dataclass(frozen=True)
class Change:
    """One changed setting and its score on validation; None if the head refused it."""

    name: str
    score: Interval | None
    chosen: bool


@styled
def draw_changes(base: Interval, changes: Sequence[Change], metric: str, note: str) -> Figure:
    """Scores of one changed setting at a time, against the score of the base settings."""
    figure = new_figure(7.2, 1.7 + 0.3 * len(changes), "Sweep", note)
    axes = figure.subplots()
    places = np.arange(len(changes))
    if base.low is not None and base.high is not None:
        axes.axvspan(base.low, base.high, color=LIGHT, linewidth=0, zorder=0)
    axes.axvline(base.value or 0.0, color=GREY, linewidth=1, label="base settings, with 95 % interval")
    for chosen, color, name in ((False, BLUE, "one change"), (True, ORANGE, "chosen")):
        scores = [change.score if change.chosen == chosen else None for change in changes]
        if any(scores):
            draw_horizontal_intervals(axes, places, scores, color, name)
    axes.set_yticks(places, [drawable(change.name) + ("" if change.score else " (refused)") for change in changes])
    axes.set_ylim(len(changes) - 0.4, -0.6)
    axes.set_xlabel(f"validation {metric.replace('_', ' ')}")
    axes.grid(axis="y", visible=False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return figure


@styled
def draw_sweep(
    parameters: Mapping[str, Sequence[Value]], scores: Sequence[Interval], chosen: int, metric: str, note: str
) -> Figure:
    """One panel per parameter: each trial's score over the parameter's value, the chosen trial marked.

    Args:
        parameters: by parameter, its value in each trial.
        scores: on validation, one per trial.
        chosen: the position of the chosen trial.
        metric: the name of the scores' metric.
        note: the text below the title.
    """
    across = min(_PANELS_PER_ROW, len(parameters))
    down = -(-len(parameters) // across)
    figure = new_figure(max(5.0, 1.0 + 3.0 * across), 1.0 + 2.8 * down, "Sweep", note)
    panels = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
    for axes, (name, values) in zip(panels, parameters.items(), strict=False):
        places = _places_along(axes, values)
        others = [number for number in range(len(scores)) if number != chosen]
        draw_vertical_intervals(
            axes, [places[number] for number in others], [scores[number] for number in others], BLUE, "trial"
        )
        draw_vertical_intervals(axes, [places[chosen]], [scores[chosen]], ORANGE, "chosen")
        axes.set_xlabel(name)
    for axes in panels[::across]:
        axes.set_ylabel(f"validation {metric.replace('_', ' ')}")
    for axes in panels[len(parameters) :]:
        axes.set_axis_off()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def _places_along(axes: Axes, values: Sequence[Value]) -> list[float]:
    """Positions of values along x: numbers to scale; words, or five numbers or fewer, side by side."""
    distinct = sorted(set(values), key=lambda value: (isinstance(value, str), value))
    if any(isinstance(value, str) for value in distinct) or len(distinct) <= 5:
        names = [drawable(value) if isinstance(value, str) else f"{value:g}" for value in distinct]
        axes.set_xticks(range(len(distinct)), names)
        axes.set_xlim(-0.5, len(distinct) - 0.5)
        axes.grid(axis="x", visible=False)
        # Trials with the same value are drawn beside each other.
        turns = dict.fromkeys(distinct, 0)
        totals = {value: list(values).count(value) for value in distinct}
        places = []
        for value in values:
            turns[value] += 1
            places.append(distinct.index(value) + 0.6 * (turns[value] / (totals[value] + 1) - 0.5))
        return places
    numbers = [float(value) for value in values]
    if min(numbers) > 0 and max(numbers) >= _LOG_SPAN * min(numbers):
        log_axis(axes, max(numbers) / min(numbers))
    return numbers
