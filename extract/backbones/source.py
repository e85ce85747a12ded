"""A model as --backbone names it: an ONNX file, or a folder with one or with weights for keras-hub, and what the folder says."""

import os
from dataclasses import dataclass
from pathlib import Path

from extract.backbones.families import TokenOutputs
from extract.backbones.file_backbone import KERAS_HUB
from extract.backbones.folder import CONVERTER, PROCESSOR, ModelFolder, read_folder
from extract.backbones.hub import find_hub
from extract.backbones.hub_model import HubModel
from extract.backbones.image_converter import from_image_converter
from extract.backbones.keras_hub_model import CONFIG, HubNetwork, describe
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


@dataclass(frozen=True)
class HubSource:
    """A network that keras-hub builds, and the folder that it is from."""

    network: HubNetwork
    folder: ModelFolder

    @property
    def name(self) -> str:
        """For messages."""
        return self.network.name

    @property
    def layout(self) -> str:
        """The order of the input's axes."""
        return "nhwc"


def find_source(spec: BackboneSpec, reporter: Reporter = SILENT) -> OnnxSource | HubSource:
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
    if folder is not None and folder.kind == KERAS_HUB:
        return HubSource(describe(folder.model, folder.config), folder)
    file = read_onnx_file(folder.model if folder else Path(spec.place))
    return OnnxSource(file, pixel_input(file), folder)


def find_processor(source: OnnxSource | HubSource, preprocessing: str | os.PathLike[str] | None = None) -> Processor:
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
    if folder is not None and folder.converter is not None:
        return from_image_converter(folder.converter, layout, printable(str(folder.path / CONVERTER)))
    raise missing_preprocessing(source.name)


def says_processor(source: OnnxSource | HubSource) -> bool:
    """Whether a model's folder says how images are prepared."""
    folder = source.folder
    return folder is not None and (
        folder.processor is not None or folder.converter is not None or "pretrained_cfg" in folder.config
    )
