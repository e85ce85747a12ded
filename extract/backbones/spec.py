"""The one grammar of --backbone: where a network comes from, by how it is written."""

import os
from dataclasses import dataclass

from extract.backbones.hub_model import HubModel, is_on_hub
from extract.backbones.table import BACKBONES, nearest
from store.errors import UsageError
from store.files.names import printable
from store.suggestions import suggest

TABLE, ONNX, KERAS, FOLDER, HUB = "table", "onnx", "keras", "folder", "hf"


@dataclass(frozen=True)
class BackboneSpec:
    """What --backbone names.

    Attributes:
        kind: TABLE, ONNX, KERAS, FOLDER or HUB (of Hugging Face).
        place: the name in the table, the absolute path of a file or folder, or ORG/NAME.
        revision: of a model on a hub.
    """

    kind: str
    place: str
    revision: str = ""


def grammar() -> str:
    """All that --backbone can be, in one line."""
    return (
        f"expected a name that {suggest('extract', 'backbones')} lists; a file ending in .onnx or .keras; a folder in Hugging "
        "Face layout (config.json, preprocessor_config.json, onnx/model.onnx or model.safetensors); hf:ORG/NAME[@REVISION]; or hub:PRESET"
    )


def parse_backbone(text: str | os.PathLike[str]) -> BackboneSpec:
    """What a backbone's spelling names. A name of the table wins over a folder of that name: write ./NAME for that.

    Raises:
        UsageError: it is nothing of these; the grammar is in the message.
    """
    text = os.fspath(text)
    if text in BACKBONES:
        return BackboneSpec(TABLE, text)
    if is_on_hub(text):
        model = HubModel.parse(text)
        return BackboneSpec(HUB, model.repository, model.revision)
    path = os.path.abspath(text)
    if os.path.isdir(text):
        return BackboneSpec(FOLDER, path)
    for kind in (ONNX, KERAS):
        if text.lower().endswith(f".{kind}"):
            if not os.path.isfile(text):
                raise UsageError(f"--backbone {printable(text)}: no such file; {grammar()}")
            return BackboneSpec(kind, path)
    # `unknown backbone` is what a misspelled name of the table gives, with the nearest names.
    raise UsageError(f"unknown backbone {printable(text)!r}{nearest(text, list(BACKBONES))}; {grammar()}")
