"""The vision encoders of CLIP and SigLIP, for whose folders keras-hub has the layers but no conversion of the weights.

Names of arrays are those of transformers (modeling_clip.py, modeling_siglip.py). Its dense layers keep their weights as
(outputs, inputs) and convolutions as (outputs, inputs, height, width); Keras has (inputs, outputs) and (height, width,
inputs, outputs).
"""

from collections.abc import Callable, Mapping

import keras
import numpy as np
import numpy.typing as npt

from extract.backbones.keras_hub_kinds import PROJECTED, PROJECTION
from extract.backbones.keras_hub_model import HubNetwork
from extract.backbones.safetensors_file import StoredTensor, load_tensor, read_safetensors
from store.errors import UsageError

Array = npt.NDArray[np.float32]

_TOWER = "vision_model."


class _Arrays:
    """The arrays of a folder's vision encoder, by their names without its own."""

    def __init__(self, found: HubNetwork) -> None:
        self._found = found
        self._heads = int(str(found.values["num_attention_heads"]))
        tensors = {tensor.name: tensor for tensor in read_safetensors(found.weights.parent)}
        towered = any(name.startswith(_TOWER) for name in tensors)
        self._tensors: Mapping[str, StoredTensor] = {
            name.removeprefix(_TOWER): tensor
            for name, tensor in tensors.items()
            if not towered or name.startswith(_TOWER) or name == PROJECTION
        }

    def __getitem__(self, name: str) -> Array:
        if name not in self._tensors:
            raise UsageError(f"{self._found.name} has no array {name}, which {self._found.kind.builder} needs")
        return load_tensor(self._tensors[name])

    def fill_normalization(self, layer: keras.Layer, name: str) -> None:
        layer.gamma.assign(self[f"{name}.weight"])
        layer.beta.assign(self[f"{name}.bias"])

    def fill_dense(self, layer: keras.Layer, name: str) -> None:
        layer.kernel.assign(self[f"{name}.weight"].T)
        if layer.use_bias:
            layer.bias.assign(self[f"{name}.bias"])

    def fill_patches(self, layer: keras.Layer, name: str) -> None:
        layer.kernel.assign(self[f"{name}.weight"].transpose(2, 3, 1, 0))
        if layer.use_bias:
            layer.bias.assign(self[f"{name}.bias"])

    def fill_positions(self, embedding: keras.Layer) -> None:
        positions = self["embeddings.position_embedding.weight"]
        embedding.position_embedding.embeddings.assign(positions)
        embedding.position_ids.assign(np.arange(len(positions))[None])

    def fill_attention(self, layer: keras.Layer, name: str) -> None:
        inputs = [(self[f"{name}.{part}_proj.weight"], self[f"{name}.{part}_proj.bias"]) for part in "qkv"]
        self._assign(layer, inputs, f"{name}.out_proj")

    def fill_packed_attention(self, layer: keras.Layer, name: str) -> None:
        weights, biases = np.split(self[f"{name}.in_proj_weight"], 3), np.split(self[f"{name}.in_proj_bias"], 3)
        self._assign(layer, list(zip(weights, biases, strict=True)), f"{name}.out_proj")

    def _assign(self, layer: keras.Layer, inputs: list[tuple[Array, Array]], output: str) -> None:
        for dense, (weight, bias) in zip((layer.query_dense, layer.key_dense, layer.value_dense), inputs, strict=True):
            dense.kernel.assign(weight.T.reshape(len(weight), self._heads, -1))
            dense.bias.assign(bias.reshape(self._heads, -1))
        weight = self[f"{output}.weight"]
        layer.output_dense.kernel.assign(weight.T.reshape(self._heads, -1, len(weight)))
        layer.output_dense.bias.assign(self[f"{output}.bias"])


