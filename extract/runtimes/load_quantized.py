"""Loading what --precision int8 takes: the network in float32, from which the 8-bit one is made, and what both need here."""

from dataclasses import dataclass

import openvino

from extract.backbones.file_backbone import ONNX, FileBackbone
from extract.runtimes.backend import backend_name
from extract.runtimes.base import Runtime
from extract.runtimes.load import NetworkSpec, choose_runtime, converted_file
from extract.runtimes.load_onnx import open_onnx
from extract.runtimes.onnx_graph import feature_graph
from extract.runtimes.openvino import OpenvinoRuntime, openvino_core
from store.errors import StillframeError, UsageError
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
    if isinstance(spec.backbone, FileBackbone) and spec.backbone.name == ONNX:
        model = open_onnx(spec.backbone, spec.weights.path, spec.image_size, 1)
        graph, digest = feature_graph(model, spec.layers, spec.pooling, spec.dtype), model.file.digest()
        return Float32Network(graph, OpenvinoRuntime(graph.clone(), "float32", {}), digest)
    choose_runtime("openvino", backend_name(), openvino_here=True, gpu_here=False)  # says what hinders a conversion
    try:
        path, digest = converted_file(spec, reporter)
        graph = openvino_core().read_model(path)
    except StillframeError:
        raise
    except Exception as error:  # the converter raises nearly any kind
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UsageError(f"OpenVINO cannot take {spec.backbone.name} ({reason}): --precision int8 needs it") from error
    of_one_image = graph.clone()
    of_one_image.reshape([1, *spec.image_size, 3])
    return Float32Network(graph, OpenvinoRuntime(of_one_image, "float32", {}), digest)
