"""The picture of a learning curve. Pure: numbers -> a figure."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from fit.metrics.intervals import Interval
from fit.report.points import draw_vertical_intervals
from fit.report.style import BLUE, drawable, new_figure, percents, styled


@styled
def draw_curve(head: str, sizes: Sequence[int], scores: Mapping[str, Sequence[Interval]], validation: int) -> Figure:
    """Metrics over the number of training images, a panel each.

    Args:
        head: its name.
        sizes: the numbers of training images, each twice the one before.
        scores: by metric, the main one first, its score at each size.
        validation: the number of images that they are measured on.
    """
    titles = {name: name.replace("_", " ") for name in scores}
    main = next(iter(titles.values()))
    note = f"{drawable(head)}, on {validation:,} validation images, with 95 % intervals"
    figure = new_figure(3.6 * max(len(scores), 1.5), 3.6, f"{main.capitalize()} by number of training images", note)
    for axes, (name, values) in zip(figure.subplots(1, len(scores), squeeze=False)[0], scores.items(), strict=True):
        axes.plot(sizes, [score.value or 0.0 for score in values], color=BLUE, linewidth=1, alpha=0.6)
        draw_vertical_intervals(axes, sizes, values, BLUE, titles[name])
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_locator(FixedLocator(sizes))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("training images")
        axes.set_title(titles[name])
        if name == "accuracy":
            axes.yaxis.set_major_formatter(percents())
    return figure
