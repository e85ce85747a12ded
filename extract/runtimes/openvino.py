"""The OpenVINO runtime, for processors: a converted model, one stream of calls per core, several calls in progress.

With one image per call, each core works on its own image in its own cache. Measured on two cores, this is as fast as larger
batches for convolutional networks, and it never waits for a batch to fill. Transformers of few tokens want several images:
see `images_per_call`.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path

import openvino

from extract.runtimes.base import Computed, Pixels
from extract.runtimes.device import CPU, precision_missing, usable_cores

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}
_USES = 768  # of a weight in a call: with more, reading it costs nothing
_MOST_IMAGES = 16


class OpenvinoRuntime:
    """See `extract.runtimes.base.Runtime`.

    Args:
        model: from uint8 pixels (batch_size, height, width, 3) to [tensor, largest magnitude] of each output.
        precision: what it computes in.
        versions: what commit records say of what made the model.
        alone: the same model for calls with one image, if the other one takes several.

    Raises:
        RuntimeError: it cannot be compiled.
    """

    def __init__(
        self, model: openvino.Model, precision: str, versions: Mapping[str, str], alone: openvino.Model | None = None
    ) -> None:
        compiled = _compile(model, precision)
        self.batch_size: int = compiled.input(0).shape[0]
        self.in_flight = 2 * usable_cores()
        self.shapes: Sequence[tuple[int, ...]] = [tuple(output.shape)[1:] for output in compiled.outputs[::2]]
        self.environment: Mapping[str, str] = {
            "runtime": "openvino",
            "device": CPU,
            "backend": f"openvino {version('openvino')}",
            **versions,
        }
        self._outputs = range(len(compiled.outputs))
        self._idle = self._requests(compiled)
        self._alone, self._precision = alone, precision

    def _requests(self, compiled: openvino.CompiledModel) -> deque[openvino.InferRequest]:
        return deque(compiled.create_infer_request() for _ in range(self.in_flight))

    @cached_property
    def _idle_alone(self) -> deque[openvino.InferRequest]:
        """Requests of one image; compiled at the first such call, which is a second for the largest networks."""
        return self._requests(_compile(self._alone, self._precision)) if self._alone else self._idle

    def start(self, images: Sequence[Pixels]) -> "_Call":
        """See `extract.runtimes.base.Runtime`.

        Raises:
            IndexError: `in_flight` calls are in progress already.
        """
        idle = self._idle if len(images) > 1 else self._idle_alone
        request = idle.popleft()
        pixels = request.get_input_tensor(0).data
        for position, image in enumerate(images):
            pixels[position] = image
        request.start_async()
        return _Call(request, idle, self._outputs, len(images))


@dataclass(frozen=True)
class _Call:
    """See `extract.runtimes.base.Pending`; `result` may be called once.

    Attributes:
        request: in progress.
        idle: where it belongs afterwards.
        outputs: the positions of its outputs.
        count: the number of images; the rest is padding.
    """

    request: openvino.InferRequest
    idle: deque[openvino.InferRequest]
    outputs: range
    count: int

    def result(self) -> Computed:
        """Wait, and copy the results, so that the request can be used again."""
        try:
            self.request.wait()
            columns = [self.request.get_output_tensor(index).data[: self.count].copy() for index in self.outputs]
        finally:
            self.idle.append(self.request)
        return Computed(columns[::2], columns[1::2])


def converted_runtime(path: Path, precision: str, batch_size: int | None) -> OpenvinoRuntime:
    """The runtime of a model that `extract.runtimes.convert` wrote: an .xml file, with its .bin beside it.

    Args:
        path: the .xml file.
        precision: what it computes in.
        batch_size: images per call; None for what suits the network.

    Raises:
        RuntimeError: the file cannot be read.
    """
    model, versions = of_batch(openvino_core().read_model(path), 1), {"keras": version("keras")}
    size = images_per_call(model) if batch_size is None else batch_size
    if size == 1:
        return OpenvinoRuntime(model, precision, versions)
    return OpenvinoRuntime(of_batch(model.clone(), size), precision, versions, model)


def images_per_call(model: openvino.Model) -> int:
    """How many images one call should take: 1, or a power of two up to 16 if the network is mostly matrix products.

    A matrix product reads all of its weights for each call. With the 50 tokens of CLIP ViT-B/32 that takes longer than
    computing with them: 16 images at once are 1.4 times as fast in float32, 2.4 times in bfloat16. With the 257 tokens of
    DINOv2 four images are enough. Convolutions use each weight for every pixel.

    Args:
        model: of one image.
    """
    nodes = model.get_ops()
    constants = sum(math.prod(node.output(0).get_shape()) for node in nodes if node.get_type_name() == "Constant")
    weights = uses = 0  # numbers in the weights of products, and how often they are used for an image, over all
    for node in nodes:
        if node.get_type_name() == "MatMul" and node.input_value(1).get_node().get_type_name() == "Constant":
            of_node = math.prod(node.input(1).get_shape())
            weights += of_node
            uses += of_node * math.prod(list(node.output(0).get_shape())[:-1])
    if 2 * weights < constants:
        return 1
    images = math.ceil(_USES * weights / uses)
    return min(_MOST_IMAGES, 1 << (images - 1).bit_length())


def of_batch(model: openvino.Model, images: int) -> openvino.Model:
    """The model from pixels (batch, height, width, 3), changed to take that number of images."""
    height_width_channels = [dimension.get_length() for dimension in list(model.inputs[0].partial_shape)[1:]]
    model.reshape([images, *height_width_channels])
    return model


def _compile(model: openvino.Model, precision: str) -> openvino.CompiledModel:
    return openvino_core().compile_model(
        model,
        "CPU",
        {
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_PRECISION_HINT": _HINTS[precision],
            "INFERENCE_NUM_THREADS": usable_cores(),
            "NUM_STREAMS": str(usable_cores()),
            "ENABLE_CPU_PINNING": False,  # decoding threads need the cores too
        },
    )


@lru_cache(maxsize=1)
def openvino_core() -> openvino.Core:
    """OpenVINO's core, never freed.

    A core gives the thread that made it an alternate stack for signals and frees that stack with itself. If there were
    several cores, or another thread freed this one, the stack would still be in use, and the next signal would end the
    process.
    """
    return openvino.Core()


def require_precision(precision: str) -> None:
    """Raise PrecisionMissing unless this processor computes in that precision."""
    able = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if _CAPABILITIES[precision] not in able:
        known = tuple(name for name, capability in _CAPABILITIES.items() if capability in able)
        raise precision_missing("this processor", precision, known)
