"""How images become a model's input, as data: from preprocessor_config.json, timm's config.json, or a TOML file.

Nothing is guessed. What a file does not say, and its kind of processor does not define, is an error that shows the TOML
file to write. The rules of each kind are those of Hugging Face transformers (models/*/image_processing_pil_*.py).
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from store.choices import MOST_PIXELS, RESIZES
from store.errors import UsageError
from store.files.disk import unreadable
from store.files.names import printable
from store.json_values import JsonObject, as_object, parse
from store.preprocessing import CHANNELS, LAYOUTS, Preprocessing, require_crop
from store.recipe import Recipe
from store.schema import InvalidField, OneOf, Range, read_value, shown

EXAMPLE = """\
image_size = 224                  # or [height, width]
resize = "bicubic"                # bilinear, nearest, bicubic, lanczos or area
shortest_edge = 256               # then the center is cut out; without this line the image is stretched to its size
rescale = 0.00392156862745098     # 1/255: pixels are multiplied with this first
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
channels = "rgb"
# layout = "nchw"                 # only where the shape of the model's input does not show it
# prefix_tokens = 1               # only for --layer OUTPUT.mean and OUTPUT.patches: tokens before those of the patches
"""
"""A file for --preprocessing; the values are those of many networks that were trained on ImageNet."""

_RESAMPLES = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "area"}
"""Pillow's numbers of filters (Image.Resampling)."""


@dataclass(frozen=True)
class Processor:
    """How images become a model's input; the fields are those of `store.recipe.Recipe`.

    Attributes:
        preprocessing: from pixels to the model's input.
        image_size: (height, width) in pixels.
        resize: the filter.
        crop: stretch, center or pad.
        resize_to: with the crop center, what an image is resized to first.
        prefix_tokens: how many tokens come before those of the patches; None if the file does not say it.
    """

    preprocessing: Preprocessing
    image_size: tuple[int, int]
    resize: str
    crop: str = "stretch"
    resize_to: tuple[int, ...] = ()
    prefix_tokens: int | None = None


def missing_preprocessing(what: str) -> UsageError:
    """The error for a model that does not say its preprocessing, with the file to write."""
    return UsageError(
        f"{what} does not say how its pixels are to be prepared, and a wrong guess would give features that look right: "
        f"write a file such as the following with the model's own values, and name it with --preprocessing FILE.toml",
        EXAMPLE,
    )


def read_processor_file(path: Path, layout: str) -> Processor:
    """The processor that --preprocessing names: a TOML file, a preprocessor_config.json, or the store.json of a store.

    Args:
        path: the file.
        layout: that the model's input has, nchw or nhwc; empty where its shape does not show it.

    Raises:
        UsageError: it is not one, or lacks a value.
    """
    try:
        text = path.read_bytes()
        if path.suffix.lower() == ".json":
            return _from_json(parse(text), layout or "nchw", printable(str(path)))
        return _from_toml(tomllib.loads(text.decode()), layout)
    except UsageError:
        raise
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(
            f"--preprocessing {printable(str(path))}: no such file; write one such as the following", EXAMPLE
        ) from None
    except OSError as error:
        raise unreadable(error, path) from error
    except (ValueError, InvalidField) as error:
        raise UsageError(f"--preprocessing {printable(str(path))}: {error}; a file that works is", EXAMPLE) from error


def _from_json(values: JsonObject, layout: str, name: str) -> Processor:
    """From a preprocessor_config.json, or as a store was made."""
    if "recipe" not in values:
        return from_processor_config(values, layout, name)
    recipe = Recipe.from_dict(as_object(values["recipe"], "recipe"), "recipe.")
    if recipe.preprocessing is None:
        raise InvalidField(
            f"the store was made with {recipe.backbone}, which has its own preprocessing: expected a model file"
        )
    return Processor(
        recipe.preprocessing,
        recipe.image_size,
        recipe.resize,
        recipe.crop,
        recipe.resize_to,
        recipe.prefix_tokens or None,
    )


def _from_toml(values: Mapping[str, object], layout: str) -> Processor:
    known = {"image_size", "resize", "shortest_edge", "resize_to", "rescale", "mean", "std", "channels", "layout"}
    if unknown := sorted(set(values) - known - {"prefix_tokens"}):
        raise InvalidField(f"{printable(unknown[0])} is not known: expected {', '.join(sorted(known))}, prefix_tokens")
    required = ("image_size", "resize", "rescale", "mean", "std")
    if missing := [name for name in required if name not in values]:
        raise InvalidField(f"{', '.join(missing)} must be given")
    said = str(values.get("layout", layout))
    if layout and said != layout:
        raise InvalidField(f"layout is {said}, and the model's input has {layout}")
    if not said:
        raise InvalidField(f"the model's input does not show its layout: add layout, {' or '.join(LAYOUTS)}")
    numbers = {name: values[name] for name in ("mean", "std", "rescale")}
    preprocessing = _preprocessing(numbers, str(values.get("channels", "rgb")), said)
    size = _size(values["image_size"], "image_size")
    if "shortest_edge" in values and "resize_to" in values:
        raise InvalidField("shortest_edge and resize_to are both given: expected one of them")
    resize_to: tuple[int, ...] = ()
    if "shortest_edge" in values:
        resize_to = (_whole(values["shortest_edge"], "shortest_edge"),)
    elif "resize_to" in values:
        resize_to = _size(values["resize_to"], "resize_to")
    prefix = values.get("prefix_tokens")
    prefix_tokens = None if prefix is None else _whole(prefix, "prefix_tokens", least=0)
    resize = str(read_value(Annotated[str, OneOf(RESIZES)], values["resize"], "resize"))
    return _fitting(preprocessing, size, resize, resize_to, prefix_tokens)


