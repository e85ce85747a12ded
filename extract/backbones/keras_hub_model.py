"""Networks that keras-hub builds, described without it: folders of transformers with safetensors, and keras-hub's presets.

Only numbers and texts are taken from a description, under the names of `extract.backbones.keras_hub_kinds`, and a network is
never built that has more weights than the folder holds.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from extract.backbones.families import TOKENS, TokenOutputs, find_family
from extract.backbones.keras_hub_kinds import PRESETS, PROJECTED, PROJECTION, SPELLED, TRANSFORMERS, HubKind
from extract.backbones.onnx_file import Port
from extract.backbones.preset_file import PRESET_WEIGHTS, count_arrays, hash_arrays
from extract.backbones.safetensors_file import find_safetensors, hash_tensors, read_safetensors
from store.errors import UnsafeFile, UsageError
from store.files.names import printable
from store.json_values import JsonObject, parse
from store.schema import InvalidField, shown

CONFIG = "config.json"

_MOST_NUMBER = 2**20
_MOST_PAIRS = 2**30  # of tokens, which attention compares: 4 GB


@dataclass(frozen=True)
class HubNetwork:
    """A network that keras-hub builds.

    Attributes:
        weights: model.safetensors, its index, or a preset's model.weights.h5; its folder has the rest.
        kind: how it is built.
        values: of the kind's fields.
        outputs: what is known about its tokens.
        image_size: (height, width) of its own images.
        patch_size: edge of a patch in pixels.
        blocks: how many outputs of blocks can be named.
        pooled: the embeddings of an image that can be named.
    """

    weights: Path
    kind: HubKind
    values: Mapping[str, object]
    outputs: TokenOutputs
    image_size: tuple[int, int]
    patch_size: int
    blocks: int
    pooled: tuple[str, ...]

    @property
    def is_preset(self) -> bool:
        """Whether the folder is a preset of keras-hub."""
        return self.weights.name == PRESET_WEIGHTS

    @property
    def name(self) -> str:
        """For messages."""
        return printable(str(self.weights))

    @property
    def ports(self) -> tuple[Port, ...]:
        """The outputs that can be named: sequences of tokens, and the model's own embedding."""
        tokens = [TOKENS, *(f"block_{number}" for number in range(1, self.blocks + 1))]
        pooled = (Port(name, (None, None)) for name in self.pooled)
        return (*(Port(name, (None, None, None)) for name in tokens), *pooled)

    def digest(self) -> str:
        """SHA-256 of what is computed: the kind, its fields, and all arrays; not of where or in how many files they are.

        Raises:
            UsageError, UnsafeFile, EnvironmentFailure: see `describe`.
        """
        arrays = hash_arrays(self.weights) if self.is_preset else hash_tensors(read_safetensors(self.weights.parent))
        described = {"builder": self.kind.builder, "values": self.values, "arrays": arrays}
        return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()

    def require_size(self, size: tuple[int, int]) -> None:
        """Raise UsageError unless the network takes images of that (height, width)."""
        patch = self.patch_size
        if self.kind.patch_sizes and size[0] == size[1] and size[0] % patch == 0:
            _require_memory(self.name, (size[0] // patch) ** 2)
            return
        if size != self.image_size:
            taken = (
                f"squares of a multiple of {patch}" if self.kind.patch_sizes else "x".join(map(str, self.image_size))
            )
            raise UsageError(
                f"{self.name} takes images of {taken} pixels, and its preprocessing makes {size[0]}x{size[1]}: use the "
                "--preprocessing and --image-size that it was made for"
            )


def find_weights(folder: Path, config: Mapping[str, object]) -> Path | None:
    """The weights that go with a config.json; None if keras-hub builds no such network, or they are not there."""
    if str(config.get("model_type")) in TRANSFORMERS:
        return find_safetensors(folder)
    path = folder / PRESET_WEIGHTS
    return path if str(config.get("class_name")) in PRESETS and path.is_file() else None


def describe(weights: Path, config: JsonObject) -> HubNetwork:
    """The network of a folder's weights and its config.json.

    Raises:
        UsageError: a field is missing, or says what keras-hub does not do.
        UnsafeFile: the description claims more than the arrays hold, or names a class.
        EnvironmentFailure: the arrays cannot be read now.
    """
    try:
        if find_weights(weights.parent, config) != weights:
            raise InvalidField(
                f"it does not describe {weights.name}, or describes a network that keras-hub does not build"
            )
        if weights.name == PRESET_WEIGHTS:
            family, kind, values = _of_preset(config)
            stored, pooled = count_arrays(weights), kind.pooled
        else:
            family, kind, values = _of_transformers(config)
            tensors = read_safetensors(weights.parent)
            stored = sum(math.prod(tensor.shape) for tensor in tensors)
            projected = any(tensor.name == PROJECTION for tensor in tensors)
            pooled = tuple(name for name in kind.pooled if name != PROJECTED or projected)
        plain = {SPELLED.get(name, name): value for name, value in values.items()}
        sizes = _sizes(plain)
        _require_stored(plain, sizes, stored, weights)
    except InvalidField as error:
        raise UsageError(f"{printable(str(weights.parent / CONFIG))}: {error}") from error
    outputs = find_family({"model_type": family, "num_register_tokens": values.get("num_register_tokens", 0)})
    if outputs is None:
        raise AssertionError(family)
    blocks = _whole(plain["num_hidden_layers"], "num_hidden_layers") if kind.blocks else 0
    return HubNetwork(weights, kind, values, outputs, sizes.image, sizes.patch, blocks, pooled)


def read_network(weights: Path) -> HubNetwork:
    """The network of weights whose folder has been looked at before; see `describe`."""
    path = weights.parent / CONFIG
    try:
        return describe(weights, parse(path.read_bytes()))
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{printable(str(path))} {error}") from error
    except OSError as error:
        raise UsageError(f"{printable(str(path))} cannot be read ({error.strerror or error})") from error


def _of_transformers(config: JsonObject) -> tuple[str, HubKind, dict[str, object]]:
    if strange := {"registered_name", "class_name", "module"} & set(config):
        raise UnsafeFile(f"{min(strange)} names a class, beside model_type: expected one of them")
    family = str(config.get("model_type"))
    kind = TRANSFORMERS[family]
    section = config.get(kind.section, {}) if kind.section else config
    if not isinstance(section, dict):
        raise InvalidField(f"{kind.section} is {shown(section)}: expected an object")
    return family, kind, _values(section, kind)


def _of_preset(config: JsonObject) -> tuple[str, HubKind, dict[str, object]]:
    family, kind = PRESETS[str(config.get("class_name"))]
    inner = config.get("config")
    if not isinstance(inner, dict):
        raise InvalidField(f"config is {shown(inner)}: expected an object")
    return family, kind, _values(inner, kind)


def _values(config: Mapping[str, object], kind: HubKind) -> dict[str, object]:
    """The values of a kind's fields: numbers, texts, and lists and objects of numbers."""
    for name, granted in kind.granted.items():
        said = config.get(name)
        if said is not None and said != granted:
            raise InvalidField(
                f"{name} is {shown(said)}, and keras-hub computes {shown(granted)}: export the network to ONNX instead"
            )
    values = {name: config.get(name, default) for name, default in kind.fields.items()}
    for name, value in values.items():
        if value is None:
            raise InvalidField(f"{name} must be given")
        _require_plain(name, value)
    return values


def _require_plain(name: str, value: object) -> None:
    """Raise InvalidField unless a value is a number or a text, or a list or object of numbers and texts."""
    items = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else [value]
    for item in items:
        if isinstance(item, str):
            fine = len(item) < 100 and item.isascii()
        else:
            fine = isinstance(item, bool | int | float) and -1 < item <= _MOST_NUMBER
        if not fine:
            raise InvalidField(f"{name} is {shown(value)}: expected numbers of 0 to {_MOST_NUMBER:,}")


@dataclass(frozen=True)
class _Sizes:
    image: tuple[int, int]
    patch: int


def _sizes(plain: Mapping[str, object]) -> _Sizes:
    image = plain.get("image_shape", plain.get("image_size"))
    edges = list(image)[:2] if isinstance(image, list) else [image, image]
    height, width = (_whole(edge, "image size") for edge in [*edges, None, None][:2])
    patch = plain["patch_size"]
    if isinstance(patch, list):
        patch = patch[0] if len(set(map(str, patch))) == 1 else patch
    return _Sizes((height, width), _whole(patch, "patch_size"))


def _require_stored(plain: Mapping[str, object], sizes: _Sizes, stored: int, weights: Path) -> None:
    """Raise UnsafeFile if a network of these numbers has more weights than the arrays hold: it would fill the memory."""
    if isinstance(depths := plain.get("depths"), list):
        width = _whole(plain["embed_dim"], "embed_dim")
        if len(depths) > 10:
            raise InvalidField(f"depths is {shown(depths)}: expected ten stages at most")
        least = sum(4 * _whole(depth, "depths") * (width * 2**stage) ** 2 for stage, depth in enumerate(depths))
    else:
        width = _whole(plain["hidden_size"], "hidden_size")
        inner = _whole(plain.get("intermediate_size", width), "intermediate_size")
        least = _whole(plain["num_hidden_layers"], "num_hidden_layers") * (4 * width**2 + 2 * width * inner)
    if least > stored:
        raise UnsafeFile(
            f"{printable(str(weights))} has {stored:,} numbers, and {CONFIG} describes a network with more than {least:,}: it is "
            "damaged or made to do harm"
        )
    _require_memory(printable(str(weights)), (sizes.image[0] // sizes.patch) * (sizes.image[1] // sizes.patch))


def _require_memory(name: str, tokens: int) -> None:
    if tokens**2 > _MOST_PAIRS:
        raise UnsafeFile(
            f"{name}: images of {tokens:,} patches would fill the memory, {_MOST_PAIRS:,} pairs at most fit"
        )


def _whole(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST_NUMBER:
        raise InvalidField(f"{name} is {shown(value)}: expected a whole number from 1 to {_MOST_NUMBER:,}")
    return value
