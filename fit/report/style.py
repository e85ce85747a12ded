"""How all pictures look: palette, fonts, and texts that are drawn as they are.

Nothing global is used of matplotlib but its settings, and those only while a picture is made (`styled`) or written
(`to_png`): no pyplot, no display, no matplotlibrc.
"""

import functools
import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

# Before the import: building its font cache is worth no line on a user's terminal.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

import matplotlib as mpl  # noqa: E402
from matplotlib import font_manager  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.colors import LinearSegmentedColormap  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.text import Annotation, Text  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter  # noqa: E402

from store.errors import UsageError  # noqa: E402
from store.files.names import printable  # noqa: E402

INK, GREY, LIGHT = "#26323d", "#8592a0", "#e4e8ec"
BLUE, ORANGE, GREEN, RED = "#2f6d9e", "#d5812b", "#4d9468", "#b8473f"
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#dbe7f1", "#8db4d3", BLUE, "#1b4567"])
"""From nothing to everything."""

DPI = 130
SHEET_HEAD = 0.62
LONGEST_NAME = 28
"""Characters of a class's name that are shown; of longer ones, the beginning and the end."""

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
    """All that the fonts can draw."""
    files = (font_manager.findfont(name) for name in _installed_fonts())
    return frozenset(code for file in files for code in font_manager.get_font(file).get_charmap())


def styled(draw: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """A function that draws, in this style."""

    @functools.wraps(draw)
    def in_style(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with mpl.rc_context(_settings()):
            return draw(*args, **kwargs)

    return in_style


def require_png(path: Path) -> None:
    """Raise UsageError unless the file's ending says that it is a picture."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"--out {path}: expected a file ending in .png")


@styled
def to_png(figure: Figure) -> bytes:
    """The picture as a PNG file; the same figure gives the same bytes."""
    file = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(file, format="png", dpi=DPI, metadata={"Software": None})
    return file.getvalue()


def new_figure(width: float, height: float, title: str, note: str) -> Figure:
    """An empty figure of that size in inches; title and note stand at the top left, axes are laid out below them."""
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
    """Beneath the title, in the lines left free there; the layout does not look at it."""
    below = Annotation(note, (0, 0), xycoords=head, ha="left", va="bottom", color=GREY, fontsize=9, linespacing=1.4)
    below.set_in_layout(False)
    figure.add_artist(below)


def shown(text: str, longest: int = LONGEST_NAME) -> str:
    """A name as it is drawn: on one line, not too long, and what no font here can draw as its escape."""
    line = "".join(
        character if ord(character) in _characters() else character.encode("unicode_escape").decode("ascii")
        for character in printable(text)
    )
    if len(line) <= longest:
        return line
    kept = longest - 1
    return f"{line[: kept - kept // 3]}…{line[len(line) - kept // 3 :]}"


def percents() -> PercentFormatter:
    """For an axis of fractions."""
    return PercentFormatter(1, decimals=None, symbol=" %")


def log_axis(axes: Axes, span: float) -> None:
    """A logarithmic x axis, its numbers as people write them; `span` is the largest over the smallest value."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(10, subs=(1,) if span >= 1000 else (1, 3)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
