"""The processor of a keras-hub preset, from its image_converter.json: pixels * scale + offset, and how they are resized.

The fields are the arguments of `keras_hub.layers.ImageConverter`. Its filters are not antialiased unless it says so; ours are
Pillow's, which are, as for every other network.
"""

from typing import Annotated

from extract.backbones.processor import Processor, unusable
from store.choices import MOST_PIXELS, RESIZES
from store.json_values import JsonObject
from store.preprocessing import Preprocessing
from store.schema import InvalidField, OneOf, Range, read_value, shown


def from_image_converter(values: JsonObject, layout: str, name: str) -> Processor:
    """The processor that an image_converter.json describes.

    Args:
        values: the file's content.
        layout: of the model's input.
        name: the file's, for messages.

    Raises:
        UsageError: a value is missing or of another kind.
    """
    try:
        inner = values.get("config")
        if not isinstance(inner, dict):
            raise InvalidField(f"config is {shown(inner)}: expected an object")
        size = read_value(Annotated[tuple[int, int], Range(1, MOST_PIXELS)], inner.get("image_size"), "image_size")
        if not isinstance(size, tuple):
            raise InvalidField(f"image_size is {shown(size)}: expected height and width")
        scale, offset = _three(inner.get("scale"), 1.0, "scale"), _three(inner.get("offset"), 0.0, "offset")
        if 0 in scale:
            raise InvalidField(f"scale is {list(scale)}: expected numbers other than 0")
        # pixels * scale + offset = (pixels - mean) / std
        std = [1 / factor for factor in scale]
        mean = [-shift / factor for shift, factor in zip(offset, scale, strict=True)]
        preprocessing = Preprocessing.from_dict({"mean": mean, "std": std, "rescale": 1.0, "layout": layout})
        resize = read_value(Annotated[str, OneOf(RESIZES)], inner.get("interpolation", "bilinear"), "interpolation")
        crop = (
            "pad"
            if inner.get("pad_to_aspect_ratio")
            else "center"
            if inner.get("crop_to_aspect_ratio", True)
            else "stretch"
        )
        return Processor(preprocessing, (size[0], size[1]), str(resize), crop)
    except InvalidField as error:
        raise unusable(name, error) from error


def _three(value: object, default: float, name: str) -> tuple[float, ...]:
    """A number for each channel, from one or three of them."""
    if value is None:
        return (default,) * 3
    numbers = value if isinstance(value, list) else [value] * 3
    found = read_value(tuple[float, float, float], numbers, name)
    return tuple(float(number) for number in found) if isinstance(found, tuple) else ()
