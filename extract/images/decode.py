"""From an image file's bytes to uint8 RGB pixels of the recipe's size.

The rules, which are part of the recipe:

- the content decides the format, not the file's ending; an animation or a multi-page file gives its first image;
- EXIF orientation is applied to the pixels;
- 16-bit samples keep their high byte; 32-bit integer and float samples have no agreed range and are refused;
- grey, palette, CMYK and YCbCr become RGB as Pillow converts them;
- transparency is composited over the background color, before resizing;
- resizing is done on uint8 with Pillow's antialiased filters (`nearest` is not antialiased);
- with a size to resize to before the center is cut out, sides and offsets are rounded down, as the image processors of
  Hugging Face transformers that work with Pillow do (image_transforms.py, get_resize_output_image_size, center_crop);
- with fast decoding, the JPEG decoder first scales a large image down, to no less than twice the final size.
"""

import logging
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageColor, ImageOps, UnidentifiedImageError

from extract.bad_image import BadImage
from extract.images.alpha import with_right_alpha
from extract.images.formats import is_truncated, open_image, require_few_pixels
from extract.images.kinds import kind_of
from extract.images.memory import MemoryBudget, decoding_bytes
from extract.images.tiff import high_bytes, silent_libtiff
from extract.process_state import SharedBlock, logger_levels
from store.errors import EnvironmentFailure, UsageError
from store.recipe import Recipe

RESIZE_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "area": Image.Resampling.BOX,
}

WHOLE = "whole"

_ORIENTATION_TAG = 0x0112
_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_THE_SIDE = (5, 6, 7, 8)
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_UNLIMITED = MemoryBudget(2**63)


@dataclass(frozen=True)
class DecodePolicy:
    """How pixels are made from an image.

    Attributes:
        size: (height, width) of the result.
        resize: a key of RESIZE_FILTERS.
        crop: one of CROPS; or WHOLE, which is for people: the result has the image's shape and fits into `size`.
        background: the color under transparency and around padding, an RGB triple.
        max_pixels: images with more pixels are refused by their header.
        fast: whether the JPEG decoder may scale a large image down.
        resize_to: with the crop center, (R,) or (height, width) that an image is resized to first; see
            `store.recipe.Recipe`.
    """

    size: tuple[int, int]
    resize: str
    crop: str
    background: tuple[int, int, int]
    max_pixels: int
    fast: bool = False
    resize_to: tuple[int, ...] = ()


def decode_policy(recipe: Recipe, max_pixels: int) -> DecodePolicy:
    """How a recipe makes pixels from an image of at most `max_pixels`."""
    return DecodePolicy(
        recipe.image_size,
        recipe.resize,
        recipe.crop,
        parse_color(recipe.background),
        max_pixels,
        recipe.fast_decode,
        recipe.resize_to,
    )


@dataclass(frozen=True)
class Decoded:
    """`pixels`: uint8, (height, width, 3) of the policy's size; `width` and `height` are the source's, upright."""

    pixels: npt.NDArray[np.uint8]
    width: int
    height: int


def parse_color(text: str) -> tuple[int, int, int]:
    """An RGB triple from a CSS color name, `#rrggbb` or `rgb(r, g, b)`.

    Raises:
        UsageError: it is not one of these.
    """
    try:
        red, green, blue, *_ = ImageColor.getrgb(text)
    except ValueError:
        raise UsageError(f"unknown color {text!r}: expected a name such as white, or #rrggbb") from None
    return red, green, blue


@contextmanager
def _pillow_limits_off() -> Iterator[None]:
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings(), logger_levels(logging.CRITICAL, "PIL"), silent_libtiff():
            warnings.filterwarnings("ignore", module="PIL")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


_WITHOUT_LIMITS = SharedBlock(_pillow_limits_off)


def without_pillow_limits() -> SharedBlock:
    """Switch off Pillow's size limit and its messages inside the block: `max_pixels` and failure rows take their place.

    Blocks may overlap, in one thread or in several.
    """
    return _WITHOUT_LIMITS


