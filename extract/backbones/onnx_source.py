"""An ONNX model as --backbone names it: its file, and the folder that says more about it."""

import os
from dataclasses import dataclass
from pathlib import Path

from extract.backbones.families import TokenOutputs
from extract.backbones.folder import CONFIG, PROCESSOR, ModelFolder, read_folder
from extract.backbones.hub import find_hub
from extract.backbones.hub_model import HubModel
from extract.backbones.onnx_file import OnnxFile, Port, read_onnx_file
from extract.backbones.onnx_input import input_layout, pixel_input
from extract.backbones.processor import (
    Processor,
    from_processor_config,
    from_timm,
    missing_preprocessing,
    read_processor_file,
)
from extract.backbones.spec import FOLDER, HUB, BackboneSpec
from store.files.names import printable
from store.progress import SILENT, Reporter


@dataclass(frozen=True)
class OnnxSource:
    """A model, and what is known about it.

    Attributes:
        file: the model's file.
        pixels: its input that takes images.
        folder: the folder that it is from; None for a file alone.
    """

    file: OnnxFile
    pixels: Port
    folder: ModelFolder | None

    @property
    def name(self) -> str:
        """For messages."""
        return printable(str(self.file.path))

    @property
    def outputs(self) -> TokenOutputs | None:
        """What is known about the outputs of its family."""
        return self.folder.outputs if self.folder else None

    @property
    def layout(self) -> str:
        """Of its input, nchw or nhwc; empty where nothing shows it. Those of transformers' families are all nchw."""
        return input_layout(self.pixels) or ("nchw" if self.outputs else "")

    def says_processor(self) -> bool:
        """Whether its folder says how images are prepared."""
        return self.folder is not None and (self.folder.processor is not None or "pretrained_cfg" in self.folder.config)


def find_onnx(spec: BackboneSpec, reporter: Reporter = SILENT) -> OnnxSource:
    """The model that a backbone's spelling names; one on a hub is downloaded, unless it was before.

    Raises:
        UsageError: it is not one.
        UnsafeFile: its files could run code, or read other files.
        EnvironmentFailure: it cannot be read now.
    """
    folder = None
    if spec.kind in (FOLDER, HUB):
        hub = HubModel(spec.place, spec.revision)
        folder = read_folder(Path(spec.place) if spec.kind == FOLDER else find_hub(hub, reporter).path)
    file = read_onnx_file(folder.model if folder else Path(spec.place))
    return OnnxSource(file, pixel_input(file), folder)


def find_processor(source: OnnxSource, preprocessing: str | os.PathLike[str] | None) -> Processor:
    """How a model's images are prepared: as the file `preprocessing` says, or else the model's folder.

    Raises:
        UsageError: neither says it, or not all of it.
    """
    if preprocessing is not None:
        return read_processor_file(Path(preprocessing), source.layout)
    folder, layout = source.folder, source.layout or "nchw"
    if folder is not None and folder.processor is not None:
        return from_processor_config(folder.processor, layout, printable(str(folder.path / PROCESSOR)))
    if folder is not None and "pretrained_cfg" in folder.config:
        return from_timm(folder.config, layout, printable(str(folder.path / CONFIG)))
    raise missing_preprocessing(source.name)
