"""What can be asked of a run, checked: one frozen dataclass that the command line and Python fill alike."""

import os
import re
from dataclasses import dataclass

from extract.backbones.table import DEFAULT_BACKBONE
from extract.images.augment import FLIPS
from extract.images.decode import CROPS, RESIZE_FILTERS, parse_color
from extract.runtimes import PRECISIONS, RUNTIMES
from store.errors import UsageError
from store.formats import FORMATS
from store.recipe import Augmentation

POOLINGS = ("none", "avg", "max")
DTYPES = ("auto", "float16", "float32")
SHARD_FORMATS = ("auto", *FORMATS)

MAX_VIEWS = 1000
_MOST = {"rotation": 180.0, "shift": 1.0, "shear": 1.0, "zoom": 0.9, "brightness": 1.0}

MAX_PIXELS = 100_000_000
_IMAGE_PIXELS = 299 * 299

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)")
_CLOCK = re.compile(r"([0-9]+):([0-5][0-9]):([0-5][0-9])")
_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True)
class RunOptions:
    """The options of `extract run`; `None` where the command line says auto or nothing.

    `image_size` is (height, width); None is the backbone's own. `augment` is how many altered views each image has, the
    options after it are the fields of `store.recipe.Augmentation`. `part` (i, n) does every n-th shard, from the i-th, counted from 0.
    """

    data: str | os.PathLike[str]
    out: str | os.PathLike[str] = "store"
    backbone: str = DEFAULT_BACKBONE
    weights: str = "imagenet"
    layers: tuple[str, ...] = ()
    pooling: str = "none"
    image_size: tuple[int, int] | None = None
    resize: str = "bilinear"
    crop: str = "stretch"
    background: str = "white"
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    format: str = "auto"
    dtype: str = "auto"
    batch_size: int | None = None
    workers: int | None = None
    shard_rows: int | None = None
    max_bad: float = 0.05
    retry_failed: bool = False
    precision: str = "float32"
    runtime: str = "auto"
    fast_decode: bool = False
    augment: int = 0
    seed: int = 0
    rotation: float = Augmentation.rotation
    shift: float = Augmentation.shift
    shear: float = Augmentation.shear
    zoom: float = Augmentation.zoom
    brightness: float = Augmentation.brightness
    flip: str = Augmentation.flip
    max_pixels: int = MAX_PIXELS
    prune: bool = False
    limit: int | None = None
    dry_run: bool = False
    part: tuple[int, int] | None = None
    scheduler: str | None = None
    status_file: str | os.PathLike[str] | None = None
    single_writer: bool = False

    def __post_init__(self) -> None:
        _require("pooling", self.pooling, POOLINGS)
        _require("resize", self.resize, tuple(RESIZE_FILTERS))
        _require("crop", self.crop, CROPS)
        _require("format", self.format, SHARD_FORMATS)
        _require("dtype", self.dtype, DTYPES)
        _require("precision", self.precision, PRECISIONS)
        _require("runtime", self.runtime, RUNTIMES)
        parse_color(self.background)
        for name in ("batch_size", "workers", "shard_rows", "limit", "max_pixels"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{_flag(name)} is {value}: expected 1 or more")
        if not 0 <= self.max_bad <= 1:
            raise UsageError(f"--max-bad is {self.max_bad}: expected a fraction from 0 to 1")
        if len(set(self.layers)) != len(self.layers):
            raise UsageError("--layer names the same layer twice: name each once")
        if self.part is not None and not 0 <= self.part[0] < self.part[1]:
            raise UsageError(
                f"--part is {self.part[0]}/{self.part[1]}: expected I/N, I from 0 to N - 1, as in 0/4, 1/4, 2/4 and 3/4"
            )
        if self.part is not None and self.dry_run:
            raise UsageError("--dry-run tells of the whole run: leave --part out")
        if self.part is not None and self.scheduler is not None:
            raise UsageError("--part is for jobs without a scheduler: leave one of --part and --scheduler out")
        if self.scheduler is not None:
            parse_scheduler(self.scheduler)
        self._check_augmentation()

    def _check_augmentation(self) -> None:
        _require("flip", self.flip, FLIPS)
        if not 0 <= self.augment <= MAX_VIEWS:
            raise UsageError(f"--augment is {self.augment}: expected a number of views from 0 to {MAX_VIEWS:,}")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}: expected 0 or more")
        for name, most in _MOST.items():
            if not 0 <= getattr(self, name) <= most:
                raise UsageError(f"--{name} is {getattr(self, name)}: expected a range from 0 to {most:g}")
        if self.augment == 0:
            for name in (*_MOST, "flip"):
                if getattr(self, name) != getattr(Augmentation, name):
                    raise UsageError(f"--{name} is for altered views: say how many with --augment N")

    @property
    def augmentation(self) -> Augmentation | None:
        """What the recipe says of altered views; None without any."""
        if self.augment == 0:
            return None
        ranges = {name: float(getattr(self, name)) for name in _MOST}  # 40 and 40.0 are one recipe
        return Augmentation(self.augment, self.seed, **ranges, flip=self.flip)


def _require(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{_flag(name)} is {value!r}: expected one of {', '.join(choices)}")


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def parse_image_size(text: str) -> tuple[int, int]:
    """(height, width) from `N` or `HxW`.

    Raises:
        UsageError: it is neither.
    """
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--image-size is {text!r}: expected N or HxW in pixels, as in 224 or 240x320")
    return int(parts[0]), int(parts[-1])


def parse_part(text: str) -> tuple[int, int]:
    """(i, n) from `I/N`; RunOptions says which are possible.

    Raises:
        UsageError: it is something else.
    """
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal()):
        raise UsageError(f"--part is {text!r}: expected I/N, I from 0 to N - 1, as in 0/4, 1/4, 2/4 and 3/4")
    return int(number), int(count)


def parse_scheduler(text: str) -> tuple[str, str]:
    """Kind and place of a Dask cluster: (tcp, //HOST:PORT), (tls, //HOST:PORT), (file, PATH) or (local, N).

    Raises:
        UsageError: it is none of these.
    """
    kind, _, place = text.partition(":")
    known = {
        "tcp": place.startswith("//"),
        "tls": place.startswith("//"),
        "file": place != "",
        "local": place.isdecimal() and int(place) > 0,
    }
    if not known.get(kind, False):
        raise UsageError(f"--scheduler is {text!r}: expected tcp://HOST:PORT, file:PATH or local:N")
    return kind, place


def parse_duration(text: str) -> float:
    """Seconds from `90`, `90s`, `30m`, `8h`, `2d` or, as SLURM writes it, `7:30:00`.

    Raises:
        UsageError: it is something else, or nothing at all.
    """
    seconds = 0.0
    if match := _CLOCK.fullmatch(text):
        seconds = 3600.0 * int(match[1]) + 60 * int(match[2]) + int(match[3])
    elif match := _DURATION.fullmatch(text):
        seconds = float(match[1]) * _UNITS[match[2]]
    if seconds <= 0:
        raise UsageError(f"--max-runtime is {text!r}: expected a time above 0 such as 90s, 30m, 8h, 2d or 7:30:00")
    return seconds


def automatic_batch_size(image_size: tuple[int, int], on_gpu: bool = False) -> int:
    """32 images up to 299 x 299, 128 on a GPU; fewer of larger ones, so that activations take about the same memory."""
    height, width = image_size
    most = 128 if on_gpu else 32
    return max(1, min(most, most * _IMAGE_PIXELS // (height * width)))
