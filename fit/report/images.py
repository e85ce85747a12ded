"""Pictures of images: mistakes, samples, averages. Pure: arrays -> figures."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fit.arrays import Pixels
from fit.report.style import GREY, INK, RED, SHEET_HEAD, drawable, new_sheet, styled

_THUMBNAIL = 1.7  # inches
_LETTERS = 7
_GAP = 0.05  # inches, between the lines below two images


@dataclass(frozen=True)
class Mistake:
    """A misclassified image by its path, and the probability of the class that was predicted."""

    path: str
    pixels: Pixels
    actual: str
    predicted: str
    probability: float


@styled
def draw_mistakes(mistakes: Sequence[Mistake], wrong: int, of: str) -> Figure:
    """Misclassified images, each with its path, its actual class, and its predicted class in red.

    Args:
        mistakes: at least one, in the order in which they are shown, all of one shape.
        wrong: the number of misclassified images, shown or not.
        of: which images the mistakes are among, in words.
    """
    order = "most confident errors first" if len(mistakes) == wrong else f"the {len(mistakes)} most confident errors"
    note = f"{wrong:,} of {of}, {order}; red: the prediction"
    columns = min(6, len(mistakes))
    grid = _Grid(-(-len(mistakes) // columns), columns, under=0.56)
    sheet = _Thumbnails("Mistakes", note, grid, mistakes[0].pixels.shape)
    for number, mistake in enumerate(mistakes):
        axes = sheet.show(number // columns, number % columns, mistake.pixels)
        predicted = f"predicted {drawable(mistake.predicted, 14)} ({_percent_text(mistake.probability)})"
        lines = (
            (_end_of_path(mistake.path, 30), GREY),
            (f"actual {drawable(mistake.actual, 22)}", INK),
            (predicted, RED),
        )
        for line, (text, color) in enumerate(lines):
            sheet.write_below(axes, 0.05 + 0.15 * line, text, color)
    return sheet.figure


@dataclass(frozen=True)
class Sample:
    """Images of one class."""

    name: str
    images: Sequence[Pixels]


@styled
def draw_samples(samples: Sequence[Sample], note: str) -> Figure:
    """A row of images per class; `note` is the text below the title. At least one class must have an image."""
    columns = max(len(sample.images) for sample in samples)
    left = 0.3 + 0.075 * max(len(drawable(sample.name)) for sample in samples)
    shape = next(sample.images[0].shape for sample in samples if sample.images)
    sheet = _Thumbnails("Samples", note, _Grid(len(samples), columns, left=left), shape)
    for row, sample in enumerate(samples):
        for column, pixels in enumerate(sample.images):
            axes = sheet.show(row, column, pixels)
            if column == 0:
                axes.text(
                    -0.08, 0.5, drawable(sample.name), ha="right", va="center", fontsize=8, transform=axes.transAxes
                )
    return sheet.figure


@dataclass(frozen=True)
class Average:
    """The average image of a class, and how many images it is the average of."""

    name: str
    pixels: Pixels
    images: int


@styled
def draw_averages(averages: Sequence[Average], note: str) -> Figure:
    """The average image of each class, of at least one; `note` is the text below the title."""
    columns = min(6, len(averages))
    grid = _Grid(-(-len(averages) // columns), columns, under=0.3)
    sheet = _Thumbnails("Average images", note, grid, averages[0].pixels.shape)
    for number, average in enumerate(averages):
        axes = sheet.show(number // columns, number % columns, average.pixels)
        sheet.write_below(axes, 0.05, f"{drawable(average.name, 16)} ({average.images:,})")
    return sheet.figure


@dataclass(frozen=True)
class _Grid:
    """How many small images, and the space beneath each and to the left of all, in inches."""

    rows: int
    columns: int
    under: float = 0.06
    left: float = 0.1


class _Thumbnails:
    """A sheet of small images, all of the shape (height, width, 3)."""

    def __init__(self, title: str, note: str, grid: _Grid, shape: tuple[int, ...]) -> None:
        self.size = (_THUMBNAIL, _THUMBNAIL * shape[0] / shape[1])
        self.step = (self.size[0] + 0.12, self.size[1] + grid.under + 0.06)
        self.left = grid.left
        self.width = max(5.0, grid.left + grid.columns * self.step[0] + 0.1)
        self.height = SHEET_HEAD + 0.1 + grid.rows * self.step[1]
        self.figure = new_sheet(self.width, self.height, title, note)

    def show(self, row: int, column: int, pixels: Pixels) -> Axes:
        """Draw an image into the grid; the axes returned are for text around it."""
        left = self.left + column * self.step[0]
        bottom = self.height - SHEET_HEAD - row * self.step[1] - self.size[1]
        place = (
            left / self.width,
            bottom / self.height,
            self.size[0] / self.width,
            self.size[1] / self.height,
        )
        axes = self.figure.add_axes(place)
        axes.imshow(pixels)
        axes.set_axis_off()
        return axes

    def write_below(self, axes: Axes, inches: float, text: str, color: str = INK) -> None:
        """Write a line below an image, in smaller letters where it would reach into the lines of the next image."""
        place = (0.5, -inches / self.size[1])
        line = axes.text(*place, text, color=color, ha="center", va="top", fontsize=_LETTERS, transform=axes.transAxes)
        width = line.get_window_extent().width / self.figure.dpi
        space = self.step[0] - _GAP
        if width > space:
            line.set_fontsize(_LETTERS * space / width)


def _end_of_path(path: str, longest: int) -> str:
    """A path that ends with the file's name, which says more than the first folders."""
    shown = drawable(path, len(path) * 12)  # escapes are longer than what they stand for
    return shown if len(shown) <= longest else f"…{shown[1 - longest :]}"


def _percent_text(share: float) -> str:
    return f"{100 * share:.0f} %"