def from_timm(config: JsonObject, layout: str, name: str) -> Processor:
    """The processor of timm's config.json, from its `pretrained_cfg` (timm/data/transforms_factory.py, for evaluation).

    Raises:
        UsageError: a value is missing or of another kind; `name` is the file's.
    """
    try:
        values = config["pretrained_cfg"]
        if not isinstance(values, dict):
            raise InvalidField(f"pretrained_cfg is {shown(values)}: expected an object")
        if missing := [key for key in ("input_size", "mean", "std", "interpolation", "crop_pct") if key not in values]:
            raise InvalidField(f"pretrained_cfg lacks {', '.join(missing)}")
        shape = read_value(tuple[int, int, int], values["input_size"], "input_size")
        if not isinstance(shape, tuple) or shape[0] != 3:
            raise InvalidField(f"input_size is {shown(shape)}: expected three channels, height and width")
        size = _size(list(shape[1:]), "input_size")
        resize = str(read_value(Annotated[str, OneOf(RESIZES)], values["interpolation"], "interpolation"))
        fraction = read_value(Annotated[float, Range(0.01, 1)], values["crop_pct"], "crop_pct")
        mode = values.get("crop_mode", "center")
        if mode not in ("center", "squash") or not isinstance(fraction, int | float):
            raise InvalidField(f"crop_mode is {shown(mode)}: expected center or squash")
        edges = tuple(math.floor(edge / fraction) for edge in size)
        resize_to = edges if mode == "squash" else (max(edges),)
        preprocessing = _preprocessing({**values, "rescale": 1 / 255}, "rgb", layout or "nchw")
        return _fitting(preprocessing, size, resize, resize_to)
    except InvalidField as error:
        raise unusable(name, error) from error


@dataclass(frozen=True)
class _Kind:
    """A kind of Hugging Face image processor: whether one number is a square or the shortest edge, and its default crop."""

    square: bool
    crops: bool


_KINDS = {
    "ViT": _Kind(square=True, crops=False),
    "DINOv3ViT": _Kind(square=True, crops=False),
    "Siglip": _Kind(square=True, crops=False),
    "DeiT": _Kind(square=True, crops=True),
    "Bit": _Kind(square=False, crops=True),
    "CLIP": _Kind(square=False, crops=True),
    "ConvNext": _Kind(square=False, crops=False),
    "EfficientNet": _Kind(square=True, crops=False),
}
_WARPED_FROM = 384  # ConvNeXt: without a crop from this size on


def from_processor_config(values: JsonObject, layout: str, name: str) -> Processor:
    """The processor of a preprocessor_config.json, in its old and new spellings.

    Args:
        values: the file's content.
        layout: of the model's input.
        name: the file's, for messages.

    Raises:
        UsageError: it is of another kind, or lacks a value.
    """
    kind_name = values.get("image_processor_type") or values.get("feature_extractor_type")
    found = re.fullmatch(r"(\w+?)(ImageProcessor|FeatureExtractor)(Fast|Pil)?", str(kind_name))
    kind = _KINDS.get(found[1]) if found else None
    try:
        if found is None or kind is None:
            raise InvalidField(
                f"image_processor_type is {shown(kind_name)}: expected one of "
                f"{', '.join(f'{known}ImageProcessor' for known in _KINDS)}"
            )
        resize_to, size = _geometry(values, kind, found[1])
        resample = values.get("resample")
        resize = _RESAMPLES.get(resample) if isinstance(resample, int) else None
        if resize is None:
            raise InvalidField(f"resample is {shown(resample)}: expected one of {', '.join(map(str, _RESAMPLES))}")
        numbers = _numbers(values, efficientnet=found[1] == "EfficientNet")
        return _fitting(_preprocessing(numbers, "rgb", layout), size, resize, resize_to)
    except InvalidField as error:
        raise unusable(name, error) from error


