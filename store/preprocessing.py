"""What a network's input is made of, as data: how pixels become numbers.

The networks of the table have theirs built in. A network from a file comes with this, and recipes name it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Self

from store.schema import InvalidField, OneOf, Range, read_fields

CHANNELS = ("rgb", "bgr")
LAYOUTS = ("nchw", "nhwc")

_MOST = 1e6
_LEAST = 1e-9


@dataclass(frozen=True)
class Preprocessing:
    """From uint8 pixels to a network's input: (pixel * rescale - mean) / std, for each channel.

    Attributes:
        mean: of each channel, after the scaling, in the order of `channels`.
        std: likewise.
        rescale: what pixels of 0 to 255 are multiplied with.
        channels: the order in which the network takes them, rgb or bgr.
        layout: the order of the input's axes, nchw or nhwc.
    """

    mean: Annotated[tuple[float, float, float], Range(-_MOST, _MOST)]
    std: Annotated[tuple[float, float, float], Range(_LEAST, _MOST)]
    rescale: Annotated[float, Range(_LEAST, _MOST)]
    channels: Annotated[str, OneOf(CHANNELS)] = "rgb"
    layout: Annotated[str, OneOf(LAYOUTS)] = "nchw"

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object], within: str = "") -> Self:
        """The preprocessing that `to_dict` wrote.

        Raises:
            InvalidField: a field is missing, unknown or not what it has to be; its name follows `within`.
        """
        if unknown := set(values) - {"mean", "std", "rescale", "channels", "layout"}:
            raise InvalidField(f"{within}{min(unknown)} is not known: expected mean, std, rescale, channels, layout")
        return read_fields(cls, values, within=within)

    @property
    def sentence(self) -> str:
        """As in `(pixels * 0.0039216 - 0.485, 0.456, 0.406) / 0.229, 0.224, 0.225, rgb, nchw`."""
        mean, std = (", ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        return f"(pixels * {self.rescale:.5g} - ({mean})) / ({std}), {self.channels}, {self.layout}"


def require_crop(image_size: tuple[int, int], crop: str, resize_to: tuple[int, ...]) -> None:
    """Raise InvalidField unless the center of that size can be cut out of an image that is resized so.

    Args:
        image_size: (height, width) of the result.
        crop: one of CROPS.
        resize_to: (R,) for the shortest edge, (height, width) for both; empty for none of them.
    """
    if not resize_to:
        return
    if len(resize_to) > 2 or crop != "center":
        raise InvalidField(
            f"resize_to is {list(resize_to)} with crop {crop}: expected one or two numbers, and crop center"
        )
    if resize_to[0] < image_size[0] or resize_to[-1] < image_size[1]:
        raise InvalidField(
            f"resize_to is {list(resize_to)}, too small to crop {image_size[0]}x{image_size[1]} pixels out of it"
        )
