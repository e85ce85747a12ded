"""Loading a network in float32 by OpenVINO, for --precision int8: it is what is quantized, and what int8 features are
compared with.
"""

from dataclasses import dataclass

import openvino

from extract.backbones.file_backbone import ONNX, FileBackbone, shown_name
from extract.runtimes.backend import backend_name, require_backend
from extract.runtimes.base import Runtime
from extract.runtimes.load import NetworkSpec, converted_file
from extract.runtimes.load_onnx import open_onnx
from extract.runtimes.onnx_graph import feature_graph
from extract.runtimes.openvino import OpenvinoRuntime, of_batch, openvino_core
from store.errors import StillframeError, UsageError, reason_of
from store.progress import Reporter


@dataclass(frozen=True)
class Float32Network:
    """A network as OpenVINO has it, compiled for float32, and the digest of its weights."""

    graph: openvino.Model
    runtime: Runtime
    digest: str


def load_float32(spec: NetworkSpec, reporter: Reporter) -> Float32Network:
    """The network of a spec, in float32 whatever its precision; takes seconds.

    Raises:
        UsageError: OpenVINO cannot compute it.
    """
    try:
        if isinstance(spec.backbone, FileBackbone) and spec.backbone.name == ONNX:
            model = open_onnx(spec.backbone, spec.weights.path, spec.image_size, 1)
            graph, digest = feature_graph(model, spec.layers, spec.pooling, spec.dtype), model.file.digest()
            return Float32Network(graph, OpenvinoRuntime(graph.clone(), "float32", {}), digest)
        _require_tensorflow()
        path, digest = converted_file(spec, reporter)
        graph = openvino_core().read_model(path)
        return Float32Network(graph, OpenvinoRuntime(of_batch(graph.clone(), 1), "float32", {}), digest)
    except StillframeError:
        raise
    except Exception as error:  # OpenVINO raises nearly any kind
        raise UsageError(
            f"OpenVINO cannot take {shown_name(spec.backbone.name)} ({reason_of(error)}): choose another --precision than "
            "int8"
        ) from error


def _require_tensorflow() -> None:
    """Raise UsageError unless Keras computes with TensorFlow, which networks are converted from."""
    if (backend := backend_name()) != "tensorflow":
        raise UsageError(f"--precision int8 converts from TensorFlow, and KERAS_BACKEND is {backend}: unset that")
    require_backend()
