"""A network from a model file: what it takes to load it beside the file, and its content's digest."""

from dataclasses import dataclass
from pathlib import Path

from extract.backbones.keras_hub_model import read_network
from extract.backbones.onnx_file import read_onnx_file
from extract.backbones.table import Backbone, get_backbone
from store.errors import UsageError
from store.files.digest import require_sha256
from store.preprocessing import Preprocessing
from store.recipe import Recipe

ONNX, KERAS, KERAS_HUB = "onnx", "keras", "keras_hub"
KINDS = {ONNX: "the ONNX model", KERAS: "the Keras model", KERAS_HUB: "the network of keras-hub"}
"""The names that model files have as backbones in recipes, and what people call them; the digest says which model it is."""


@dataclass(frozen=True)
class FileBackbone:
    """A network from a model file; where the file is, `extract.backbones.weights.Weights` says.

    Attributes:
        name: onnx, keras or keras_hub.
        preprocessing: from pixels to its input.
        prefix_tokens: how many of its tokens come before those of the patches, where an output depends on it.
    """

    name: str
    preprocessing: Preprocessing
    prefix_tokens: int = 0


AnyBackbone = Backbone | FileBackbone


def recipe_backbone(recipe: Recipe) -> AnyBackbone:
    """The network that a recipe names.

    Raises:
        UsageError: there is no such network in the table.
    """
    if recipe.backbone in KINDS and recipe.preprocessing is not None:
        return FileBackbone(recipe.backbone, recipe.preprocessing, recipe.prefix_tokens)
    return get_backbone(recipe.backbone)


def table_backbone(recipe: Recipe, purpose: str) -> Backbone:
    """The network of the table that a recipe names.

    Raises:
        UsageError: it names a model file, which `purpose` cannot be done with.
    """
    backbone = recipe_backbone(recipe)
    if isinstance(backbone, FileBackbone):
        raise UsageError(
            f"{purpose} needs a network that `extract backbones` lists: these features are of a model file ({backbone.name})"
        )
    return backbone


def model_digest(backbone: FileBackbone, path: str) -> str:
    """SHA-256 of a model file, with the files that it keeps its weights in.

    Raises:
        UsageError, UnsafeFile: it is not such a model.
        EnvironmentFailure: it cannot be read now.
    """
    if backbone.name == ONNX:
        return read_onnx_file(Path(path)).digest()
    if backbone.name == KERAS_HUB:
        return read_network(Path(path)).digest()
    return require_sha256(Path(path))


def shown_name(backbone: str) -> str:
    """The name to print for a backbone that has this name in recipes."""
    return KINDS.get(backbone, backbone)
