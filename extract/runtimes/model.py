"""The Keras model that every runtime computes: uint8 pixels -> tensors of the stored type, and their magnitudes."""

from collections.abc import Mapping

import keras
import numpy as np

from extract.backbones.build import cut
from store.preprocessing import Preprocessing
from store.recipe import stored_dtype


@keras.saving.register_keras_serializable(package="stillframe")
class Preprocess(keras.layers.Layer):
    """From uint8 pixels to the input that a network was trained on.

    `mode` is a key of table.PREPROCESSING, or what `store.preprocessing.Preprocessing.to_dict` gives.
    """

    def __init__(self, mode: str | Mapping[str, object], **layer_options: object) -> None:
        super().__init__(dtype="float32", **layer_options)
        self.mode = mode if isinstance(mode, str) else dict(mode)

    def call(self, pixels: keras.KerasTensor) -> keras.KerasTensor:
        """Cast to float32, then keras.applications' own arithmetic, or that of the data."""
        values = keras.ops.cast(pixels, "float32")
        if not isinstance(self.mode, str):
            return _prepared(values, Preprocessing.from_dict(_plain(self.mode)))
        if self.mode == "inside":
            return values
        return keras.applications.imagenet_utils.preprocess_input(values, "channels_last", self.mode)

    def compute_output_spec(self, pixels: keras.KerasTensor) -> keras.KerasTensor:
        """The pixels' shape, float32."""
        return keras.KerasTensor(pixels.shape, "float32")

    def get_config(self) -> dict[str, object]:
        """The arguments of `__init__`, for Keras' serialisation."""
        return {**super().get_config(), "mode": self.mode}


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """With lists, which Keras wraps, as they were."""
    return {name: list(value) if isinstance(value, list | tuple) else value for name, value in values.items()}


def _prepared(values: keras.KerasTensor, preprocessing: Preprocessing) -> keras.KerasTensor:
    if preprocessing.channels == "bgr":
        values = keras.ops.flip(values, -1)
    mean, std = np.array(preprocessing.mean, np.float32), np.array(preprocessing.std, np.float32)
    return (values * preprocessing.rescale - mean) / std


def feature_model(
    network: keras.Model, layers: tuple[str, ...], pooling: str, preprocessing: str | Preprocessing, dtype: str
) -> keras.Model:
    """Pixels (batch, height, width, 3) -> [tensor, largest magnitude] of each output, as one flat list.

    See `extract.runtimes.base.Computed`. The cast is part of the model because numpy's cast to float16 takes as long as a
    small network, and because only half as much has to be copied from the device.

    Args:
        network: the bare network, weights loaded.
        layers: where to cut, in output order.
        pooling: none, avg or max, applied to spatial outputs.
        preprocessing: a key of table.PREPROCESSING, or that of a model from a file.
        dtype: the stored type, or auto: float16 for spatial tensors, float32 for vectors.
    """
    pixels = keras.Input(network.input_shape[1:], dtype="uint8", name="pixels")
    mode = preprocessing if isinstance(preprocessing, str) else preprocessing.to_dict()
    tensors = cut(network, layers)(Preprocess(mode, name="preprocess")(pixels))
    outputs = []
    for tensor in tensors if isinstance(tensors, list | tuple) else [tensors]:
        values = keras.ops.cast(_pooled(tensor, pooling), "float32")
        outputs += [keras.ops.cast(values, stored_dtype(dtype, spatial=len(values.shape) > 2)), _largest(values)]
    return keras.Model(pixels, outputs)


def _pooled(tensor: keras.KerasTensor, pooling: str) -> keras.KerasTensor:
    if pooling == "none" or len(tensor.shape) != 4:
        return tensor
    pools = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
    return pools[pooling](dtype="float32")(tensor)


def _largest(values: keras.KerasTensor) -> keras.KerasTensor:
    """The largest magnitude of each image's tensor; see `extract.runtimes.base.Computed`."""
    magnitudes = keras.ops.abs(values)
    axes = tuple(range(1, len(values.shape)))
    total = keras.ops.sum(magnitudes, axes)  # a maximum would lose NaN in some libraries, a sum does not
    return keras.ops.where(keras.ops.isfinite(total), keras.ops.max(magnitudes, axes), total)
