"""The recipe: everything that decides a feature's value, and its fingerprint.

Two features may be compared, joined, or fed to the same head only if their recipes are equal. What
may differ between runs without changing a feature beyond floating-point noise (runtime, device, batch
size, library versions) is not here: it stands in every commit record.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self

ORIENTATION_POLICY = "exif"
"""The EXIF orientation is applied to the pixels, then forgotten."""

BIT_DEPTH_POLICY = "high_byte"
"""Of 16-bit samples the high byte is kept, as libpng's strip_16 and Pillow's RGB decoding do."""


@dataclass(frozen=True)
class Output:
    """One column of features: where the network is cut and what is kept of it.

    `shape` is one row's: (height, width, channels) of a spatial tensor, (channels,) of a vector.
    """

    name: str
    layer: str
    pooling: str
    shape: tuple[int, ...]
    dtype: str

    @property
    def spatial(self) -> bool:
        """Whether a row has more than one axis."""
        return len(self.shape) > 1

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self), "shape": list(self.shape)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The output that `to_dict` wrote."""
        return cls(**{**values, "shape": tuple(values["shape"])})


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

    views: int
    seed: int = 0
    rotation: float = 40.0
    shift: float = 0.2
    shear: float = 0.2
    zoom: float = 0.2
    brightness: float = 0.0
    flip: str = "horizontal"


@dataclass(frozen=True)
class Recipe:
    """What a feature's value depends on, beside the image.

    `weights` is the SHA-256 of the weight arrays, `image_size` is (height, width), `layers` names
    each cut in the backbone and `dtypes` the stored type of each, in the same order.
    """

    backbone: str
    weights: str
    layers: tuple[str, ...]
    pooling: str
    image_size: tuple[int, int]
    resize: str
    crop: str
    background: str
    precision: str
    dtypes: tuple[str, ...]
    fast_decode: bool = False
    augment: Augmentation | None = None
    orientation: str = ORIENTATION_POLICY
    bit_depth: str = BIT_DEPTH_POLICY

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {**asdict(self), "augment": asdict(self.augment) if self.augment else 0}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The recipe that `to_dict` wrote."""
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        augment = plain["augment"]
        return cls(**{**plain, "augment": Augmentation(**augment) if augment else None})

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
        """SHA-256 of the canonical JSON (sorted keys, no spaces) of all fields."""
        canonical = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


def differences(
    stored: Recipe, asked: Recipe, first: str = "the store has", second: str = "this run asks for"
) -> list[str]:
    """One line for each field in which `asked` differs from `stored`; `first` and `second` say whose is whose."""
    lines = []
    for field in fields(Recipe):
        old, new = getattr(stored, field.name), getattr(asked, field.name)
        if old != new:
            lines.append(f"{field.name}: {first} {_shown(old)}, {second} {_shown(new)}")
    return lines


def _shown(value: object) -> str:
    if isinstance(value, Augmentation):
        return ", ".join(f"{name} {setting}" for name, setting in asdict(value).items())
    if isinstance(value, tuple):
        return ("x" if isinstance(value[0], int) else ", ").join(map(str, value))
    text = "none" if value is None else str(value)
    is_digest = isinstance(value, str) and len(value) == 64
    return text[:12] + "…" if is_digest else text
