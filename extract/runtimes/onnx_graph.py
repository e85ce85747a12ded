"""An ONNX model as an OpenVINO graph from uint8 pixels to features: preprocessing before it, cuts and pooling behind it.

No other library reads the file. `extract.backbones.onnx_file` has checked it before.
"""

import math
from collections.abc import Sequence

import numpy as np
import openvino
import openvino.opset13 as ops

from extract.backbones.outputs import Cut, parse_cut
from extract.backbones.tokens import find_grid
from extract.runtimes.onnx_model import OnnxModel, why_refused
from extract.runtimes.openvino import openvino_core
from store.errors import UnsafeFile, UsageError
from store.files.names import printable
from store.preprocessing import Preprocessing
from store.recipe import stored_dtype

OPENVINO_ERRORS = (RuntimeError, ValueError, MemoryError)
"""What OpenVINO raises for models that it cannot take; ValueError if a name in its message is not UTF-8."""

_MOST_ELEMENTS = 2**30  # of one tensor: 4 GB


def feature_graph(model: OnnxModel, layers: Sequence[str], pooling: str, dtype: str) -> openvino.Model:
    """Pixels (batch, height, width, 3) -> [tensor, largest magnitude] of each layer; see `extract.runtimes.base.Computed`.

    Args:
        model: the ONNX model.
        layers: as recipes name them, in output order.
        pooling: none, avg or max, applied to spatial outputs.
        dtype: the stored type, or auto.

    Raises:
        UsageError: OpenVINO cannot read it, there is no such layer, or a layer needs more than images.
    """
    pixels, features = _features(model, layers, pooling)
    results = []
    for values in features:
        rank = len(values.get_partial_shape())
        cast = ops.convert(values, "f16" if stored_dtype(dtype, spatial=rank > 2) == "float16" else "f32")
        results += [ops.result(cast.output(0)), ops.result(_largest(values, rank))]
    return openvino.Model(results, [pixels], "stillframe")


def head_graph(model: OnnxModel, layer: str, pooling: str, head: openvino.Model) -> openvino.Model:
    """Pixels -> what `head`, a model of one input and one output, makes of one layer's features.

    Raises:
        UsageError: see `feature_graph`.
    """
    pixels, (values,) = _features(model, [layer], pooling)
    for target in head.input(0).get_target_inputs():
        target.replace_source_output(values)
    return openvino.Model([ops.result(head.outputs[0].get_node().input_value(0))], [pixels], "stillframe")


def cut_shapes(model: OnnxModel) -> list[tuple[str, tuple[int, ...]]]:
    """Every layer that can be named, with the shape of one image's output; those that cannot be taken are left out."""
    found = []
    for port in model.file.outputs:
        try:
            graph = _alone(model, [port.name])
        except UsageError:
            continue
        shape = _shape(graph.outputs[0])
        if len(shape) == 3:
            found += _token_shapes(port.name, shape, model)
        elif len(shape) in (2, 4):
            last = model.channels_first and len(shape) == 4
            found.append((port.name, (*shape[2:], shape[1]) if last else shape[1:]))
    return found


def _token_shapes(name: str, shape: tuple[int, ...], model: OnnxModel) -> list[tuple[str, tuple[int, ...]]]:
    tokens, channels = shape[1:]
    listed = [(Cut(name, part).layer, (channels,)) for part in ("cls", "mean")]
    grid = find_grid(tokens, model.backbone.prefix_tokens, model.image_size)
    return listed + ([(Cut(name, "patches").layer, (*grid.shape, channels))] if grid else [])


def _alone(model: OnnxModel, outputs: Sequence[str]) -> openvino.Model:
    """The model from its images alone to these outputs, of fixed shapes.

    Raises:
        UsageError: OpenVINO cannot read it, or an output needs other inputs than images, or another size.
    """
    shown = printable(str(model.file.path))
    try:
        graph = openvino_core().read_model(model.file.path)
    except OPENVINO_ERRORS as error:
        raise UsageError(
            f"OpenVINO cannot read {shown} ({why_refused(error)}): export it with another operator set, or use "
            "--runtime onnxruntime"
        ) from error
    found = {name: port for port in graph.outputs for name in port.get_names()}
    if missing := [name for name in outputs if name not in found]:
        raise UsageError(f"OpenVINO reads no output {missing[0]!r} in {shown}: choose another --layer")
    results = [ops.result(found[name].get_node().input_value(0)) for name in outputs]
    parameter = next(node for node in graph.get_parameters() if model.pixels.name in node.output(0).get_names())
    height, width = model.image_size
    axes = [3, height, width] if model.channels_first else [height, width, 3]
    try:
        alone = openvino.Model(results, [parameter], "stillframe")
        alone.reshape({alone.input(0): openvino.PartialShape([model.batch, *axes])})
    except OPENVINO_ERRORS as error:
        raise UsageError(
            f"{shown} gives no {', '.join(outputs)} for images of {height}x{width} alone ({why_refused(error)}): choose "
            "another --layer or --image-size, or export the half of the model that takes images"
        ) from error
    _require_reasonable(alone, shown)
    return alone