def _geometry(values: JsonObject, kind: _Kind, name: str) -> tuple[tuple[int, ...], tuple[int, int]]:
    """What an image is resized to before its center is cut out (empty: it is stretched), and the final size."""
    if values.get("do_resize", True) is not True or values.get("do_pad", False):
        raise InvalidField("images are not resized, or are padded: expected do_resize true, and do_pad false")
    edge = _edge(values.get("size"), kind.square, "size")
    if name == "ConvNext":
        if len(edge) != 1:
            raise InvalidField(f"size is {shown(values.get('size'))}: expected a shortest edge")
        if edge[0] >= _WARPED_FROM:
            return (), (edge[0], edge[0])
        fraction = values.get("crop_pct", 224 / 256)
        if not isinstance(fraction, float | int) or not 0.01 <= fraction <= 1:
            raise InvalidField(f"crop_pct is {shown(fraction)}: expected a fraction up to 1")
        return (int(edge[0] / fraction),), (edge[0], edge[0])
    if values.get("do_center_crop", kind.crops):
        crop = _edge(values.get("crop_size"), True, "crop_size")
        return edge, (crop[0], crop[-1])
    if len(edge) == 1:
        raise InvalidField("the shortest edge is resized and nothing is cut out, so that sizes differ: expected a crop")
    return (), (edge[0], edge[-1])


def _edge(value: object, square: bool, name: str) -> tuple[int, ...]:
    """(R,) for a shortest edge, (height, width) for both, from 224, {"height": …} or {"shortest_edge": …}."""
    if isinstance(value, dict):
        if set(value) == {"height", "width"}:
            return _whole(value["height"], f"{name}.height"), _whole(value["width"], f"{name}.width")
        if set(value) == {"shortest_edge"}:
            return (_whole(value["shortest_edge"], f"{name}.shortest_edge"),)
    elif isinstance(value, int) and not isinstance(value, bool):
        edge = _whole(value, name)
        return (edge, edge) if square else (edge,)
    elif isinstance(value, list):
        return _size(value, name)
    raise InvalidField(f"{name} is {shown(value)}: expected height and width, or shortest_edge")


def _numbers(values: JsonObject, efficientnet: bool) -> dict[str, object]:
    """mean, std and rescale, as one formula."""
    rescale: object = values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1.0
    mean: object = [0.0] * 3
    std: object = [1.0] * 3
    if values.get("do_normalize", True):
        if missing := [name for name in ("image_mean", "image_std") if name not in values]:
            raise InvalidField(f"{', '.join(missing)} must be given")
        mean, std = values["image_mean"], values["image_std"]
    if efficientnet:  # pixel * rescale - 1; and, for ImageNet's classifier, divided by std a second time
        mean, std = _three(mean, "image_mean"), _three(std, "image_std")
        if values.get("rescale_offset", False):
            mean = [value + 1.0 for value in mean]
        if values.get("include_top", True):
            again = _three(values.get("image_std"), "image_std")
            std = [first * second for first, second in zip(std, again, strict=True)]
    return {"mean": mean, "std": std, "rescale": rescale}


def _three(value: object, name: str) -> list[float]:
    found = read_value(tuple[float, float, float], value, name)
    return [float(number) for number in found] if isinstance(found, tuple) else []


def _preprocessing(values: Mapping[str, object], channels: str, layout: str) -> Preprocessing:
    """With numbers as floats: 1 and 1.0 are one recipe."""
    rescale = values["rescale"]
    if not isinstance(rescale, int | float) or isinstance(rescale, bool):
        raise InvalidField(f"rescale is {shown(rescale)}: expected a number")
    if channels not in CHANNELS:
        raise InvalidField(f"channels is {shown(channels)}: expected one of {', '.join(CHANNELS)}")
    return Preprocessing.from_dict(
        {
            "mean": _three(values["mean"], "mean"),
            "std": _three(values["std"], "std"),
            "rescale": float(rescale),
            "channels": channels,
            "layout": layout,
        }
    )


def _fitting(
    preprocessing: Preprocessing,
    size: tuple[int, int],
    resize: str,
    resize_to: tuple[int, ...],
    prefix_tokens: int | None = None,
) -> Processor:
    """The processor, with equal sizes as a stretch."""
    if resize_to == size:
        resize_to = ()
    crop = "center" if resize_to else "stretch"
    require_crop(size, crop, resize_to)
    return Processor(preprocessing, size, resize, crop, resize_to, prefix_tokens)


def _size(value: object, name: str) -> tuple[int, int]:
    if isinstance(value, list):
        if len(value) != 2:
            raise InvalidField(f"{name} is {shown(value)}: expected height and width")
        return _whole(value[0], name), _whole(value[1], name)
    return _whole(value, name), _whole(value, name)


def _whole(value: object, name: str, least: int = 1) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= MOST_PIXELS:
        raise InvalidField(f"{name} is {shown(value)}: expected a whole number from {least} to {MOST_PIXELS:,}")
    return value


def unusable(name: str, error: InvalidField) -> UsageError:
    """The error for a description of preprocessing that cannot be used; `name` is the file's."""
    return UsageError(
        f"{name}: {error}. Write the model's preprocessing into a file such as the following, and name it with "
        "--preprocessing FILE.toml",
        EXAMPLE,
    )
