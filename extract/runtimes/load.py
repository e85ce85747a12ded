"""Choosing the runtime for a network, and loading it.

OpenVINO is fastest on a processor, Keras on a GPU. Once a model is converted for OpenVINO, neither Keras nor its backend
is imported any more, and a run starts in half a second.
"""

import importlib.util
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from extract.backbones.file_backbone import KERAS_HUB, ONNX, AnyBackbone, FileBackbone
from extract.backbones.weights import Weights, remembered_digest
from extract.process_state import quiet_libraries
from extract.request import automatic_batch_size
from extract.runtimes.backend import backend_name, require_backend, start_keras
from extract.runtimes.base import Runtime
from extract.runtimes.convert import convert, find_converted, model_key
from extract.runtimes.device import (
    backend_device,
    machine_has_gpu,
    precision_missing,
    processor_precisions,
    require_device,
    require_found,
    visible_devices,
)
from extract.runtimes.load_onnx import load_onnx
from extract.runtimes.onnx_model import OnnxRequest
from store.choices import INT8
from store.errors import StillframeError, UsageError, reason_of
from store.progress import SILENT, Reporter
from store.suggestions import suggest_install

if TYPE_CHECKING:
    import keras

INSTALL_OPENVINO = suggest_install("stillframe[openvino]")
INSTALL_INT8 = suggest_install("stillframe[int8]")


@dataclass(frozen=True)
class NetworkSpec:
    """A network to compute with; the fields are those of `extract.request.RunOptions`.

    `batch_size` is None if the runtime chooses it. `include_top` adds the ImageNet classifier. Without `layers`, the output
    is that of the network's last layer.
    """

    backbone: AnyBackbone
    weights: Weights
    image_size: tuple[int, int]
    layers: tuple[str, ...]
    pooling: str
    dtype: str
    precision: str = "float32"
    runtime: str = "auto"
    batch_size: int | None = None
    include_top: bool = False
    device: str = "auto"


def load_runtime(spec: NetworkSpec, reporter: Reporter = SILENT) -> tuple[Runtime, str]:
    """The runtime, ready to compute, and its weights' digest; takes seconds.

    Args:
        spec: the network.
        reporter: takes a line when something unexpected is chosen; with `debug`, libraries' messages are shown.

    Raises:
        UsageError: the network cannot be computed on this machine.
        EnvironmentFailure: weights could not be downloaded.
    """
    require_device(spec.device)
    if isinstance(spec.backbone, FileBackbone) and spec.backbone.name == ONNX:
        asked = OnnxRequest(spec.layers, spec.pooling, spec.dtype, spec.precision, spec.runtime, spec.device)
        return load_onnx(spec.backbone, spec.weights.path, spec.image_size, spec.batch_size or 1, asked)
    if spec.runtime == "onnxruntime":
        raise UsageError("--runtime onnxruntime computes ONNX models alone: leave it out")
    name, reason = choose_runtime(
        spec.runtime,
        backend=backend_name(),
        openvino_here=importlib.util.find_spec("openvino") is not None,
        gpu_here=spec.device != "cpu" and machine_has_gpu(),
    )
    if name == "openvino" and spec.device not in ("auto", "cpu"):
        raise UsageError(
            f"--device {spec.device}: OpenVINO computes on the processor here; leave --runtime openvino out"
        )
    if reason:
        reporter.message(reason)
    if name == "keras":
        return _load_keras(spec, reporter.debug)
    return _load_openvino_or_keras(spec, reporter)


def require_int8(runtime: str = "auto", device: str = "auto") -> None:
    """Raise UsageError unless this machine, with the runtime and device that are asked for, computes in int8."""
    if runtime not in ("auto", "openvino") or device not in ("auto", "cpu"):
        raise UsageError("--precision int8 is computed by OpenVINO on a processor: leave --runtime and --device out")
    if importlib.util.find_spec("openvino") is None:
        raise UsageError(f"--precision int8 is computed by OpenVINO, which is not installed: {INSTALL_INT8}")
    if INT8 not in (able := processor_precisions()):
        raise precision_missing("this processor", INT8, able)


