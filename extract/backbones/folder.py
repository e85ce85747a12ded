"""A model's folder in Hugging Face layout: config.json, preprocessor_config.json, and the model as ONNX or its weights.

Nothing in it is run. Weights that only a pickle holds, and a config.json that names code (`auto_map`), are refused.
"""

from dataclasses import dataclass
from pathlib import Path

from extract.backbones.families import TokenOutputs, find_family
from extract.backbones.file_backbone import KERAS_HUB, ONNX
from extract.backbones.keras_hub_model import CONFIG, find_weights
from store.errors import UnsafeFile, UsageError
from store.files.disk import unreadable
from store.files.names import printable
from store.json_values import JsonObject, parse

PROCESSOR, CONVERTER = "preprocessor_config.json", "image_converter.json"

MODELS = ("onnx/vision_model.onnx", "onnx/model.onnx", "vision_model.onnx", "model.onnx")
"""Where the model may be, in this order: the image half of models of images and texts comes first."""

_PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth", "model.ckpt", "tf_model.h5")

EXPORT = """\
import torch, transformers

class Outputs(torch.nn.Module):
    names = ("last_hidden_state", "pooler_output")
    def __init__(self, model):
        super().__init__()
        self.model = getattr(model, "vision_model", model)
    def forward(self, pixel_values):
        found = self.model(pixel_values)
        return tuple(found[name] for name in self.names)

model = transformers.AutoModel.from_pretrained(FOLDER)
model.set_attn_implementation("eager")
torch.onnx.export(
    Outputs(model).eval(), (torch.zeros(2, 3, SIZE, SIZE),), FOLDER + "/model.onnx", input_names=["pixel_values"],
    output_names=list(Outputs.names), dynamic_shapes=({0: torch.export.Dim("batch")},), dynamo=True,
    external_data=False)
"""
"""How a folder with other weights gets an ONNX model; docs/networks.md shows the same lines."""


@dataclass(frozen=True)
class ModelFolder:
    """A folder's model, and what is beside it.

    Attributes:
        path: the folder.
        kind: onnx or keras_hub: what the model is.
        model: the ONNX file, or the file of the weights.
        config: the content of config.json.
        processor: the content of preprocessor_config.json; None if there is none.
        converter: that of image_converter.json, which presets of keras-hub have; None if there is none.
        outputs: what is known about the outputs of its family; None for other families.
    """

    path: Path
    kind: str
    model: Path
    config: JsonObject
    processor: JsonObject | None
    converter: JsonObject | None
    outputs: TokenOutputs | None


def read_folder(path: Path) -> ModelFolder:
    """Look at a model's folder.

    Raises:
        UsageError: it is not one, or its model has to be exported to ONNX first: keras-hub does not build it.
        UnsafeFile: it names code to run, or its weights are pickles.
        EnvironmentFailure: it cannot be read now.
    """
    shown = printable(str(path))
    config = _read_json(path / CONFIG)
    if config is None:
        raise UsageError(f"{shown} has no {CONFIG}: expected a model's folder in Hugging Face layout, or a model file")
    onnx = _find_onnx(path)
    processor = _read_json(path / PROCESSOR)
    for name, content in ((CONFIG, config), (PROCESSOR, processor)):
        if content is not None and "auto_map" in content:
            raise UnsafeFile(
                f"{shown}: {name} names code of the model's own to run (auto_map), which is never run: "
                + _way_past_code(onnx)
            )
    kind, model = (ONNX, onnx) if onnx is not None else (KERAS_HUB, find_weights(path, config))
    if model is None:
        raise _without_model(path)
    return ModelFolder(path, kind, model, config, processor, _read_json(path / CONVERTER), find_family(config))


def find_model(path: Path, kind: str) -> Path:
    """The model's file of that kind, from itself or from its folder, which may hold it as ONNX and as weights.

    Raises:
        UsageError, UnsafeFile, EnvironmentFailure: see `read_folder`.
    """
    if not path.is_dir():
        return path
    found = find_weights(path, _read_json(path / CONFIG) or {}) if kind == KERAS_HUB else _find_onnx(path)
    return found if found is not None else read_folder(path).model


def _find_onnx(path: Path) -> Path | None:
    return next((path / name for name in MODELS if (path / name).is_file()), None)


def _way_past_code(model: Path | None) -> str:
    if model is None:
        return "export the model to ONNX where you trust it, and name that file"
    return f"name {printable(str(model))} itself as --backbone, with --preprocessing FILE.toml"


def _without_model(path: Path) -> UsageError:
    shown = printable(str(path))
    if any(path.glob("*.safetensors")):
        return UsageError(
            f"{shown} has its weights as safetensors, of a family that keras-hub does not build, and no ONNX model "
            f"({', '.join(MODELS)}). Export it once, where transformers, torch and onnxscript are installed, with FOLDER and "
            "the images' SIZE filled in",
            EXPORT,
        )
    pickles = [name for name in _PICKLES if (path / name).is_file()]
    if pickles:
        return UnsafeFile(
            f"{shown} has its weights in {pickles[0]}, which can run code when it is loaded and is never opened: get the "
            f"model as safetensors, export it to ONNX, and put it there as {MODELS[1]}"
        )
    return UsageError(f"{shown} holds no model: expected one of {', '.join(MODELS)}")


def _read_json(path: Path) -> JsonObject | None:
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            return parse(file.read(2**20 + 1))
    except ValueError as error:
        raise UsageError(f"{printable(str(path))} {error}") from error
    except OSError as error:
        raise unreadable(error, path) from error
