"""The recipe: everything that decides a feature's value, and its fingerprint.

Two features may be compared, joined, or fed to the same head only if their recipes are equal. What
may differ between runs without changing a feature beyond floating-point noise (runtime, device, batch
size, library versions) is not here: it is in every commit record.

A field that is added after version 0.5.0 is left out of the JSON, and so of the fingerprint, where it has its default:
then the recipes of older stores and heads keep the fingerprints that they have. The fields of 0.5.0 are always there.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Annotated, Self

from store.choices import (
    CROPS,
    FLIPS,
    INT8,
    MOST_ALTERED,
    MOST_PIXELS,
    MOST_VIEWS,
    POOLINGS,
    PRECISIONS,
    RESIZES,
    STORED_DTYPES,
)
from store.errors import NotAStore
from store.json_values import as_object
from store.preprocessing import Preprocessing, require_crop
from store.quantization import Quantization
from store.schema import InvalidField, Like, OneOf, Range, Sha256, read_fields, shown

ORIENTATION_POLICY = "exif"
"""The EXIF orientation is applied to the pixels, then forgotten."""

BIT_DEPTH_POLICY = "high_byte"
"""Of 16-bit samples the high byte is kept, as libpng's strip_16 and Pillow's RGB decoding do."""


_MOST_AXIS = 2**31 - 1
_MOST_ROW_BYTES = 2**32 - 1
"""HDF5 cannot store a larger chunk, and a chunk is one row."""

_Name = Annotated[str, Like(".{1,1000}", "a name of at most 1,000 characters")]
_Dtype = OneOf(STORED_DTYPES)


@dataclass(frozen=True)
class Output:
    """One column of features: where the network is cut and what is kept of it.

    `shape` is one row's: (height, width, channels) of a spatial tensor, (channels,) of a vector.
    """

    name: _Name
    layer: str
    pooling: Annotated[str, OneOf(POOLINGS)]
    shape: Annotated[tuple[int, ...], Range(1, _MOST_AXIS)]
    dtype: Annotated[str, _Dtype]

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's feature, decoded."""
        return math.prod(self.shape) * (2 if self.dtype == "float16" else 4)

    @property
    def spatial(self) -> bool:
        """Whether a row has more than one axis."""
        return len(self.shape) > 1

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object], within: str = "") -> Self:
        """The output that `to_dict` wrote.

        Raises:
            InvalidField: it is not; in messages its name follows `within`.
        """
        output = read_fields(cls, values, within=within)
        if not output.shape or output.row_bytes > _MOST_ROW_BYTES:
            raise InvalidField(
                f"{within}shape is {shown(list(output.shape))}: expected a shape of one row, {_MOST_ROW_BYTES:,} bytes "
                "at most"
            )
        return output


def stored_dtype(dtype: str, spatial: bool) -> str:
    """The stored type that `dtype` means; auto is float16 for spatial tensors, float32 for vectors: every reader has it."""
    if dtype != "auto":
        return dtype
    return "float16" if spatial else "float32"


@dataclass(frozen=True)
class Augmentation:
    """Altered views of each image that are stored beside the unaltered one; each range is drawn from evenly.

    `views` is how many, `seed` that of all draws. `rotation` is in degrees, either way; `shift` a fraction of height
    and of width; `shear` the tangent of the angle; `zoom` and `brightness` are fractions, more or less than 1; `flip`
    is none, horizontal, vertical or both, each made of every second view.
    """

    views: Annotated[int, Range(1, MOST_VIEWS)]
    seed: Annotated[int, Range(0)] = 0
    rotation: Annotated[float, Range(0, MOST_ALTERED["rotation"])] = 40.0
    shift: Annotated[float, Range(0, MOST_ALTERED["shift"])] = 0.2
    shear: Annotated[float, Range(0, MOST_ALTERED["shear"])] = 0.2
    zoom: Annotated[float, Range(0, MOST_ALTERED["zoom"])] = 0.2
    brightness: Annotated[float, Range(0, MOST_ALTERED["brightness"])] = 0.0
    flip: Annotated[str, OneOf(FLIPS)] = "horizontal"


