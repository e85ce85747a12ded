"""The style of all pictures: palette, fonts, and names drawn literally, without markup.

matplotlib's settings and logger are changed only while a picture is drawn (`styled`) or written (`to_png`). There is no
pyplot, no display and no matplotlibrc.
"""

import functools
import io
import logging
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.text import Annotation, Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

from extract.api import logger_levels
from store.files.names import printable

INK, GREY, LIGHT = "#26323d", "#8592a0", "#e4e8ec"
BLUE, ORANGE, GREEN, RED = "#2f6d9e", "#d5812b", "#4d9468", "#b8473f"
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#dbe7f1", "#8db4d3", BLUE, "#1b4567"])
"""From 0, white, to 1, dark blue."""

DPI = 130
SHEET_HEAD = 0.62
LONGEST_NAME = 28
"""Characters of a class's name; longer names lose their middle."""

FONTS = (
    "DejaVu Sans",  # comes with matplotlib; the others are used where they are installed
    "Noto Sans",
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "Noto Sans CJK KR",
    "Noto Sans Devanagari",
    "Noto Sans Bengali",
    "Noto Sans Tamil",
    "Noto Sans Thai",
    "Noto Emoji",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
    "PingFang SC",
    "Hiragino Sans",
    "Apple SD Gothic Neo",
    "Microsoft YaHei",
    "Malgun Gothic",
    "Arial Unicode MS",
)

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@functools.cache
def _settings() -> dict[Any, Any]:
    return {
        **{name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith(("backend", "toolbar"))},
        "font.family": _installed_fonts(),
        "font.size": 9,
        "text.parse_math": False,  # a $ in a class's name is a $
        "text.color": INK,
        "axes.edgecolor": GREY,
        "axes.labelcolor": INK,
        "axes.labelsize": 9,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.formatter.use_mathtext": False,
        "grid.color": LIGHT,
        "grid.linewidth": 0.8,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "lines.linewidth": 1.6,
        "figure.facecolor": "white",
    }


def _installed_fonts() -> list[str]:
    installed = set(font_manager.fontManager.get_font_names())
    return [name for name in FONTS if name in installed]


@functools.cache
def _characters() -> frozenset[int]:
    """Code points that the fonts can draw."""
    files = (font_manager.findfont(name) for name in _installed_fonts())
    return frozenset(code for file in files for code in font_manager.get_font(file).get_charmap())


def styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make a function draw in this style, and silence matplotlib's warnings in it."""

    @functools.wraps(draw)
    def in_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with logger_levels(logging.ERROR, "matplotlib"), mpl.rc_context(_settings()):
            return draw(*args, **kwargs)

    return in_style


@styled
def to_png(figure: Figure) -> bytes:
    """The picture as a PNG file; the same figure gives the same bytes."""
    file = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def new_figure(width: float, height: float, title: str, note: str) -> Figure:
    """An empty figure of that size in inches; title and note are at the top left, with the axes below."""
    figure = Figure((width, height), dpi=DPI, layout="constrained")
    head = figure.suptitle(title + "\n" * (note.count("\n") + 1), x=0.01, ha="left", fontsize=11, fontweight="bold")
    _write_note(figure, head, note)
    return figure


def new_sheet(width: float, height: float, title: str, note: str) -> Figure:
    """An empty figure of that size in inches, for axes placed by hand below the uppermost SHEET_HEAD inches."""
    figure = Figure((width, height), dpi=DPI)
    place = (0.1 / width, 1 - 0.1 / height)
    head = figure.text(*place, f"{title}\n", ha="left", va="top", fontsize=11, fontweight="bold")
    _write_note(figure, head, note)
    return figure


def _write_note(figure: Figure, head: Text, note: str) -> None:
    """Write the note below the title, in the lines left free there; the layout ignores it."""
    below = Annotation(note, (0, 0), xycoords=head, ha="left", va="bottom", color=GREY, fontsize=9, linespacing=1.4)
    below.set_in_layout(False)
    figure.add_artist(below)


def drawable(text: str, longest: int = LONGEST_NAME) -> str:
    """A name on one line of at most `longest` characters; those that no installed font has are drawn as escapes."""
    line = "".join(
        character if ord(character) in _characters() else character.encode("unicode_escape").decode("ascii")
        for character in printable(text)
    )
    if len(line) <= longest:
        return line
    kept = longest - 1
    return f"{line[: kept - kept // 3]}…{line[len(line) - kept // 3 :]}"


def percents() -> PercentFormatter:
    """Percent labels for an axis of fractions."""
    return PercentFormatter(1, decimals=None, symbol=" %")


def log_axis(axes: Axes, span: float) -> None:
    """Make the x axis logarithmic, labelled with plain numbers; `span` is the largest value over the smallest."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1,) if span >= 1000 else (1, 3)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
