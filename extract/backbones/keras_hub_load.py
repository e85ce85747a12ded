"""Building a network with keras-hub, and naming its outputs: what transformers calls them, and parts of the tokens.

    last_hidden_state.cls, .mean, .patches    of the sequence of tokens (see `extract.backbones.families`)
    block_N.cls, .mean, .patches              of what the N-th block gives, counted from 1, before the last normalization
    pooler_output, image_embeds               the model's own embedding of an image, and its projection to where texts are

Each is a layer of the network that is returned, so that it is cut like any other.
"""

import importlib.metadata
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import keras

from extract.backbones.build import as_in_a_new_process
from extract.backbones.families import CUTS, TOKENS
from extract.backbones.keras_hub_encoders import ENCODERS, project
from extract.backbones.keras_hub_kinds import POOLER, PROJECTED
from extract.backbones.keras_hub_model import HubNetwork, read_network
from extract.backbones.outputs import Cut
from extract.backbones.positions import interpolate_positions
from extract.backbones.tokens import find_grid
from store.errors import UsageError, reason_of
from store.suggestions import suggest_install

Sequences = Mapping[str, keras.KerasTensor]
"""By name: tensors (batch, tokens, channels), and embeddings (batch, channels)."""


def load_keras_hub(weights: Path, image_size: tuple[int, int], precision: str = "float32") -> keras.Model:
    """The network of a folder, which takes pixels after their preprocessing.

    Args:
        weights: the file of its weights; see `extract.backbones.keras_hub_model.HubNetwork`.
        image_size: (height, width) in pixels.
        precision: what layers compute in; the weights are float32 in any case.

    Raises:
        UsageError: keras-hub is not installed, or cannot build it; and see `extract.backbones.keras_hub_model.describe`.
    """
    found = read_network(weights)
    found.require_size(image_size)
    require_keras_hub()

    def builder() -> keras.Model:
        backbone = _from_preset(found, image_size) if found.is_preset else _from_transformers(found, image_size)
        _correct_positions(backbone, found, image_size)
        return _with_named_outputs(backbone, found, image_size)

    try:
        return as_in_a_new_process(builder, precision)
    except UsageError:
        raise
    except Exception as error:  # keras-hub raises nearly any kind
        version = importlib.metadata.version("keras-hub")
        raise UsageError(
            f"keras-hub {version} cannot build {found.name} ({reason_of(error)}): export the network to ONNX and put it "
            "there as model.onnx"
        ) from error


def require_keras_hub() -> None:
    """Raise UsageError unless keras-hub is installed, with what it reads safetensors with."""
    if missing := [name for name in ("keras_hub", "safetensors") if importlib.util.find_spec(name) is None]:
        raise UsageError(
            f"networks of safetensors and presets need {missing[0].replace('_', '-')}, which is not installed: "
            f"{suggest_install('stillframe[hub]')}, or put the network there as ONNX"
        )


def _from_transformers(found: HubNetwork, image_size: tuple[int, int]) -> keras.Model:
    import keras_hub

    if found.kind.builder in ENCODERS:
        return ENCODERS[found.kind.builder](found, image_size)
    options: dict[str, object] = {}  # what its conversion of config.json leaves out, or has otherwise
    if found.kind.builder == "ViTBackbone":
        options = {"layer_norm_epsilon": found.values["layer_norm_eps"]}
    elif found.kind.builder == "DINOV2Backbone":
        options = {"apply_layernorm": False}  # of blocks
    builder = getattr(keras_hub.models, found.kind.builder)
    return builder.from_preset(str(found.weights.parent), image_shape=(*image_size, 3), **options)


def _from_preset(found: HubNetwork, image_size: tuple[int, int]) -> keras.Model:
    import keras_hub

    # Not from_preset: that looks up whatever class the description names.
    backbone = getattr(keras_hub.models, found.kind.builder)(**{**found.values, "image_shape": (*image_size, 3)})
    backbone.load_weights(found.weights)
    return backbone


def _correct_positions(backbone: keras.Model, found: HubNetwork, image_size: tuple[int, int]) -> None:
    """Give DINOv2 the positions that PyTorch would: keras-hub's cubic is another one, and features differ by 1 %."""
    if found.kind.builder != "DINOV2Backbone" or backbone.antialias_in_interpolation:
        return  # with antialiasing both have the same cubic
    embeddings = backbone.embeddings
    if tuple(embeddings.position_embedding_shape) != image_size:
        grid = image_size[0] // found.patch_size, image_size[1] // found.patch_size
        own = keras.ops.convert_to_numpy(embeddings.position_embeddings)
        embeddings.interpolated_position_embeddings.assign(interpolate_positions(own, grid))


