"""Choosing the runtime for an ONNX model, and loading it: OpenVINO on a processor, ONNX Runtime where that is asked for."""

import importlib.util
from pathlib import Path

from extract.backbones.file_backbone import FileBackbone
from extract.backbones.onnx_file import read_onnx_file
from extract.backbones.onnx_input import pixel_input, require_size
from extract.runtimes.base import Runtime
from extract.runtimes.onnx_model import OnnxModel, OnnxRequest, why_refused
from store.errors import PrecisionMissing, UsageError
from store.files.names import printable
from store.suggestions import suggest_install

INSTALL_OPENVINO = suggest_install("stillframe[openvino]")


def load_onnx(
    backbone: FileBackbone, path: str, image_size: tuple[int, int], batch_size: int, asked: OnnxRequest
) -> tuple[Runtime, str]:
    """The runtime of an ONNX model, ready to compute, and the model's digest.

    Args:
        backbone: its preprocessing and its tokens.
        path: the file.
        image_size: (height, width) in pixels.
        batch_size: images per call, where the model leaves that open.
        asked: what to compute, and with what.

    Raises:
        UsageError: the model, a layer or a size of it cannot be computed here.
        UnsafeFile: it names files outside of its folder.
        PrecisionMissing: this machine does not compute in that precision.
    """
    model = open_onnx(backbone, path, image_size, batch_size)
    name = choose_onnx_runtime(asked.runtime, asked.device, _here("openvino"), _here("onnxruntime"))
    return (_load_onnxruntime if name == "onnxruntime" else _load_openvino)(model, asked), model.file.digest()


def open_onnx(backbone: FileBackbone, path: str, image_size: tuple[int, int], batch_size: int) -> OnnxModel:
    """An ONNX model, its file checked; see `load_onnx`."""
    file = read_onnx_file(Path(path))
    pixels = pixel_input(file)
    require_size(pixels, backbone.preprocessing.layout, image_size, printable(path))
    return OnnxModel(file, pixels, backbone, image_size, batch_size)


def _load_onnxruntime(model: OnnxModel, asked: OnnxRequest) -> Runtime:
    from extract.runtimes.onnxruntime import OnnxRuntime

    if asked.precision != "float32":
        raise PrecisionMissing(f"ONNX Runtime does not compute in {asked.precision}: choose --precision float32")
    return OnnxRuntime(model, asked)


def _load_openvino(model: OnnxModel, asked: OnnxRequest) -> Runtime:
    from extract.runtimes.onnx_graph import OPENVINO_ERRORS, feature_graph
    from extract.runtimes.openvino import OpenvinoRuntime, require_precision

    require_precision(asked.precision)
    graph = feature_graph(model, asked.layers, asked.pooling, asked.dtype)
    try:
        return OpenvinoRuntime(graph, asked.precision, {})
    except OPENVINO_ERRORS as error:
        raise UsageError(
            f"OpenVINO cannot compute {printable(str(model.file.path))} ({why_refused(error)}): export it with another "
            "operator set, or use --runtime onnxruntime"
        ) from error


def _here(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def choose_onnx_runtime(asked: str, device: str, openvino_here: bool, onnxruntime_here: bool) -> str:
    """The runtime, openvino or onnxruntime.

    Raises:
        UsageError: what is asked for cannot compute ONNX models, or is not installed.
    """
    if asked == "keras":
        raise UsageError("--runtime keras: Keras does not compute ONNX models; leave it out")
    if device not in ("auto", "cpu") and asked != "onnxruntime":
        raise UsageError(f"--device {device}: OpenVINO computes on the processor; add --runtime onnxruntime for a GPU")
    if asked == "onnxruntime" or (asked == "auto" and not openvino_here and onnxruntime_here):
        if not onnxruntime_here:
            raise UsageError(f"--runtime onnxruntime: it is not installed; {suggest_install('onnxruntime')}")
        return "onnxruntime"
    if not openvino_here:
        raise UsageError(f"ONNX models are computed by OpenVINO, which is not installed: {INSTALL_OPENVINO}")
    return "openvino"
