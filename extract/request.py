"""What can be asked of a run: one frozen dataclass whose fields are the options of `extract run` and of `extract()`."""

import os
import re
from dataclasses import dataclass, fields
from typing import Annotated

from extract.backbones.table import DEFAULT_BACKBONE
from extract.choices import DTYPES, RUNTIMES, SHARD_COMPRESSIONS, SHARD_FORMATS
from extract.completion import complete_layer
from extract.durations import parse_duration
from store.choices import (
    CROPS,
    FLIPS,
    MOST_ALTERED,
    MOST_PIXELS,
    MOST_VIEWS,
    POOLINGS,
    PRECISIONS,
    RESIZES,
)
from store.errors import UsageError
from store.options import Argument, Option, one_of
from store.recipe import Augmentation

MAX_PIXELS = 100_000_000
DEFAULT_RESIZE = "bilinear"
DEFAULT_CROP = "stretch"
_IMAGE_PIXELS = 299 * 299

_LARGEST = {"batch_size": 4096, "workers": 1024}

_DEVICE = re.compile(r"auto|cpu|gpu|cuda:[0-9]{1,3}")
_PARTS = "expected I/N, I from 0 to N - 1, as in 0/4, 1/4, 2/4 and 3/4"


@dataclass(frozen=True)
class RunOptions:
    """The options of `extract run`. Python may give numbers and tuples where the command line gives text.

    `augment` is the number of altered views per image; the options after it are the fields of
    `store.recipe.Augmentation`.

    Raises:
        UsageError: a value that cannot be, or two that do not go together.
    """

    data: Annotated[
        str | os.PathLike[str],
        Argument(
            "DATA",
            "A folder of images, or a .csv, .tsv or .parquet table with a column path; or its URL (s3://, gs://, az://).",
        ),
    ]
    out: str | os.PathLike[str] = "store"  # the command takes several of these two: extract/commands.py
    backbone: str | os.PathLike[str] = DEFAULT_BACKBONE
    weights: Annotated[str, Option("imagenet, random[:SEED], or a .weights.h5, .h5 or .keras file.")] = "imagenet"
    layer: Annotated[
        tuple[str, ...],
        Option("Where to cut; repeat it for several outputs.", default="the last feature map", complete=complete_layer),
    ] = ()
    pooling: Annotated[
        str, Option("none, avg or max: reduce each spatial output to a vector.", complete=one_of(POOLINGS))
    ] = "none"
    image_size: Annotated[
        int | str | tuple[int, int] | None, Option("N or HxW in pixels.", default="the backbone's")
    ] = None
    resize: Annotated[
        str | None,
        Option(
            "bilinear, nearest, bicubic, lanczos or area.",
            default=f"{DEFAULT_RESIZE}, or what a model's preprocessing says",
            complete=one_of(RESIZES),
        ),
    ] = None
    crop: Annotated[
        str | None,
        Option(
            "stretch, center or pad: how an image is fitted to the network's shape.",
            default=f"{DEFAULT_CROP}, or what a model's preprocessing says",
            complete=one_of(CROPS),
        ),
    ] = None
    crop_fraction: Annotated[
        float | None,
        Option(
            "With --crop center: resize the shortest edge to the network's size divided by this, then crop; as in 0.875."
        ),
    ] = None
    preprocessing: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "For a model from a file: a TOML file with its mean, deviation, size and so on, or its "
            "preprocessor_config.json.",
            metavar="<path>",
        ),
    ] = None
    background: Annotated[str, Option("The color under transparency and around padding.")] = "white"
    include: Annotated[tuple[str, ...], Option("Only paths or names that match this pattern; repeatable.")] = ()
    exclude: Annotated[tuple[str, ...], Option("No paths or names that match this pattern; repeatable.")] = ()
    format: Annotated[str, Option("auto, hdf5 or parquet: the shards' format.", complete=one_of(SHARD_FORMATS))] = (
        "auto"
    )
    compression: Annotated[
        str, Option("auto, zstd, lz4 or none, of a new store's features.", complete=one_of(SHARD_COMPRESSIONS))
    ] = "auto"
    dtype: Annotated[str, Option("auto, float16 or float32: the stored type.", complete=one_of(DTYPES))] = "auto"
    precision: Annotated[
        str,
        Option(
            "float32, bfloat16, float16 or int8: the precision of the computation, if supported.",
            complete=one_of(PRECISIONS),
        ),
    ] = "float32"
    runtime: Annotated[
        str,
        Option(
            "auto, keras, openvino or (for ONNX models) onnxruntime: which runtime computes.", complete=one_of(RUNTIMES)
        ),
    ] = "auto"
    device: Annotated[str, Option("auto, cpu, gpu or cuda:N: what the network is computed on.")] = "auto"
    fast_decode: Annotated[bool, Option("Decode large JPEG files at a fraction of their size.")] = False
    augment: Annotated[int, Option("Altered views to store of each image beside the unaltered one.")] = 0
    rotation: Annotated[float, Option("Augmentation: rotation by at most this many degrees.")] = Augmentation.rotation
    shift: Annotated[float, Option("Augmentation: shift by at most this fraction of height and width.")] = (
        Augmentation.shift
    )
    shear: Annotated[float, Option("Augmentation: shear by at most this fraction of the height.")] = Augmentation.shear
    zoom: Annotated[float, Option("Augmentation: zoom in or out by at most this fraction.")] = Augmentation.zoom
    brightness: Annotated[float, Option("Augmentation: darken or brighten by at most this fraction.")] = (
        Augmentation.brightness
    )
    flip: Annotated[str, Option("Augmentation: none, horizontal, vertical or both.", complete=one_of(FLIPS))] = (
        Augmentation.flip
    )
    seed: Annotated[int, Option("Augmentation: the same seed gives the same views.")] = 0
    batch_size: Annotated[int | str, Option("Images per call of the network, or auto.")] = "auto"
    workers: Annotated[int | str, Option("Decoding threads, or auto.")] = "auto"
    shard_rows: Annotated[int | str, Option("Images per shard, or auto.")] = "auto"
    max_bad: Annotated[float, Option("The fraction of images that may fail before the exit code is 3.")] = 0.05
    retry_failed: Annotated[bool, Option("Try the failed images again.")] = False
    max_pixels: Annotated[int, Option("Images with more pixels are failures and are not decoded.")] = MAX_PIXELS
    prune: Annotated[bool, Option("Accept that more than half of the stored images are gone.")] = False
    limit: Annotated[int | None, Option("Only the first N images; stored images stay.")] = None
    part: Annotated[
        str | tuple[int, int] | None, Option("I/N: every N-th shard from the I-th, counted from 0; for job arrays.")
    ] = None
    scheduler: Annotated[str | None, Option("A Dask cluster: tcp://HOST:PORT, file:PATH, or local:N processes.")] = None
    status_file: Annotated[
        str | os.PathLike[str] | None, Option("A JSON file with the state of the run, for monitors.", metavar="<path>")
    ] = None
    single_writer: Annotated[
        bool, Option("Nobody else writes to the store: for object stores without conditional writes.")
    ] = False

    def __post_init__(self) -> None:
        from extract.images.decode import parse_color  # loads Pillow, which help need not wait for

        layer: object = self.layer
        if isinstance(layer, str):  # one name, as Python programs may give it
            object.__setattr__(self, "layer", (layer,))
        parse_color(self.background)
        for name, choices in _CHOICES.items():
            if (value := getattr(self, name)) is not None:
                _require_choice(name, value, choices)
        for name in ("limit", "max_pixels"):
            _require_positive(name, getattr(self, name))
        for name in ("batch_size", "workers", "shard_rows"):
            parse_automatic(name, getattr(self, name))
        parse_image_size(self.image_size)
        require_device_name(self.device)
        if self.crop_fraction is not None and not (self.crop == "center" and 0.01 <= self.crop_fraction <= 1):
            raise UsageError(
                f"--crop-fraction is {self.crop_fraction} with --crop {self.crop}: expected a fraction up to 1, as in "
                "--crop center --crop-fraction 0.875"
            )
        if not 0 <= self.max_bad <= 1:
            raise UsageError(f"--max-bad is {self.max_bad}: expected a fraction from 0 to 1")
        if len(set(self.layer)) != len(self.layer):
            raise UsageError("--layer names the same layer twice: name each once")
        if parse_part(self.part) and self.scheduler is not None:
            raise UsageError("--part is for jobs without a scheduler: leave one of --part and --scheduler out")
        if self.scheduler is not None:
            parse_scheduler(self.scheduler)
        self._check_augmentation()

    def _check_augmentation(self) -> None:
        if not 0 <= self.augment <= MOST_VIEWS:
            raise UsageError(f"--augment is {self.augment}: expected a number of views from 0 to {MOST_VIEWS:,}")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}: expected 0 or more")
        for name, most in MOST_ALTERED.items():
            if not 0 <= getattr(self, name) <= most:
                raise UsageError(f"--{name} is {getattr(self, name)}: expected a range from 0 to {most:g}")
        if self.augment == 0:
            for name in (*MOST_ALTERED, "flip"):
                if getattr(self, name) != getattr(Augmentation, name):
                    raise UsageError(f"--{name} is for altered views: say how many with --augment N")

    @property
    def augmentation(self) -> Augmentation | None:
        """The recipe's augmentation; None without altered views."""
        if self.augment == 0:
            return None
        ranges = {name: float(getattr(self, name)) for name in MOST_ALTERED}  # 40 and 40.0 are one recipe
        return Augmentation(self.augment, self.seed, **ranges, flip=self.flip)


