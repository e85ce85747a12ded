"""The Keras model that every runtime computes: uint8 pixels -> tensors of the stored type, and their magnitudes."""

from typing import Any

import keras

from extract.backbones.build import cut
from store.recipe import stored_dtype


@keras.saving.register_keras_serializable(package="stillframe")
class Preprocess(keras.layers.Layer):
    """uint8 pixels to what a network was trained to see; `mode` is a key of table.PREPROCESSING."""

    def __init__(self, mode: str, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
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


def feature_model(
    network: keras.Model, layers: tuple[str, ...], pooling: str, preprocessing: str, dtype: str
) -> keras.Model:
    """Pixels (batch, height, width, 3) -> [tensor, largest magnitude] of each output, as one flat list.

    See `extract.runtimes.Computed`. The cast is part of the model because numpy's to float16 would cost as much as
    a small network, and because a device then has half as much to send back.

    Args:
        network: the bare network, weights loaded.
        layers: where to cut, in output order.
        pooling: none, avg or max, applied to spatial outputs.
        preprocessing: a key of table.PREPROCESSING.
        dtype: the stored type, or auto: float16 for spatial tensors, float32 for vectors.
    """
    pixels = keras.Input(network.input_shape[1:], dtype="uint8", name="pixels")
    tensors = cut(network, layers)(Preprocess(preprocessing, name="preprocess")(pixels))
    outputs = []
    for tensor in tensors if isinstance(tensors, list | tuple) else [tensors]:
        values = keras.ops.cast(_pooled(tensor, pooling), "float32")
        outputs += [keras.ops.cast(values, stored_dtype(dtype, spatial=len(values.shape) > 2)), _largest(values)]
    return keras.Model(pixels, outputs)


def _pooled(tensor: Any, pooling: str) -> Any:
    if pooling == "none" or len(tensor.shape) != 4:
        return tensor
    pools = {"avg": keras.layers.GlobalAveragePooling2D, "max": keras.layers.GlobalMaxPooling2D}
    return pools[pooling](dtype="float32")(tensor)


def _largest(values: Any) -> Any:
    magnitudes = keras.ops.abs(values)
    axes = tuple(range(1, len(values.shape)))
    total = keras.ops.sum(magnitudes, axes)  # unlike a maximum, a sum loses no NaN in any library
    return keras.ops.where(keras.ops.isfinite(total), keras.ops.max(magnitudes, axes), total)
