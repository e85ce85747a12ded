"""The ONNX Runtime runtime, for ONNX models on a GPU, or as a second opinion on a processor."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import onnxruntime

from extract.backbones.outputs import Cut, parse_cut
from extract.runtimes.base import Computed, Pixels
from extract.runtimes.device import CPU, usable_cores
from extract.runtimes.onnx_model import OnnxModel, OnnxRequest, why_refused
from store.errors import UsageError
from store.files.names import printable
from store.recipe import stored_dtype
from store.tensors import Tensor

_CUDA, _PROCESSOR = "CUDAExecutionProvider", "CPUExecutionProvider"
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}


class OnnxRuntime:
    """See `extract.runtimes.base.Runtime`. Preprocessing and cuts are numpy's.

    Args:
        model: the ONNX model.
        asked: what to compute of it.

    Raises:
        UsageError: ONNX Runtime cannot load it, there is no such layer, or no GPU for it.
    """

    def __init__(self, model: OnnxModel, asked: OnnxRequest) -> None:
        self._model = model
        self._asked = asked
        shown = printable(str(model.file.path))
        providers = [_PROCESSOR] if asked.device in ("auto", "cpu") else [_CUDA]
        if not set(providers) <= set(onnxruntime.get_available_providers()):
            raise UsageError(f"--device {asked.device}: this ONNX Runtime has no {_CUDA}: install onnxruntime-gpu")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = usable_cores()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(str(model.file.path), options, providers)
        except Exception as error:  # it raises kinds of its own
            raise UsageError(f"ONNX Runtime cannot load {shown} ({why_refused(error)})") from error
        names = [port.name for port in model.file.outputs]
        self._cuts = [_required(parse_cut(layer, names), layer, shown) for layer in asked.layers]
        kind = next(port.type for port in self._session.get_inputs() if port.name == model.pixels.name)
        self._input_type = _TYPES.get(kind, np.float32)
        self.batch_size: int = model.batch
        self.in_flight = 2
        self.environment: Mapping[str, str] = {
            "runtime": "onnxruntime",
            "device": CPU if providers == [_PROCESSOR] else _CUDA,
            "backend": f"onnxruntime {importlib.metadata.version('onnxruntime')}",
        }
        self._threads = ThreadPoolExecutor(1, "compute")
        blank = np.zeros((*model.image_size, 3), np.uint8)
        self.shapes: Sequence[tuple[int, ...]] = [tensor.shape[1:] for tensor in self._compute([blank]).tensors]

    def start(self, images: Sequence[Pixels]) -> "Future[Computed]":
        """See `extract.runtimes.base.Runtime`."""
        return self._threads.submit(self._compute, images)

    def _compute(self, images: Sequence[Pixels]) -> Computed:
        pixels = np.zeros((self.batch_size, *images[0].shape), np.uint8)
        np.stack(images, out=pixels[: len(images)])
        names = list(dict.fromkeys(cut.output for cut in self._cuts))
        try:
            found = self._session.run(names, {self._model.pixels.name: self._prepared(pixels)})
        except Exception as error:
            shown = printable(str(self._model.file.path))
            raise UsageError(f"ONNX Runtime cannot compute {shown} ({why_refused(error)})") from error
        by_name = dict(zip(names, found, strict=True))
        tensors: list[Tensor] = []
        largest = []
        for cut in self._cuts:
            values = self._pooled(self._part(by_name[cut.output].astype(np.float32), cut))[: len(images)]
            with np.errstate(over="ignore"):  # what does not fit shows in the largest magnitude
                tensors.append(values.astype(stored_dtype(self._asked.dtype, spatial=values.ndim > 2)))
            largest.append(np.abs(values).max(axis=tuple(range(1, values.ndim))))
        return Computed(tensors, largest)

    def _prepared(self, pixels: Pixels) -> npt.NDArray[np.generic]:
        """The model's input; see `store.preprocessing.Preprocessing`."""
        preprocessing = self._model.backbone.preprocessing
        ordered = pixels[..., ::-1] if preprocessing.channels == "bgr" else pixels
        scaled = ordered.astype(np.float32) * np.float32(preprocessing.rescale)
        values = (scaled - np.array(preprocessing.mean, np.float32)) / np.array(preprocessing.std, np.float32)
        return np.ascontiguousarray(
            values.transpose(0, 3, 1, 2) if self._model.channels_first else values, self._input_type
        )

    def _part(self, values: npt.NDArray[np.float32], cut: Cut) -> npt.NDArray[np.float32]:
        cut.require_possible(values.shape)
        if not cut.part:
            return values.transpose(0, 2, 3, 1) if values.ndim == 4 and self._model.channels_first else values
        if cut.part == "cls":
            return values[:, 0]
        grid = cut.require_grid(values.shape[1], self._model.backbone.prefix_tokens, self._model.image_size)
        patches = values[:, grid.prefix :]
        if cut.part == "mean":
            return np.asarray(patches.mean(axis=1), np.float32)
        return patches.reshape(len(values), *grid.shape, values.shape[2])

    def _pooled(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if values.ndim != 4 or self._asked.pooling == "none":
            return values
        reduce = np.mean if self._asked.pooling == "avg" else np.max
        return np.asarray(reduce(values, axis=(1, 2)), np.float32)


def _required(cut: Cut | None, layer: str, model: str) -> Cut:
    if cut is None:
        raise UsageError(f"{model} has no output {layer!r}")
    return cut
