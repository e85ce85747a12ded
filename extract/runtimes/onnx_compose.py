"""An ONNX model and a head behind it as one file, from uint8 pixels to what the head computes."""

import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from extract.backbones.file_backbone import FileBackbone, recipe_backbone
from extract.backbones.onnx_file import read_onnx_file
from extract.backbones.onnx_input import pixel_input
from extract.backbones.outputs import Cut, parse_cut
from extract.runtimes.onnx_model import OnnxModel
from store.errors import UsageError
from store.files.names import printable
from store.recipe import Output, Recipe

_LEAST_OPERATORS = 13
_OPEN = -1  # the batch
_PREFIX = "stillframe_"


@dataclass(frozen=True)
class HeadPlace:
    """Where a head comes behind a model: the layer whose features it takes, its pooling, and the features' shape."""

    model: OnnxModel
    layer: str
    pooling: str
    shape: tuple[int, ...]


def head_place(recipe: Recipe, output: Output, path: str) -> HeadPlace:
    """The place behind the model of a recipe, whose file is at `path`, for a head on that output.

    Raises:
        UsageError: the model takes batches of one size alone.
    """
    backbone = recipe_backbone(recipe)
    if not isinstance(backbone, FileBackbone):
        raise UsageError(f"{backbone.name} is not an ONNX model")
    file = read_onnx_file(Path(path))
    pixels = pixel_input(file)
    if pixels.shape is not None and pixels.shape[0] is not None:
        raise UsageError(
            f"{printable(path)} takes batches of {pixels.shape[0]} alone, and an exported model takes any: export it with an "
            "open batch axis (dynamic_shapes), extract with that, and fit again"
        )
    model = OnnxModel(file, pixels, backbone, recipe.image_size, _OPEN)
    return HeadPlace(model, output.layer, output.pooling, output.shape)


def compose_openvino(place: HeadPlace, head: Path, out: Path) -> None:
    """Write the whole to `out`, an .xml file, and the .bin beside it; `head` is the head as OpenVINO keeps it.

    Raises:
        UsageError: see `extract.runtimes.onnx_graph.feature_graph`.
    """
    import openvino

    from extract.runtimes.onnx_graph import head_graph
    from extract.runtimes.openvino import openvino_core

    behind = openvino_core().read_model(head)
    graph = head_graph(place.model, place.layer, place.pooling, behind)
    openvino.save_model(graph, out, compress_to_fp16=False)


def compose_onnx(place: HeadPlace, head: Path, out: Path) -> None:
    """Write the whole to `out`, an ONNX model with all weights inside; `head` is the head as ONNX.

    Raises:
        UsageError: the model's operator set is too old.
    """
    onnx = importlib.import_module("onnx")
    whole = onnx.load(str(place.model.file.path))
    operators = _operators(whole)
    if operators < _LEAST_OPERATORS:
        raise UsageError(
            f"{printable(str(place.model.file.path))} has the operator set {operators}: export it with "
            f"{_LEAST_OPERATORS} or a newer one"
        )
    behind = onnx.compose.add_prefix(onnx.load(str(head)), _PREFIX)
    if _operators(behind) != operators:
        behind = importlib.import_module("onnx.version_converter").convert_version(behind, operators)
    before = _Nodes(onnx)
    element = next(
        port.type.tensor_type.elem_type for port in whole.graph.input if port.name == place.model.pixels.name
    )
    before.prepare(place.model, element)
    between = _Nodes(onnx)
    cut = parse_cut(place.layer, [port.name for port in place.model.file.outputs]) or Cut(place.layer)
    between.cut(cut, place, behind.graph.input[0].name)
    height, width = place.model.image_size
    pixels = onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["batch", height, width, 3])
    graph = onnx.helper.make_graph(
        [*before.nodes, *whole.graph.node, *between.nodes, *behind.graph.node],
        "stillframe",
        [pixels],
        list(behind.graph.output),
        [*before.tensors, *whole.graph.initializer, *between.tensors, *behind.graph.initializer],
    )
    domains = {entry.domain or "ai.onnx": entry for entry in (*behind.opset_import, *whole.opset_import)}
    result = onnx.helper.make_model(
        graph, opset_imports=list(domains.values()), functions=[*whole.functions, *behind.functions]
    )
    result.ir_version = max(whole.ir_version, behind.ir_version)
    onnx.checker.check_model(result)
    out.write_bytes(result.SerializeToString())


def _operators(model: Any) -> int:
    """The version of the operator set that a model uses."""
    return int(next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")))


@dataclass
class _Nodes:
    """Nodes in their order, and the constants that they take. Each takes the output of the one before."""

    onnx: Any
    nodes: list[Any] = field(default_factory=list)
    tensors: list[Any] = field(default_factory=list)
    last: str = "pixels"

    def add(self, operator: str, *constants: npt.NDArray[np.generic], **attributes: int | Sequence[int]) -> None:
        """One more node, whose further inputs are constants."""
        number = f"{_PREFIX}{self.last.removeprefix(_PREFIX)}_{operator}"
        names = [f"{number}_{place}" for place in range(len(constants))]
        self.tensors += [
            self.onnx.numpy_helper.from_array(array, name) for array, name in zip(constants, names, strict=True)
        ]
        self.nodes.append(self.onnx.helper.make_node(operator, [self.last, *names], [number], **attributes))
        self.last = number

    def prepare(self, model: OnnxModel, element: int) -> None:
        """From pixels to the model's input; see `store.preprocessing.Preprocessing`."""
        preprocessing = model.backbone.preprocessing
        self.add("Cast", to=self.onnx.TensorProto.FLOAT)
        if preprocessing.channels == "bgr":
            self.add("Gather", np.array([2, 1, 0]), axis=3)
        self.add("Mul", np.array(preprocessing.rescale, np.float32))
        self.add("Sub", np.array(preprocessing.mean, np.float32))
        self.add("Div", np.array(preprocessing.std, np.float32))
        if model.channels_first:
            self.add("Transpose", perm=[0, 3, 1, 2])
        self.add("Cast", to=element)
        self.nodes[-1].output[0] = model.pixels.name

    def cut(self, cut: Cut, place: HeadPlace, target: str) -> None:
        """From an output of the model to the features that a head takes, as `target`."""
        model = place.model
        rank = len(next(port.shape for port in model.file.outputs if port.name == cut.output) or ())
        self.last = cut.output
        self.add("Cast", to=self.onnx.TensorProto.FLOAT)
        if cut.part == "cls":
            self.add("Gather", np.array(0), axis=1)
        elif cut.part:
            start, end, axis = (np.array([number]) for number in (model.backbone.prefix_tokens, 2**31 - 1, 1))
            self.add("Slice", start, end, axis)
            self.add("Transpose", perm=[0, 2, 1])
        if cut.part == "mean":
            self.add("GlobalAveragePool")
            self.add("Flatten")
        spatial = cut.part == "patches" or rank == 4
        if spatial and place.pooling != "none":
            if rank == 4 and not model.channels_first:
                self.add("Transpose", perm=[0, 3, 1, 2])
            self.add("GlobalAveragePool" if place.pooling == "avg" else "GlobalMaxPool")
            self.add("Flatten")
        elif cut.part == "patches":
            rows, columns = place.shape[:2]
            self.add("Transpose", perm=[0, 2, 1])
            self.add("Reshape", np.array([0, rows, columns, -1]))
        elif rank == 4 and model.channels_first:
            self.add("Transpose", perm=[0, 2, 3, 1])
        self.nodes[-1].output[0] = target