def choose_runtime(asked: str, backend: str, openvino_here: bool, gpu_here: bool) -> tuple[str, str]:
    """The runtime, keras or openvino, and a line with the reason if a user would have expected the other one.

    Raises:
        UsageError: OpenVINO was asked for and cannot be used.
    """
    if asked == "openvino":
        if not openvino_here:
            raise UsageError(f"--runtime openvino: it is not installed; {INSTALL_OPENVINO}, or use --runtime keras")
        if backend != "tensorflow":
            raise UsageError(
                f"--runtime openvino converts from TensorFlow, and KERAS_BACKEND is {backend}: unset that, "
                "or use --runtime keras"
            )
        return "openvino", ""
    if asked == "keras" or backend != "tensorflow" or gpu_here:
        return "keras", ""
    if not openvino_here:
        return "keras", f"OpenVINO is not installed: computing with Keras, which is slower here; {INSTALL_OPENVINO}"
    return "openvino", ""


def _load_openvino_or_keras(spec: NetworkSpec, reporter: Reporter) -> tuple[Runtime, str]:
    """Keras is the fallback for networks that OpenVINO cannot convert, unless the user has asked for OpenVINO."""
    try:
        return _load_openvino(spec, reporter)
    except StillframeError:
        raise
    except Exception as error:  # the converter raises nearly any kind
        problem = f"OpenVINO cannot take {spec.backbone.name} ({reason_of(error)})"
        if spec.runtime == "openvino":
            raise UsageError(f"{problem}: use --runtime keras") from error
        reporter.message(f"{problem}: computing with Keras")
        return _load_keras(spec, reporter.debug)


def _load_keras(spec: NetworkSpec, debug: bool) -> tuple[Runtime, str]:
    with visible_devices(spec.device):
        start_keras(debug)
        device = backend_device(backend_name())
    require_found(spec.device, device, backend_name())
    from extract.runtimes.keras import KerasRuntime

    if spec.precision not in device.precisions:
        raise precision_missing(f"{device.name} under {backend_name()}", spec.precision, device.precisions)
    model, digest = _feature_model(spec, spec.precision)
    size = spec.batch_size or automatic_batch_size(spec.image_size, device.is_gpu)
    with quiet_libraries(debug):
        return KerasRuntime(model, size, device), digest


def _load_openvino(spec: NetworkSpec, reporter: Reporter) -> tuple[Runtime, str]:
    from extract.runtimes.openvino import converted_runtime, require_precision

    require_backend()
    require_precision(spec.precision)
    size = spec.batch_size
    if size is None and not isinstance(spec.backbone, FileBackbone):
        size = 1  # as in earlier versions: features stay what they are to the last bit
    path, digest = converted_file(spec, reporter)
    return converted_runtime(path, spec.precision, size), digest


def converted_file(spec: NetworkSpec, reporter: Reporter) -> tuple[Path, str]:
    """The .xml file of the network for OpenVINO, converted now or before, and the weights' digest.

    Raises:
        Exception: OpenVINO cannot convert the network; it raises nearly any kind.
    """
    digest = remembered_digest(spec.backbone, spec.weights, spec.include_top)
    found = find_converted(_key(spec, digest)) if digest else None
    if digest and found:
        return found, digest
    start_keras(reporter.debug)
    model, digest = _feature_model(spec, "float32")
    reporter.message("converting the network for OpenVINO, once")
    with quiet_libraries(reporter.debug):
        return convert(model, _key(spec, digest)), digest


def _key(spec: NetworkSpec, digest: str) -> str:
    """The converted model's name. Precision and batch size are not part of it, because they are chosen at compilation."""
    preprocessing = spec.backbone.preprocessing
    builder = {"keras_hub": version("keras-hub")} if spec.backbone.name == KERAS_HUB else {}
    return model_key(
        {
            **builder,
            "backbone": spec.backbone.name,
            "preprocessing": preprocessing if isinstance(preprocessing, str) else preprocessing.to_dict(),
            "weights": digest,
            "image_size": spec.image_size,
            "layers": spec.layers,
            "pooling": spec.pooling,
            "dtype": spec.dtype,
        }
    )


def _feature_model(spec: NetworkSpec, precision: str) -> "tuple[keras.Model, str]":
    from extract.backbones.build import keras_defaults
    from extract.backbones.load import load_keras_model, load_network
    from extract.runtimes.model import feature_model

    backbone = spec.backbone
    if isinstance(backbone, FileBackbone):
        network, digest = load_keras_model(backbone, spec.weights, spec.image_size, precision)
    else:
        network, digest = load_network(backbone, spec.weights, spec.image_size, spec.include_top, precision=precision)
    layers = spec.layers or (network.layers[-1].name,)
    with keras_defaults():
        model = feature_model(network, layers, spec.pooling, backbone.preprocessing, spec.dtype)
    return model, digest
