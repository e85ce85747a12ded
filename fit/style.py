"""How all pictures look: palette, fonts, and texts that are drawn as they are.

Nothing global is used of matplotlib but its settings, and those only while a picture is made (`styled`) or written
(`to_png`): no pyplot, no display, no matplotlibrc.
"""

import functools
import io
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

# Before the import: building its font cache is worth no line on a user's terminal.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

import matplotlib as mpl  # noqa: E402
from matplotlib import font_manager  # noqa: E402
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402
from matplotlib.colors import LinearSegmentedColormap  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.text import Annotation  # noqa: E402
from matplotlib.ticker import FuncFormatter  # noqa: E402

from store.names import printable  # noqa: E402

INK, GREY, LIGHT = "#26323d", "#8592a0", "#e4e8ec"
BLUE, ORANGE, GREEN, RED = "#2f6d9e", "#d5812b", "#4d9468", "#b8473f"
SHADES = LinearSegmentedColormap.from_list("shades", ["#ffffff", "#dbe7f1", "#8db4d3", BLUE, "#1b4567"])
"""From nothing to everything."""

DPI = 130
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
def _settings() -> dict[str, object]:
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


@styled
def to_png(figure: Figure) -> bytes:
    """The picture as a PNG file; the same figure gives the same bytes."""
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file, metadata={"Software": None})
    return file.getvalue()


def new_figure(width: float, height: float, title: str, note: str) -> Figure:
    """An empty figure of that size in inches; title and note stand at the top left, axes are laid out below them."""
    figure = Figure((width, height), dpi=DPI, layout="constrained")
    lines = note.count("\n") + 1
    head = figure.suptitle(title + "\n" * lines, x=0.01, ha="left", fontsize=11, fontweight="bold")
    # Beneath the title, in the lines left free there; the layout does not look at it.
    below = Annotation(note, (0, 0), xycoords=head, ha="left", va="bottom", color=GREY, fontsize=9, linespacing=1.4)
    below.set_in_layout(False)
    figure.add_artist(below)
    return figure


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


def plain_ticks(axes: Axes, log: bool) -> None:
    """Numbers along x as people write them; with `log`, an axis of powers of ten."""
    if log:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda _, __: ""))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
