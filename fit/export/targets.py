"""The table of targets. One more is a file like its neighbors, and a line here."""

from fit.export import keras, litert, onnx, openvino, saved_model
from fit.export.base import Target
from store.errors import UsageError

TARGETS: dict[str, Target] = {
    "keras": keras.TARGET,
    "saved_model": saved_model.TARGET,
    "onnx": onnx.TARGET,
    "litert": litert.TARGET,
    "openvino": openvino.TARGET,
}


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in TARGETS:
        raise UsageError(f"unknown target {name!r}: choose one of {', '.join(TARGETS)}")
    return TARGETS[name]
