"""The picture of a learning curve. Pure: numbers -> a figure."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from fit.metrics.intervals import Interval
from fit.report.points import draw_vertical_intervals
from fit.report.style import BLUE, drawable, new_figure, percents, styled


@styled
def draw_curve(head: str, points: Sequence[tuple[int, Interval, Interval]], validation: int) -> Figure:
    """Accuracy and log loss over the number of training images, each size twice the one before.

    Args:
        head: its name.
        points: of each size: the number of images, accuracy and log loss.
        validation: the number of images that they are measured on.
    """
    note = f"{drawable(head)}, on {validation:,} validation images, with 95 % intervals"
    figure = new_figure(7.2, 3.6, "Accuracy by number of training images", note)
    sizes = [images for images, _, _ in points]
    panels = {"accuracy": [score for _, score, _ in points], "log loss": [score for _, _, score in points]}
    for axes, (name, scores) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        axes.plot(sizes, [score.value or 0.0 for score in scores], color=BLUE, linewidth=1, alpha=0.6)
        draw_vertical_intervals(axes, sizes, scores, BLUE, name)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("training images")
        axes.set_title(name)
        if name == "accuracy":
            axes.yaxis.set_major_formatter(percents())
    return figure
