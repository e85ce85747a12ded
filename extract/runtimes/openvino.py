"""The OpenVINO runtime, for processors: a converted model, one stream of calls a core, several calls under way.

Calls of one image each keep a core's cache and its share of the work together; measured on two cores this is
as fast as larger batches or faster, and never waits for a batch to fill.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino

from extract.runtimes import Computed
from extract.runtimes.device import CPU, precision_missing, usable_cores

_HINTS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
_CAPABILITIES = {"float32": "FP32", "bfloat16": "BF16", "float16": "FP16"}


class OpenvinoRuntime:
    """See `extract.runtimes.Runtime`.

    Args:
        path: the .xml file that `extract.runtimes.convert` wrote; its .bin stands beside it.
        precision: what is computed in.
        batch_size: images a call.

    Raises:
        RuntimeError: the file cannot be read.
    """

    def __init__(self, path: Path, precision: str, batch_size: int) -> None:
        core = _core()
        model = core.read_model(path)
        height_width_channels = [dimension.get_length() for dimension in list(model.inputs[0].partial_shape)[1:]]
        model.reshape([batch_size, *height_width_channels])
        compiled = core.compile_model(
            model,
            "CPU",
            {
                "PERFORMANCE_HINT": "THROUGHPUT",
                "INFERENCE_PRECISION_HINT": _HINTS[precision],
                "INFERENCE_NUM_THREADS": usable_cores(),
                "NUM_STREAMS": str(usable_cores()),
                "ENABLE_CPU_PINNING": False,  # the threads that decode need the cores too
            },
        )
        self.batch_size = batch_size
        self.in_flight = 2 * usable_cores()
        self.shapes: Sequence[tuple[int, ...]] = [tuple(output.shape)[1:] for output in compiled.outputs[::2]]
        self.environment: Mapping[str, str] = {
            "runtime": "openvino",
            "device": CPU,
            "backend": f"openvino {version('openvino')}",
            "keras": version("keras"),
        }
        self._outputs = range(len(compiled.outputs))
        self._idle = deque(compiled.create_infer_request() for _ in range(self.in_flight))

    def start(self, images: Sequence[npt.NDArray[np.uint8]]) -> "_Call":
        """See `extract.runtimes.Runtime`.

        Raises:
            IndexError: `in_flight` calls are under way already.
        """
        request = self._idle.popleft()
        pixels = request.get_input_tensor(0).data
        for position, image in enumerate(images):
            pixels[position] = image
        request.start_async()
        return _Call(self, request, len(images))

    def finish(self, request: Any, count: int) -> Computed:
        """Wait for a request and copy its results, so that it can be used again."""
        try:
            request.wait()
            columns = [request.get_output_tensor(index).data[:count].copy() for index in self._outputs]
        finally:
            self._idle.append(request)
        return Computed(columns[::2], columns[1::2])


class _Call:
    """See `extract.runtimes.Pending`; `result` may be asked for once."""

    def __init__(self, runtime: OpenvinoRuntime, request: Any, count: int) -> None:
        self._runtime = runtime
        self._request = request
        self._count = count

    def result(self) -> Computed:
        return self._runtime.finish(self._request, self._count)


@lru_cache(maxsize=1)
def _core() -> openvino.Core:
    """OpenVINO's core, kept for ever.

    It gives the thread that made it a stack for signals, and frees that stack when it goes, which after several cores,
    or when another thread lets it go, is still in use: the next signal would end the process.
    """
    return openvino.Core()


def require_precision(precision: str) -> None:
    """Raise PrecisionMissing unless this processor computes in that precision."""
    able = _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if _CAPABILITIES[precision] not in able:
        known = tuple(name for name, capability in _CAPABILITIES.items() if capability in able)
        raise precision_missing("this processor", precision, known)
