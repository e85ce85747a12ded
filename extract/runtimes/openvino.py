"""The OpenVINO runtime, for processors: a converted model, one stream of calls per core, several calls in progress.

With one image per call, each core works on its own image in its own cache. Measured on two cores, this is as fast as larger
batches or faster, and it never waits for a batch to fill.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

import openvino

from extract.runtimes.base import Computed, Pixels
from extract.runtimes.device import CPU, precision_missing, usable_cores

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}


class OpenvinoRuntime:
    """See `extract.runtimes.base.Runtime`.

    Args:
        model: from uint8 pixels (batch_size, height, width, 3) to [tensor, largest magnitude] of each output.
        precision: what it computes in.
        versions: what commit records say of what made the model.

    Raises:
        RuntimeError: it cannot be compiled.
    """

    def __init__(self, model: openvino.Model, precision: str, versions: Mapping[str, str]) -> None:
        compiled = openvino_core().compile_model(
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
        self._idle = deque(compiled.create_infer_request() for _ in range(self.in_flight))

    def start(self, images: Sequence[Pixels]) -> "_Call":
        """See `extract.runtimes.base.Runtime`.

        Raises:
            IndexError: `in_flight` calls are in progress already.
        """
        request = self._idle.popleft()
        pixels = request.get_input_tensor(0).data
        for position, image in enumerate(images):
            pixels[position] = image
        request.start_async()
        return _Call(self, request, len(images))

    def finish(self, request: openvino.InferRequest, count: int) -> Computed:
        """Wait for a request and copy its results for `count` images, so that the request can be used again."""
        try:
            request.wait()
            columns = [request.get_output_tensor(index).data[:count].copy() for index in self._outputs]
        finally:
            self._idle.append(request)
        return Computed(columns[::2], columns[1::2])


class _Call:
    """See `extract.runtimes.base.Pending`; `result` may be called once."""

    def __init__(self, runtime: OpenvinoRuntime, request: openvino.InferRequest, count: int) -> None:
        self._runtime = runtime
        self._request = request
        self._count = count

    def result(self) -> Computed:
        return self._runtime.finish(self._request, self._count)


def converted_runtime(path: Path, precision: str, batch_size: int) -> OpenvinoRuntime:
    """The runtime of a model that `extract.runtimes.convert` wrote: an .xml file, with its .bin beside it.

    Raises:
        RuntimeError: the file cannot be read.
    """
    model = openvino_core().read_model(path)
    height_width_channels = [dimension.get_length() for dimension in list(model.inputs[0].partial_shape)[1:]]
    model.reshape([batch_size, *height_width_channels])
    return OpenvinoRuntime(model, precision, {"keras": version("keras")})


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