@dataclass(frozen=True)
class RunCall(RunOptions):
    """The parameters of `extract()`: all options of `extract run`, and whether to show progress.

    Raises:
        UsageError: see `RunOptions`.
    """

    max_runtime: Annotated[
        str | float | None, Option("Stop after this time with StoppedEarly: seconds, or 90s, 30m, 8h or 7:30:00.")
    ] = None
    progress: Annotated[bool, Option("Show on standard error what is being done.")] = False

    @property
    def most_seconds(self) -> float | None:
        """The time after which the run stops, in seconds; None for no limit.

        Raises:
            UsageError: it is not a time.
        """
        if self.max_runtime is None:
            return None
        given = self.max_runtime
        return parse_duration(given if isinstance(given, str) else f"{given:f}")

    def options(self) -> RunOptions:
        """What is to be run."""
        return RunOptions(**{field.name: getattr(self, field.name) for field in fields(RunOptions)})


_CHOICES = {
    "pooling": POOLINGS,
    "resize": RESIZES,
    "crop": CROPS,
    "format": SHARD_FORMATS,
    "compression": SHARD_COMPRESSIONS,
    "dtype": DTYPES,
    "precision": PRECISIONS,
    "runtime": RUNTIMES,
    "flip": FLIPS,
}


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"{_flag(name)} is {value!r}: expected one of {', '.join(choices)}")


