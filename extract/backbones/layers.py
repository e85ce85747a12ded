"""Listing the layers that a network can be cut at."""

import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from extract.backbones.file_backbone import ONNX as ONNX_BACKBONE
from extract.backbones.file_backbone import FileBackbone
from extract.backbones.outputs import parse_cut
from extract.backbones.source import HubSource, OnnxSource, find_processor, find_source, says_processor
from extract.backbones.spec import KERAS, TABLE, parse_backbone
from extract.backbones.table import get_backbone
from store.errors import UsageError
from store.preprocessing import Preprocessing
from store.progress import SILENT, Reporter
from store.suggestions import suggest_install


@dataclass(frozen=True)
class CutPoint:
    """A layer and the shape of its output for one image; a layer of a nested model is named `outer/inner`."""

    name: str
    shape: tuple[int, ...]


def list_layers(
    backbone: str | os.PathLike[str], image_size: tuple[int, int] | None = None, reporter: Reporter = SILENT
) -> list[CutPoint]:
    """Every layer that a network can be cut at, in the network's order; of an ONNX model, its outputs.

    Args:
        backbone: the network, as `extract run` takes it.
        image_size: (height, width) in pixels; None for the network's own.
        reporter: with its `debug`, libraries' messages are shown.

    Raises:
        UsageError: there is no such network, or it cannot take images of that size.
    """
    spec = parse_backbone(backbone)
    if spec.kind not in (TABLE, KERAS):
        source = find_source(spec, reporter)
        if isinstance(source, HubSource):
            return _hub_layers(source, image_size, reporter)
        return _onnx_layers(source, image_size)
    from extract.runtimes.backend import start_keras

    known = get_backbone(spec.place) if spec.kind == TABLE else None
    start_keras(reporter.debug)
    from extract.backbones.build import build, cut_points
    from extract.backbones.keras_file import load_keras_file

    network = build(known, image_size or known.size) if known else load_keras_file(Path(spec.place))
    return [CutPoint(name, shape) for name, shape in cut_points(network)]


def _hub_layers(source: HubSource, image_size: tuple[int, int] | None, reporter: Reporter) -> list[CutPoint]:
    from extract.runtimes.backend import start_keras

    start_keras(reporter.debug)
    from extract.backbones.build import cut_points
    from extract.backbones.keras_hub_load import load_keras_hub

    known = find_processor(source).image_size if says_processor(source) else source.network.image_size
    network = load_keras_hub(source.network.weights, image_size or known)
    named = [port.name for port in source.network.ports]
    return [CutPoint(name, shape) for name, shape in cut_points(network) if parse_cut(name, named) is not None]


def _onnx_layers(source: OnnxSource, image_size: tuple[int, int] | None) -> list[CutPoint]:
    if importlib.util.find_spec("openvino") is None:
        raise UsageError(f"OpenVINO reads ONNX models, and is not installed: {suggest_install('stillframe[openvino]')}")
    from extract.runtimes.onnx_graph import cut_shapes
    from extract.runtimes.onnx_model import OnnxModel

    layout = source.layout or "nchw"
    size = image_size or _size(source, layout)
    prefix = source.outputs.prefix_tokens if source.outputs else 0
    unchanged = Preprocessing((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), 1.0, layout=layout)  # shapes do not depend on it
    backbone = FileBackbone(ONNX_BACKBONE, unchanged, prefix)
    found = cut_shapes(OnnxModel(source.file, source.pixels, backbone, size))
    return [CutPoint(name, shape) for name, shape in found if source.outputs or not name.endswith(".patches")]


def _size(source: OnnxSource, layout: str) -> tuple[int, int]:
    """The size of a model's images: what it has fixed, or else what its folder says."""
    axes = source.pixels.shape or (None,) * 4
    height, width = axes[2:] if layout == "nchw" else axes[1:3]
    if height is not None and width is not None:
        return height, width
    if says_processor(source):
        return find_processor(source).image_size
    raise UsageError(f"{source.name} takes images of several sizes: say which with --image-size")