def clip_encoder(found: HubNetwork, image_size: tuple[int, int]) -> keras.Model:
    """CLIP's vision encoder with a folder's weights: images -> all tokens after the last normalization.

    Raises:
        UsageError: an array is missing.
    """
    import keras_hub

    arrays = _Arrays(found)
    encoder = keras_hub.models.CLIPVisionEncoder(**_arguments(found, image_size, str(found.values["hidden_act"])))
    encoder.embedding.class_embedding.assign(arrays["embeddings.class_embedding"])
    arrays.fill_patches(encoder.embedding.patch_embedding, "embeddings.patch_embedding")
    arrays.fill_positions(encoder.embedding)
    arrays.fill_normalization(encoder.pre_layer_norm, "pre_layrnorm")  # sic
    for number, block in enumerate(encoder.encoder_layers):
        name = f"encoder.layers.{number}"
        arrays.fill_normalization(block.layer_norm_1, f"{name}.layer_norm1")
        arrays.fill_attention(block.attention, f"{name}.self_attn")
        arrays.fill_normalization(block.layer_norm_2, f"{name}.layer_norm2")
        arrays.fill_dense(block.dense_1, f"{name}.mlp.fc1")
        arrays.fill_dense(block.dense_2, f"{name}.mlp.fc2")
    arrays.fill_normalization(encoder.layer_norm, "post_layernorm")
    return encoder


def siglip_encoder(found: HubNetwork, image_size: tuple[int, int]) -> keras.Model:
    """SigLIP's vision encoder with a folder's weights: images -> their pooled embeddings.

    Raises:
        UsageError: an array is missing.
    """
    import keras_hub

    arrays = _Arrays(found)
    encoder = keras_hub.models.SigLIPVisionEncoder(**_arguments(found, image_size, "gelu_approximate"))
    arrays.fill_patches(encoder.embedding.patch_embedding, "embeddings.patch_embedding")
    arrays.fill_positions(encoder.embedding)
    for number, block in enumerate(encoder.encoder_layers):
        name = f"encoder.layers.{number}"
        arrays.fill_normalization(block.layer_norm1, f"{name}.layer_norm1")
        arrays.fill_attention(block.self_attn, f"{name}.self_attn")
        arrays.fill_normalization(block.layer_norm2, f"{name}.layer_norm2")
        arrays.fill_dense(block.mlp.fc1, f"{name}.mlp.fc1")
        arrays.fill_dense(block.mlp.fc2, f"{name}.mlp.fc2")
    arrays.fill_normalization(encoder.post_layer_norm, "post_layernorm")
    encoder.head.probe.assign(arrays["head.probe"])
    arrays.fill_packed_attention(encoder.head.attention, "head.attention")
    arrays.fill_normalization(encoder.head.layer_norm, "head.layernorm")
    arrays.fill_dense(encoder.head.mlp.fc1, "head.mlp.fc1")
    arrays.fill_dense(encoder.head.mlp.fc2, "head.mlp.fc2")
    return encoder


def project(pooled: keras.KerasTensor, found: HubNetwork) -> keras.KerasTensor:
    """CLIP's projection of pooled embeddings (batch, channels)."""
    weight = _Arrays(found)[PROJECTION]
    layer = keras.layers.Dense(len(weight), use_bias=False, name=f"{PROJECTED}_projection")
    projected = layer(pooled)
    layer.kernel.assign(weight.T)
    return projected


def _arguments(found: HubNetwork, image_size: tuple[int, int], activation: str) -> dict[str, object]:
    """The arguments of an encoder's class."""
    values = found.values
    return {
        "patch_size": values["patch_size"],
        "hidden_dim": values["hidden_size"],
        "num_layers": values["num_hidden_layers"],
        "num_heads": values["num_attention_heads"],
        "intermediate_dim": values["intermediate_size"],
        "intermediate_activation": activation,
        "image_shape": (*image_size, 3),
    }


ENCODERS: Mapping[str, Callable[[HubNetwork, tuple[int, int]], keras.Model]] = {
    "CLIPVisionEncoder": clip_encoder,
    "SigLIPVisionEncoder": siglip_encoder,
}
