"""Which runtime computes a network, and loading it.

A processor is best served by OpenVINO, a GPU by Keras. Once a model is converted, neither Keras nor its backend
is imported any more: a run starts in half a second.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from extract.backbones.table import Backbone
from extract.backbones.weights import Weights, remembered_digest
from extract.process_state import quiet_start
from extract.request import automatic_batch_size
from extract.runtimes import Runtime, backend_name, require_backend, start_keras
from extract.runtimes.convert import convert, find_converted, model_key
from extract.runtimes.device import backend_device, machine_has_gpu, precision_missing
from store.errors import StillframeError, UsageError

if TYPE_CHECKING:
    import keras

INSTALL_OPENVINO = "`pip install 'stillframe[openvino]'`"


@dataclass(frozen=True)
class NetworkSpec:
    """What is to be computed, and with what; fields are those of `extract.request.RunOptions`.

    `batch_size` is None where the runtime chooses. `include_top` is for a network with its ImageNet classifier, and no
    `layers` for what it gives at its end.
    """

    backbone: Backbone
    weights: Weights
    image_size: tuple[int, int]
    layers: tuple[str, ...]
    pooling: str
    dtype: str
    precision: str = "float32"
    runtime: str = "auto"
    batch_size: int | None = None
    include_top: bool = False


Tell = Callable[[str], None]


def load_runtime(wanted: NetworkSpec, tell: Tell = lambda _: None, debug: bool = False) -> tuple[Runtime, str]:
    """The runtime, ready to compute, and its weights' digest; takes seconds.

    Args:
        wanted: what to compute.
        tell: takes a line for people.
        debug: show the libraries' own messages.

    Raises:
        UsageError: what is wanted cannot be had on this machine.
        EnvironmentFailure: weights could not be downloaded.
    """
    name, reason = choose_runtime(
        wanted.runtime,
        backend=backend_name(),
        openvino_here=importlib.util.find_spec("openvino") is not None,
        gpu_here=machine_has_gpu(),
    )
    if reason:
        tell(reason)
    if name == "keras":
        return _load_keras(wanted, debug)
    try:
        return _load_openvino(wanted, tell, debug)
    except StillframeError:
        raise
    except Exception as error:  # its converter raises nearly everything
        told = " ".join(str(error).split())[:200] or type(error).__name__
        if wanted.runtime == "openvino":
            raise UsageError(f"OpenVINO cannot take {wanted.backbone.name} ({told}): use --runtime keras") from error
        tell(f"OpenVINO cannot take {wanted.backbone.name} ({told}): computing with Keras")
        return _load_keras(wanted, debug)


def choose_runtime(asked: str, backend: str, openvino_here: bool, gpu_here: bool) -> tuple[str, str]:
    """Which of keras and openvino, and a line that says why if that is not what a user would expect.

    Raises:
        UsageError: OpenVINO was asked for and cannot be had.
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


def _load_keras(wanted: NetworkSpec, debug: bool) -> tuple[Runtime, str]:
    start_keras(debug)
    from extract.runtimes.keras import KerasRuntime

    device = backend_device(backend_name())
    if wanted.precision not in device.precisions:
        raise precision_missing(f"{device.name} under {backend_name()}", wanted.precision, device.precisions)
    model, digest = _feature_model(wanted, wanted.precision)
    size = wanted.batch_size or automatic_batch_size(wanted.image_size, device.is_gpu)
    with quiet_start(debug):
        return KerasRuntime(model, size, device), digest


def _load_openvino(wanted: NetworkSpec, tell: Tell, debug: bool) -> tuple[Runtime, str]:
    from extract.runtimes.openvino import OpenvinoRuntime, require_precision

    require_backend()
    require_precision(wanted.precision)
    size = wanted.batch_size or 1
    digest = remembered_digest(wanted.backbone, wanted.weights, wanted.include_top)
    found = find_converted(_key(wanted, digest)) if digest else None
    if digest and found:
        return OpenvinoRuntime(found, wanted.precision, size), digest
    start_keras(debug)
    model, digest = _feature_model(wanted, "float32")
    tell("converting it for OpenVINO, once")
    with quiet_start(debug):
        path = convert(model, _key(wanted, digest))
    return OpenvinoRuntime(path, wanted.precision, size), digest


def _key(wanted: NetworkSpec, digest: str) -> str:
    """The converted model's name: its precision and batch size are chosen later, when it is compiled."""
    return model_key(
        backbone=wanted.backbone.name,
        preprocessing=wanted.backbone.preprocessing,
        weights=digest,
        image_size=wanted.image_size,
        layers=wanted.layers,
        pooling=wanted.pooling,
        dtype=wanted.dtype,
    )


def _feature_model(wanted: NetworkSpec, precision: str) -> "tuple[keras.Model, str]":
    from extract.backbones.load import load_network
    from extract.runtimes.model import feature_model

    network, digest = load_network(
        wanted.backbone, wanted.weights, wanted.image_size, wanted.include_top, precision=precision
    )
    layers = wanted.layers or (network.layers[-1].name,)
    model = feature_model(network, layers, wanted.pooling, wanted.backbone.preprocessing, wanted.dtype)
    return model, digest