@dataclass(frozen=True)
class Recipe:
    """What a feature's value depends on, beside the image.

    `weights` is the SHA-256 of the weight arrays, `image_size` is (height, width), `layers` names
    each cut in the backbone and `dtypes` the stored type of each, in the same order. The backbones onnx and keras are
    models from files: `weights` is the digest of the whole model, and `preprocessing` says how its input is computed
    (None for the networks of the table, which have their own). With crop center, `resize_to` is what an image is resized
    to before its center is cut out: (R,) its shortest edge, (height, width) both edges; empty: the largest part of the
    right shape is cut out and resized. `prefix_tokens` is how many tokens come before those of the patches, where the
    mean or the grid of patch tokens is taken. `quantization` says which quantized network computes with precision int8.
    """

    backbone: _Name
    weights: Sha256
    layers: tuple[str, ...]
    pooling: Annotated[str, OneOf(POOLINGS)]
    image_size: Annotated[tuple[int, int], Range(1, MOST_PIXELS)]
    resize: Annotated[str, OneOf(RESIZES)]
    crop: Annotated[str, OneOf(CROPS)]
    background: Annotated[str, Like("#[0-9a-f]{6}", "a color as #rrggbb")]
    precision: Annotated[str, OneOf(PRECISIONS)]
    dtypes: Annotated[tuple[str, ...], _Dtype]
    fast_decode: bool = False
    augment: Augmentation | None = None
    orientation: Annotated[str, OneOf((ORIENTATION_POLICY,))] = ORIENTATION_POLICY
    bit_depth: Annotated[str, OneOf((BIT_DEPTH_POLICY,))] = BIT_DEPTH_POLICY
    preprocessing: Preprocessing | None = None
    resize_to: Annotated[tuple[int, ...], Range(1, MOST_PIXELS)] = ()
    prefix_tokens: Annotated[int, Range(0, MOST_PIXELS)] = 0
    quantization: Quantization | None = None

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values, without later fields that have their default."""
        values = {**_written(self), "augment": _written(self.augment) if self.augment else 0}
        if self.preprocessing:
            values["preprocessing"] = self.preprocessing.to_dict()
        if self.quantization:
            values["quantization"] = self.quantization.to_dict()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, object], within: str = "") -> Self:
        """The recipe that `to_dict` wrote.

        Raises:
            NotAStore: it has fields that this version does not know, so its features mean something else.
            InvalidField: a field is missing or not what it has to be; in messages its name follows `within`.
        """
        _require_known(cls, values)
        missing = _RECIPE_OF_0_5_0 - set(values)
        if missing:
            raise InvalidField(f"{within}{min(missing)} is missing: expected all fields of a recipe")
        augment = values["augment"]
        made: dict[str, object] = {"augment": None}
        if isinstance(augment, dict):
            _require_known(Augmentation, augment)
            made = {"augment": read_fields(Augmentation, augment, within=f"{within}augment.")}
        elif augment != 0 or isinstance(augment, bool):
            raise InvalidField(f"{within}augment is {shown(augment)}: expected 0 or an object")
        if "preprocessing" in values:
            described = as_object(values["preprocessing"], f"{within}preprocessing")
            made["preprocessing"] = Preprocessing.from_dict(described, f"{within}preprocessing.")
        if "quantization" in values:
            described = as_object(values["quantization"], f"{within}quantization")
            made["quantization"] = Quantization.from_dict(described, f"{within}quantization.")
        recipe = read_fields(cls, values, made, within)
        if (recipe.precision == INT8) != (recipe.quantization is not None):
            raise InvalidField(
                f"{within}precision is {recipe.precision}: expected int8 with quantization, and only there"
            )
        require_crop(recipe.image_size, recipe.crop, recipe.resize_to)
        return recipe

    @property
    def views(self) -> int:
        """How many rows each image has: the unaltered view, number 0, and the altered ones."""
        return 1 + (self.augment.views if self.augment else 0)

    @property
    def unaltered(self) -> "Recipe":
        """The recipe of view 0 alone."""
        return replace(self, augment=None)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical JSON (sorted keys, no spaces) of `to_dict`."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


_RECIPE_OF_0_5_0 = frozenset(
    [
        "backbone",
        "weights",
        "layers",
        "pooling",
        "image_size",
        "resize",
        "crop",
        "background",
        "precision",
        "dtypes",
        "fast_decode",
        "augment",
        "orientation",
        "bit_depth",
    ]
)
_AUGMENTATION_OF_0_5_0 = frozenset(["views", "seed", "rotation", "shift", "shear", "zoom", "brightness", "flip"])


def _written(values: Recipe | Augmentation) -> dict[str, object]:
    """The fields that are written: those of 0.5.0, and later ones that do not have their default."""
    always = _RECIPE_OF_0_5_0 if isinstance(values, Recipe) else _AUGMENTATION_OF_0_5_0
    found = {field.name: (getattr(values, field.name), field.default) for field in fields(values)}
    return {name: value for name, (value, default) in found.items() if name in always or value != default}


def _require_known(kind: type[Recipe | Augmentation], values: Mapping[str, object]) -> None:
    unknown = set(values) - {field.name for field in fields(kind)}
    if unknown:
        raise NotAStore(
            f"the recipe has {', '.join(sorted(unknown))}, which this version does not know: it was made by a newer "
            "version of Stillframe; use that one"
        )


def differences(
    stored: Recipe, asked: Recipe, first: str = "the store has", second: str = "this run asks for"
) -> list[str]:
    """One line for each field in which `asked` differs from `stored`; `first` and `second` introduce the two values."""
    lines = []
    for field in fields(Recipe):
        old, new = getattr(stored, field.name), getattr(asked, field.name)
        if old != new:
            lines.append(f"{field.name}: {first} {_shown(old)}, {second} {_shown(new)}")
    return lines


def _shown(value: object) -> str:
    if isinstance(value, Augmentation):
        return ", ".join(f"{name} {setting}" for name, setting in asdict(value).items())
    if isinstance(value, Preprocessing | Quantization):
        return value.sentence
    if isinstance(value, tuple) and value:
        return ("x" if isinstance(value[0], int) else ", ").join(map(str, value))
    text = "none" if value in (None, ()) else str(value)
    is_digest = isinstance(value, str) and len(value) == 64
    return text[:12] + "…" if is_digest else text