def _require_reasonable(graph: openvino.Model, shown: str) -> None:
    """Raise UnsafeFile if a tensor on the way would fill the memory: a file of some bytes can ask for any size."""
    for node in graph.get_ops():
        for output in node.outputs():
            elements = math.prod(max(1, axis) for axis in _shape(output)) if output.get_partial_shape().is_static else 0
            if elements > _MOST_ELEMENTS:
                raise UnsafeFile(
                    f"{shown} computes a tensor of {elements:,} elements ({node.get_type_name()}), {_MOST_ELEMENTS:,} at most "
                    "are expected: it is damaged or made to do harm"
                )


def _features(
    model: OnnxModel, layers: Sequence[str], pooling: str
) -> tuple[openvino.op.Parameter, list[openvino.Output]]:
    """The pixels' parameter, and each layer's features of it, float32."""
    names = [port.name for port in model.file.outputs]
    cuts = [_required(parse_cut(layer, names), layer, model) for layer in layers]
    outputs = list(dict.fromkeys(cut.output for cut in cuts))
    graph = _alone(model, outputs)
    sources = {name: output.get_node().input_value(0) for name, output in zip(outputs, graph.outputs, strict=True)}
    height, width = model.image_size
    pixels = ops.parameter([model.batch, height, width, 3], np.uint8, name="pixels")
    prepared = _prepared(pixels.output(0), model.backbone.preprocessing)
    prepared = ops.convert(prepared, graph.input(0).get_element_type().get_type_name()).output(0)
    for target in graph.input(0).get_target_inputs():
        target.replace_source_output(prepared)
    found = []
    for cut in cuts:
        values = ops.convert(sources[cut.output], "f32").output(0)
        found.append(_pooled(_part(values, cut, model), pooling))
    return pixels, found


def _required(cut: Cut | None, layer: str, model: OnnxModel) -> Cut:
    if cut is None:
        listed = ", ".join(port.shown for port in model.file.outputs)
        raise UsageError(f"{printable(str(model.file.path))} has no output {layer!r}; it has {listed}")
    return cut


def _prepared(pixels: openvino.Output, preprocessing: Preprocessing) -> openvino.Output:
    """The model's input; see `store.preprocessing.Preprocessing`."""
    values = ops.convert(pixels, "f32").output(0)
    if preprocessing.channels == "bgr":
        values = ops.gather(values, _whole([2, 1, 0]), _whole(3)).output(0)
    values = ops.multiply(values, np.float32(preprocessing.rescale)).output(0)
    values = ops.subtract(values, np.array(preprocessing.mean, np.float32)).output(0)
    values = ops.divide(values, np.array(preprocessing.std, np.float32)).output(0)
    if preprocessing.layout == "nchw":
        values = ops.transpose(values, _whole([0, 3, 1, 2])).output(0)
    return values


def _part(values: openvino.Output, cut: Cut, model: OnnxModel) -> openvino.Output:
    """What a cut takes of an output: channels last, and of tokens what it names."""
    shape = _shape(values)
    cut.require_possible(shape)
    if not cut.part:
        last = model.channels_first and len(shape) == 4
        return ops.transpose(values, _whole([0, 2, 3, 1])).output(0) if last else values
    if cut.part == "cls":
        return ops.gather(values, _whole(0), _whole(1)).output(0)
    grid = cut.require_grid(shape[1], model.backbone.prefix_tokens, model.image_size)
    patches = ops.slice(values, _whole([grid.prefix]), _whole([shape[1]]), _whole([1]), _whole([1])).output(0)
    if cut.part == "mean":
        return ops.reduce_mean(patches, _whole([1]), keep_dims=False).output(0)
    grid_shape = _whole([0, *grid.shape, shape[2]])  # 0: the batch as it is
    return ops.reshape(patches, grid_shape, special_zero=True).output(0)


def _shape(values: openvino.Output) -> tuple[int, ...]:
    """With -1 for axes that are open."""
    return tuple(axis.get_length() if axis.is_static else -1 for axis in values.get_partial_shape())


def _pooled(values: openvino.Output, pooling: str) -> openvino.Output:
    if pooling == "none" or len(values.get_partial_shape()) != 4:
        return values
    reduce = {"avg": ops.reduce_mean, "max": ops.reduce_max}[pooling]
    return reduce(values, _whole([1, 2]), keep_dims=False).output(0)


def _largest(values: openvino.Output, rank: int) -> openvino.Output:
    """The largest magnitude of each image's tensor, NaN or infinite if any is; see `extract.runtimes.base.Computed`."""
    axes = _whole(list(range(1, rank)))
    magnitudes = ops.absolute(values).output(0)
    total = ops.reduce_sum(magnitudes, axes, keep_dims=False).output(0)
    # A maximum would lose NaN, a sum does not; of what is not finite, the difference to itself is NaN.
    finite = ops.equal(ops.subtract(total, total), np.float32(0))
    return ops.select(finite, ops.reduce_max(magnitudes, axes, keep_dims=False), total).output(0)


def _whole(values: int | list[int]) -> openvino.op.Constant:
    return ops.constant(values, np.int64)