def decode(data: bytes, policy: DecodePolicy, memory: MemoryBudget = _UNLIMITED) -> Decoded:
    """Decode one image by this module's rules, once the memory that it takes is free.

    Raises:
        BadImage: not_an_image, too_many_pixels, truncated, corrupt, unsupported_pixels, out_of_memory, needs_extra or
            unsupported_format.
    """
    try:
        opened = open_image(data, policy.max_pixels)
        with opened.image as image:
            width, height = image.size
            if policy.fast and image.format == "JPEG":
                _draft(image, (policy.resize_to[0], policy.resize_to[-1]) if policy.resize_to else policy.size)
            with memory.reserve(decoding_bytes(image)):
                opened.load()
                require_few_pixels(*image.size, policy.max_pixels)  # an extra may find another size than its header has
                orientation = _orientation(image)
                pixels = _pixels(with_right_alpha(image, opened.data), orientation, policy)
                return Decoded(pixels, *((height, width) if orientation in _ON_THE_SIDE else (width, height)))
    except BadImage:
        raise
    except UnidentifiedImageError:
        kind = kind_of(data)
        found = f"it is {kind}" if kind else "the content is not recognized as any type of file"
        raise BadImage("not_an_image", f"not a known image format: {found}") from None
    except Image.DecompressionBombError as error:  # outside `without_pillow_limits`, Pillow's own limit holds
        raise BadImage("too_many_pixels", str(error)) from None
    except MemoryError:
        raise EnvironmentFailure(
            f"not enough memory to decode an image of {len(data):,} bytes: free some, use fewer --workers, or refuse large "
            "images with --max-pixels, then run the same command again"
        ) from None
    except (struct.error, IndexError):  # of what is read here, before Pillow does
        raise BadImage("truncated", "the image ends in the middle") from None
    except Exception as error:  # Pillow's plugins raise nearly everything on damaged files
        code = "truncated" if is_truncated(error) else "corrupt"
        raise BadImage(code, f"the image is damaged: {str(error) or type(error).__name__}") from error


def _pixels(image: Image.Image, orientation: int, policy: DecodePolicy) -> npt.NDArray[np.uint8]:
    upright = image.transpose(_TRANSPOSITIONS[orientation]) if orientation in _TRANSPOSITIONS else image
    return np.asarray(_fit(_to_rgb(upright, policy.background), policy))


def _draft(image: Image.Image, size: tuple[int, int]) -> None:
    """Have a JPEG decoded at a half, a quarter or an eighth of its size, at least twice `size` on both sides."""
    height, width = size
    if _orientation(image) in _ON_THE_SIDE:
        height, width = width, height
    image.draft(None, (2 * width, 2 * height))


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) to 8."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # noqa: BLE001  unreadable EXIF says nothing about orientation; the pixels are fine
        return 1
    return orientation if isinstance(orientation, int) else 1


def _to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode in _SIXTEEN_BITS or (image.mode == "I" and image.format == "PPM"):
        grey = Image.fromarray(high_bytes(image)).convert("RGB")
        if isinstance(transparent := image.info.get("transparency"), int):
            grey.paste(background, mask=Image.fromarray(np.asarray(image) == transparent))
        return grey
    if image.mode in ("I", "F"):
        raise BadImage(
            "unsupported_pixels",
            f"pixels of mode {image.mode} (32 bits) have no agreed range: convert the image to 8 or 16 bits a sample",
        )
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        canvas = Image.new("RGB", rgba.size, background)
        canvas.paste(rgba, mask=rgba)
        return canvas
    return image.convert("RGB")


def _fit(image: Image.Image, policy: DecodePolicy) -> Image.Image:
    height, width = policy.size
    resample = RESIZE_FILTERS[policy.resize]
    if policy.crop == WHOLE:
        scale = min(1.0, width / image.width, height / image.height)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        return image if size == image.size else image.resize(size, resample)
    if policy.resize_to:
        return _center(_resized_first(image, policy, resample), policy.size)
    if policy.crop == "center":
        return ImageOps.fit(image, (width, height), resample)
    if policy.crop == "pad":
        return ImageOps.pad(image, (width, height), resample, color=policy.background)
    return image if image.size == (width, height) else image.resize((width, height), resample)


def _resized_first(image: Image.Image, policy: DecodePolicy, resample: Image.Resampling) -> Image.Image:
    """The image at the size that its center is cut out of.

    Raises:
        BadImage: it is so narrow that it would have too many pixels then.
    """
    width, height = image.size
    if len(policy.resize_to) == 2:
        height, width = policy.resize_to
    else:
        edge = policy.resize_to[0]
        # In this order of operations, so that the quotient is rounded down as the reference does it.
        short, long = min(width, height), int(edge * max(width, height) / min(width, height))
        width, height = (edge, long) if width == short else (long, edge)
        require_few_pixels(width, height, policy.max_pixels)
    return image if image.size == (width, height) else image.resize((width, height), resample)


def _center(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    left, top = (image.width - size[1]) // 2, (image.height - size[0]) // 2
    return image.crop((left, top, left + size[1], top + size[0]))
