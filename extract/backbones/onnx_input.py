"""The input of an ONNX model that takes images: which one it is, its layout and its size."""

from extract.backbones.onnx_file import OnnxFile, Port
from store.errors import UsageError
from store.files.names import printable

PIXELS = "pixel_values"
"""The input of images in models that have several inputs."""


def pixel_input(model: OnnxFile) -> Port:
    """The input of a model that takes images.

    Raises:
        UsageError: it has several inputs, and none of them is named pixel_values; or its input has not four axes.
    """
    named = [port for port in model.inputs if port.name == PIXELS]
    candidates = named or list(model.inputs)
    shown = ", ".join(port.shown for port in model.inputs) or "none"
    if len(candidates) != 1:
        raise UsageError(
            f"{printable(str(model.path))} has the inputs {shown}: expected one, or one named {PIXELS}; export the half of it "
            "that takes images"
        )
    (port,) = candidates
    if port.shape is None or len(port.shape) != 4:
        raise UsageError(
            f"{printable(str(model.path))} has the input {shown}: expected batch, channels, height and width"
        )
    return port


def input_layout(port: Port) -> str:
    """The layout, nchw or nhwc, as the axis of three channels shows; empty where no axis does, or both do."""
    if port.shape is None:
        return ""
    first, last = port.shape[1] == 3, port.shape[3] == 3
    return "" if first == last else "nchw" if first else "nhwc"


def require_size(port: Port, layout: str, size: tuple[int, int], model: str) -> None:
    """Raise UsageError unless a model's input takes images of that (height, width)."""
    axes = (port.shape or (None,) * 4)[2:] if layout == "nchw" else (port.shape or (None,) * 4)[1:3]
    wrong = any(axis is not None and axis != edge for axis, edge in zip(axes, size, strict=True))
    if wrong:
        taken = "x".join("?" if axis is None else str(axis) for axis in axes)
        raise UsageError(
            f"{model} takes images of {taken} pixels, and its preprocessing makes {size[0]}x{size[1]}: its positions are "
            "for that size alone; use the --preprocessing and --image-size that it was exported for, or export it again"
        )