def _with_named_outputs(backbone: keras.Model, found: HubNetwork, image_size: tuple[int, int]) -> keras.Model:
    sequences = _SEQUENCES[found.kind.builder](backbone, found)
    prefix = found.outputs.prefix_tokens
    outputs = [layer for name, values in sequences.items() for layer in _parts(name, values, prefix, image_size)]
    return keras.Model(backbone.inputs[0], outputs, name="keras_hub")


def _parts(
    name: str, values: keras.KerasTensor, prefix: int, image_size: tuple[int, int]
) -> Iterator[keras.KerasTensor]:
    """The outputs that can be chosen of a network's output, each from a layer of its own name."""
    layers = keras.layers
    if len(values.shape) == 2:
        yield layers.Identity(name=name)(values)
        return
    tokens, channels = values.shape[1:]
    cls, mean, grid_name = (Cut(name, part).layer for part in CUTS)
    if prefix:
        yield layers.Flatten(name=cls)(layers.Cropping1D((0, tokens - 1))(values))
    patches = layers.Cropping1D((prefix, 0))(values) if prefix else values
    yield layers.GlobalAveragePooling1D(name=mean)(patches)
    if (grid := find_grid(tokens, prefix, image_size)) is not None:
        yield layers.Reshape((*grid.shape, channels), name=grid_name)(patches)


def _of_vit(backbone: keras.Model, _: HubNetwork) -> Sequences:
    encoder, x = backbone.get_layer("vit_encoder"), backbone.get_layer("vit_patching_and_embedding").output
    found = {}
    for number, block in enumerate(encoder.encoder_layers, 1):
        x = found[f"block_{number}"] = block(x)
    return {TOKENS: encoder.layer_norm(x), **found}


def _of_deit(backbone: keras.Model, _: HubNetwork) -> Sequences:
    encoder, x = backbone.get_layer("deit_encoder"), backbone.get_layer("deit_patching_and_embedding").output
    found = {}
    for number, block in enumerate(encoder.encoder_layers, 1):
        x, _ = block(x, return_attention_scores=True)  # without them it gives None, which no graph can hold
        found[f"block_{number}"] = x
    return {TOKENS: encoder.layer_norm(x), **found}


def _of_dino(backbone: keras.Model, _: HubNetwork) -> Sequences:
    last = backbone.outputs[0]
    blocks = {name.replace("stage", "block_"): x for name, x in backbone.pyramid_outputs.items() if name != "stem"}
    return {TOKENS: last, **blocks, POOLER: last[:, 0]}


def _of_swin(backbone: keras.Model, _: HubNetwork) -> Sequences:
    last = backbone.outputs[0]
    return {TOKENS: last, POOLER: keras.layers.GlobalAveragePooling1D()(last)}


def _of_clip(backbone: keras.Model, found: HubNetwork) -> Sequences:
    names = {f"block_{number}": f"encoder_block_{number - 1}" for number in range(1, found.blocks + 1)}
    blocks = {name: backbone.get_layer(layer).output for name, layer in names.items()}
    pooled = backbone.outputs[0][:, 0]
    projected = {PROJECTED: project(pooled, found)} if PROJECTED in found.pooled else {}
    # As transformers has it, its last normalization is for the embedding alone.
    return {TOKENS: blocks[f"block_{found.blocks}"], **blocks, POOLER: pooled, **projected}


def _of_siglip(backbone: keras.Model, found: HubNetwork) -> Sequences:
    pixels, embedding = backbone.inputs[0], backbone.embedding
    shape = (None, (pixels.shape[1] // found.patch_size) * (pixels.shape[2] // found.patch_size), embedding.hidden_dim)
    embedding.compute_output_shape = lambda _: shape  # keras-hub 0.32 counts a class token, which there is not
    x, blocks = embedding(pixels), {}
    for number, block in enumerate(backbone.encoder_layers, 1):
        x = blocks[f"block_{number}"] = block(x)
    x = backbone.post_layer_norm(x)
    return {TOKENS: x, **blocks, POOLER: backbone.head(x)}


_SEQUENCES: Mapping[str, Callable[[keras.Model, HubNetwork], Sequences]] = {
    "ViTBackbone": _of_vit,
    "DeiTBackbone": _of_deit,
    "DINOV2Backbone": _of_dino,
    "DINOV3Backbone": _of_dino,
    "SwinTransformerBackbone": _of_swin,
    "CLIPVisionEncoder": _of_clip,
    "SigLIPVisionEncoder": _of_siglip,
}