def _require_positive(name: str, value: int | None) -> None:
    if value is not None and value < 1:
        raise UsageError(f"{_flag(name)} is {value}: expected 1 or more")


def parse_automatic(name: str, value: int | str | None) -> int | None:
    """A whole number above 0, or None for auto.

    Raises:
        UsageError: it is neither.
    """
    if value is None or value == "auto":
        return None
    if not isinstance(value, int) and not value.isdecimal():
        raise UsageError(f"{_flag(name)} is {value!r}: expected a whole number, or auto")
    _require_positive(name, int(value))
    if int(value) > _LARGEST.get(name, int(value)):
        raise UsageError(f"{_flag(name)} is {value}: expected {_LARGEST[name]:,} at most, or auto")
    return int(value)


def parse_image_size(value: int | str | tuple[int, int] | None) -> tuple[int, int] | None:
    """(height, width) from N, `N`, `HxW` or itself; None for the backbone's own.

    Raises:
        UsageError: it is not one of these.
    """
    if value is None:
        return None
    parts = value.lower().split("x") if isinstance(value, str) else value if isinstance(value, tuple) else (value,)
    numbers = [int(part) if str(part).isdecimal() else 0 for part in parts]
    if not 1 <= len(numbers) <= 2 or not 1 <= min(numbers) <= max(numbers) <= MOST_PIXELS:
        raise UsageError(
            f"--image-size is {value!r}: expected N or HxW in pixels, as in 224 or 240x320, {MOST_PIXELS:,} at most"
        )
    return numbers[0], numbers[-1]


def require_device_name(text: str) -> None:
    """Raise UsageError unless it is the name of a device, on whatever machine."""
    if _DEVICE.fullmatch(text) is None:
        raise UsageError(f"--device is {text!r}: expected auto, cpu, gpu or cuda:N, as in cuda:0")


def parse_part(value: str | tuple[int, int] | None) -> tuple[int, int] | None:
    """(i, n) from `I/N` or itself; None for the whole.

    Raises:
        UsageError: it is neither, or there is no such part.
    """
    if value is None:
        return None
    shown = value if isinstance(value, str) else "/".join(map(str, value))
    number, _, count = shown.partition("/")
    if not (number.isdecimal() and count.isdecimal() and int(number) < int(count)):
        raise UsageError(f"--part is {shown}: {_PARTS}")
    return int(number), int(count)


def parse_scheduler(text: str) -> tuple[str, str]:
    """Kind and place of a Dask cluster: (tcp, //HOST:PORT), (tls, //HOST:PORT), (file, PATH) or (local, N).

    Raises:
        UsageError: it is not one of these.
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


def automatic_batch_size(image_size: tuple[int, int], on_gpu: bool = False) -> int:
    """32 images up to 299 x 299, 128 on a GPU; fewer of larger ones, so that activations take about the same memory."""
    height, width = image_size
    most = 128 if on_gpu else 32
    return max(1, min(most, most * _IMAGE_PIXELS // (height * width)))
