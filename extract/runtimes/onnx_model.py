"""What an ONNX model is loaded with, and what is asked of it; whichever library computes."""

from dataclasses import dataclass

from extract.backbones.file_backbone import FileBackbone
from extract.backbones.onnx_file import OnnxFile, Port

_MOST_REASON = 300  # characters of a library's own


@dataclass(frozen=True)
class OnnxModel:
    """A model, and the images that it is built for.

    Attributes:
        file: the checked file.
        pixels: the input that takes images.
        backbone: its preprocessing and its tokens.
        image_size: (height, width) in pixels.
        batch_size: images per call, where the model leaves that open.
    """

    file: OnnxFile
    pixels: Port
    backbone: FileBackbone
    image_size: tuple[int, int]
    batch_size: int = 1

    @property
    def batch(self) -> int:
        """Images per call: what the model has fixed, or `batch_size`."""
        fixed = self.pixels.shape[0] if self.pixels.shape else None
        return fixed or self.batch_size

    @property
    def channels_first(self) -> bool:
        """Whether its tensors are (batch, channels, height, width)."""
        return self.backbone.preprocessing.layout == "nchw"


@dataclass(frozen=True)
class OnnxRequest:
    """What is asked of a model; the fields are those of `extract.request.RunOptions`."""

    layers: tuple[str, ...]
    pooling: str
    dtype: str
    precision: str = "float32"
    runtime: str = "auto"
    device: str = "auto"


def why_refused(error: Exception) -> str:
    """The end of a message of OpenVINO or ONNX Runtime, where the reason is, on one line."""
    return " ".join(str(error).split())[-_MOST_REASON:] or type(error).__name__
