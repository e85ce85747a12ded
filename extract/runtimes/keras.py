"""The Keras runtime: TensorFlow by default, JAX or PyTorch where KERAS_BACKEND says so."""

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import keras
import numpy as np
import numpy.typing as npt

from extract.runtimes.base import Computed, Pixels, padded_size
from extract.runtimes.device import Device
from store.tensors import Tensor

_OUT_OF_MEMORY = ("ResourceExhaustedError", "OutOfMemoryError")  # TensorFlow's and PyTorch's
_JAX_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


class KerasRuntime:
    """See `extract.runtimes.base.Runtime`.

    Each call runs in a thread that waits for its result. A GPU has two such threads: while one waits for its tensors to
    be copied, the other one's batch is computed. A processor needs only one.

    Args:
        model: see `extract.runtimes.model.feature_model`.
        batch_size: images per call.
        device: what the backend computes on.
    """

    def __init__(self, model: keras.Model, batch_size: int, device: Device) -> None:
        backend = keras.backend.backend()
        threads = 2 if device.is_gpu else 1
        self.batch_size = batch_size
        self.in_flight = threads + 1
        self.shapes: Sequence[tuple[int, ...]] = [tuple(output.shape[1:]) for output in model.outputs[::2]]
        self.environment: Mapping[str, str] = {
            "runtime": "keras",
            "device": device.name,
            "backend": f"{backend} {importlib.metadata.version(backend)}",
            "keras": keras.version(),
        }
        self._call = _COMPILERS[backend](model)
        self._compiles_each_size = backend == "jax"  # which takes longer than to compute padding
        self._threads = ThreadPoolExecutor(threads, "compute")
        if device.is_gpu or backend == "jax":  # compile now, and find out how large a batch fits in memory
            self._compute([np.zeros(model.input_shape[1:], np.uint8)] * batch_size)

    def start(self, images: Sequence[Pixels]) -> "Future[Computed]":
        """See `extract.runtimes.base.Runtime`."""
        return self._threads.submit(self._compute, images)

    def _compute(self, images: Sequence[Pixels]) -> Computed:
        """Compute all of the images. If they do not fit in the device's memory at once, halve `batch_size` for good."""
        size = self.batch_size
        try:
            parts = [self._batch(images[start : start + size], size) for start in range(0, len(images), size)]
        except Exception as error:  # each backend has its own
            if size == 1 or not _is_out_of_memory(error):
                raise
            self.batch_size = min(self.batch_size, size // 2)  # another thread may have halved it too
            return self._compute(images)
        columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
        return Computed(columns[::2], columns[1::2])

    def _batch(self, images: Sequence[Pixels], size: int) -> list[Tensor]:
        """Compute up to `size` images, padded with black ones."""
        padded = size if self._compiles_each_size else padded_size(len(images), size)
        pixels = np.zeros((padded, *images[0].shape), np.uint8)
        np.stack(images, out=pixels[: len(images)])
        return [np.asarray(column)[: len(images)] for column in self._call(pixels)]


def _is_out_of_memory(error: Exception) -> bool:
    return type(error).__name__ in _OUT_OF_MEMORY or _JAX_OUT_OF_MEMORY in str(error)


_MOST_CONSTANTS = 250_000_000
"""Weights that TensorFlow takes as constants, 1 GB in float32; a graph of more than 2 GB cannot be written at all."""

Compiled = Callable[[Pixels], Sequence[npt.ArrayLike]]
"""Pixels (images, height, width, 3) -> the model's outputs, as the backend's own tensors."""


def _compiled_by_tensorflow(model: keras.Model) -> Compiled:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # Without XLA, which makes TensorFlow slower on processors, several times slower for depthwise convolutions. With
    # weights as constants, batch normalization is folded into convolutions: 10 % faster for InceptionV3. The graph is then
    # copied several times with its weights: 24 GB for the 1.4 GB of convnext_xlarge, so large networks keep variables.
    function = tf.function(lambda pixels: model(pixels, training=False))
    traced = function.get_concrete_function(tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8))
    compute = convert_variables_to_constants_v2(traced) if model.count_params() <= _MOST_CONSTANTS else traced
    compute(tf.zeros((1, *model.input_shape[1:]), tf.uint8))  # the first call takes a second longer than all others
    return lambda pixels: compute(tf.constant(pixels))


def _compiled_by_jax(model: keras.Model) -> Compiled:
    import jax

    frozen = [variable.value for variable in model.non_trainable_variables]
    weights = [variable.value for variable in model.trainable_variables]
    compute = jax.jit(lambda weights, frozen, pixels: model.stateless_call(weights, frozen, pixels, training=False)[0])
    return lambda pixels: compute(weights, frozen, pixels)


def _compiled_by_torch(model: keras.Model) -> Compiled:
    import torch

    on_gpu = torch.cuda.is_available()

    def compute(pixels: Pixels) -> Sequence[npt.ArrayLike]:
        with torch.inference_mode():
            host = torch.from_numpy(pixels)
            batch = host.pin_memory().to("cuda", non_blocking=True) if on_gpu else host
            return [tensor.cpu() for tensor in model(batch, training=False)]

    return compute


_COMPILERS: Mapping[str, Callable[[keras.Model], Compiled]] = {
    "tensorflow": _compiled_by_tensorflow,
    "jax": _compiled_by_jax,
    "torch": _compiled_by_torch,
}
