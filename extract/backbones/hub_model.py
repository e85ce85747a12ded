"""A network of a model hub by its name, and which of its files are downloaded. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from extract.backbones.folder import MODELS
from extract.backbones.preset_file import PRESET_WEIGHTS
from store.errors import UsageError

PREFIX = "hf:"
PRESET_PREFIX, PRESETS_OF = "hub:", "keras"
"""A preset of keras-hub, and the organization that publishes them on the hub."""

_SPEC = re.compile(r"hf:([\w.-]+)/([\w.-]+?)(?:@([\w./-]+))?", re.ASCII)
_DESCRIPTIONS = (
    "config.json",
    "preprocessor_config.json",
    "image_converter.json",
    "LICENSE",
    "LICENSE.txt",
    "LICENSE.md",
)
_SAFETENSORS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".msgpack", ".h5")


@dataclass(frozen=True)
class HubModel:
    """A network of the hub: `repository` is ORG/NAME, `revision` a branch, a tag or a commit."""

    repository: str
    revision: str = "main"

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `hf:ORG/NAME[@REVISION]`, or `hub:PRESET`, which is hf:keras/PRESET.

        Raises:
            UsageError: it is something else.
        """
        preset = text.removeprefix(PRESET_PREFIX)
        found = _SPEC.fullmatch(text if preset == text else f"{PREFIX}{PRESETS_OF}/{preset}")
        parts = found.groups() if found else ()
        if not parts or any(part and set(part.split("/")) & {"", ".", ".."} for part in parts):
            raise UsageError(
                f"{text}: expected hf:ORG/NAME or hf:ORG/NAME@REVISION, as in hf:facebook/dinov2-small, or hub:PRESET"
            )
        return cls(f"{parts[0]}/{parts[1]}", parts[2] or "main")

    def __str__(self) -> str:
        return f"{PREFIX}{self.repository}@{self.revision}"


@dataclass(frozen=True)
class HubFile:
    """A file of a repository: its name, its size in bytes, and the digest that the hub states.

    `sha256` is that of large files; small ones have Git's blob digest, `sha1` of a header and the bytes.
    """

    name: str
    size: int
    sha256: str | None
    sha1: str | None


@dataclass(frozen=True)
class HubFolder:
    """A network on this machine: its folder, and the commit that it was downloaded from."""

    path: Path
    model: HubModel
    commit: str


def needed_files(files: Sequence[HubFile], model: HubModel) -> list[HubFile]:
    """Those files of a repository that make a network: descriptions, and ONNX, or else safetensors, or a preset's weights.

    Raises:
        UsageError: it has neither.
    """
    known = {file.name: file for file in files}
    chosen = [name for name in _DESCRIPTIONS if name in known]
    onnx = next((name for name in MODELS if name in known), None)
    if onnx is not None:
        weights = [name for name in (f"{onnx}_data", f"{onnx}.data") if name in known]
        return [known[name] for name in (*chosen, onnx, *weights)]
    weights = [name for name in known if _SAFETENSORS.fullmatch(name)]
    if not weights and PRESET_WEIGHTS in known:
        weights = [PRESET_WEIGHTS]
    if weights:
        return [known[name] for name in (*chosen, *sorted(weights))]
    pickled = [name for name in known if name.endswith(_PICKLED)]
    instead = f"; {', '.join(pickled[:3])} can run code when loaded, and is never used" if pickled else ""
    raise UsageError(
        f"{model} has none of {', '.join(MODELS)} and model.safetensors{instead}; use a repository that has "
        "one, or export the network to ONNX and name that file"
    )


def is_on_hub(text: str) -> bool:
    """Whether a backbone's spelling names a network of the hub."""
    return text.startswith((PREFIX, PRESET_PREFIX))
