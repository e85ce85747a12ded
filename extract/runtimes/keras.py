"""The Keras runtime: TensorFlow by default, JAX or PyTorch where KERAS_BACKEND says so."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from extract.backbones.build import cut


@keras.saving.register_keras_serializable(package="stillframe")
class Preprocess(keras.layers.Layer):
    """uint8 pixels to what a network was trained to see; `mode` is a key of table.PREPROCESSING."""

    def __init__(self, mode: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mode = mode

    def call(self, pixels: Any) -> Any:
        """Cast to float32, then keras.applications' own arithmetic."""
        values = keras.ops.cast(pixels, "float32")
        if self.mode == "inside":
            return values
        return keras.applications.imagenet_utils.preprocess_input(values, "channels_last", self.mode)

    def compute_output_spec(self, pixels: Any) -> keras.KerasTensor:
        """The pixels' shape, float32."""
        return keras.KerasTensor(pixels.shape, "float32")

    def get_config(self) -> dict[str, Any]:
        """Keras' serialisation."""
        return {**super().get_config(), "mode": self.mode}


class KerasRuntime:
    """See `extract.runtimes.Runtime`.

    Args:
        network: the bare network, weights loaded.
        layers: where to cut, in output order.
        pooling: none, avg or max, applied to spatial outputs.
        preprocessing: a key of table.PREPROCESSING.
    """

    def __init__(self, network: keras.Model, layers: tuple[str, ...], pooling: str, preprocessing: str) -> None:
        pixels = keras.Input(network.input_shape[1:], dtype="uint8")
        tensors = cut(network, layers)(Preprocess(preprocessing, name="preprocess")(pixels))
        self.model = keras.Model(pixels, [_pooled(tensor, pooling) for tensor in _as_list(tensors)])
        backend = keras.backend.backend()
        # XLA on a CPU makes TensorFlow slower, and several times so for depthwise convolutions.
        self.model.compile(jit_compile=backend == "jax")
        self.shapes: Sequence[tuple[int, ...]] = [tuple(output.shape[1:]) for output in self.model.outputs]
        self.environment: Mapping[str, str] = {
            "runtime": "keras",
            "device": _device(backend),
            "backend": f"{backend} {importlib.metadata.version(backend)}",
            "keras": keras.version(),
        }

    def __call__(self, pixels: npt.NDArray[np.uint8]) -> list[npt.NDArray[Any]]:
        """See `extract.runtimes.Runtime`."""
        return [np.asarray(tensor) for tensor in _as_list(self.model.predict_on_batch(pixels))]


def _as_list(tensors: Any) -> list[Any]:
    return list(tensors) if isinstance(tensors, (list, tuple)) else [tensors]


def _pooled(tensor: Any, pooling: str) -> Any:
    if pooling == "none" or len(tensor.shape) != 4:
        return tensor
    pools = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
    return pools[pooling]()(tensor)


def _device(backend: str) -> str:
    if backend == "tensorflow":
        import tensorflow as tf

        devices = tf.config.list_physical_devices("GPU")
        for device in devices:  # TensorFlow takes all of a GPU's memory otherwise
            tf.config.experimental.set_memory_growth(device, True)
        return str(tf.config.experimental.get_device_details(devices[0])["device_name"]) if devices else "CPU"
    if backend == "jax":
        import jax

        kind = jax.devices()[0].device_kind
        return "CPU" if kind == "cpu" else str(kind)
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "CPU"
