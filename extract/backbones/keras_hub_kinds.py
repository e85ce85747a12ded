"""The kinds of networks that are taken from keras-hub: how each is built, and which numbers decide what it computes.

A name that is not in these tables is not known: no class or function that a file names is looked up. What keras-hub takes for
granted must be so in a description, for otherwise features would look right and be wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

POOLER, PROJECTED = "pooler_output", "image_embeds"
"""A model's own embedding of an image, and its projection to where texts are."""

PROJECTION = "visual_projection.weight"


@dataclass(frozen=True)
class HubKind:
    """A kind of network.

    Attributes:
        builder: its class in `keras_hub.models`.
        fields: of its description, with their defaults; None where there is none. They decide what is computed.
        granted: what else the description may say, and the value that keras-hub takes for granted.
        pooled: the model's own embeddings of an image, by name.
        blocks: whether the output of each block can be had.
        patch_sizes: whether it takes images of any multiple of its patches, not of its own size alone.
        section: the part of the description that holds the fields; empty for the description itself.
    """

    builder: str
    fields: Mapping[str, object]
    granted: Mapping[str, object] = field(default_factory=dict)
    pooled: tuple[str, ...] = ()
    blocks: bool = True
    patch_sizes: bool = False
    section: str = ""


_SIZES: dict[str, object] = dict.fromkeys(
    ("image_size", "patch_size", "num_hidden_layers", "num_attention_heads", "hidden_size")
)
_PLAIN = {"hidden_act": "gelu", "num_channels": 3}
_VIT: dict[str, object] = {**_SIZES, "intermediate_size": None, "layer_norm_eps": 1e-12}
_DINO2: dict[str, object] = {
    **_SIZES, "mlp_ratio": None, "layerscale_value": None, "use_swiglu_ffn": None, "num_register_tokens": 0,
    "use_mask_token": True, "hidden_dropout_prob": 0.0, "drop_path_rate": 0.0,
}  # fmt: skip
_DINO2_GRANTED = {**_PLAIN, "qkv_bias": True, "layer_norm_eps": 1e-6}
_DINO3: dict[str, object] = {
    **_SIZES, "intermediate_size": None, "layerscale_value": None, "num_register_tokens": None, "hidden_act": None,
    "use_gated_mlp": None, "query_bias": None, "key_bias": None, "value_bias": None, "proj_bias": None,
    "mlp_bias": None, "layer_norm_eps": None, "rope_theta": 100.0, "rope_parameters": {},
}  # fmt: skip
_SWIN: dict[str, object] = dict.fromkeys(
    ("image_size", "patch_size", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "qkv_bias")
)
_SWIN_GRANTED = {**_PLAIN, "layer_norm_eps": 1e-5, "use_absolute_embeddings": False}
_BASE: dict[str, object] = {
    "image_size": 224, "num_hidden_layers": 12, "num_attention_heads": 12, "hidden_size": 768, "intermediate_size": 3072
}  # fmt: skip
_CLIP = HubKind(
    "CLIPVisionEncoder",
    {**_BASE, "patch_size": 32, "hidden_act": "quick_gelu"},
    {"num_channels": 3, "layer_norm_eps": 1e-5},
    pooled=(PROJECTED, POOLER),
)  # fmt: skip
_SIGLIP = HubKind(
    "SigLIPVisionEncoder",
    {**_BASE, "patch_size": 16},
    {"num_channels": 3, "layer_norm_eps": 1e-6, "hidden_act": "gelu_pytorch_tanh"},
    pooled=(POOLER,),
)

TRANSFORMERS: Mapping[str, HubKind] = {
    "vit": HubKind("ViTBackbone", {**_VIT, "qkv_bias": True}, _PLAIN),
    "deit": HubKind("DeiTBackbone", _VIT, {**_PLAIN, "qkv_bias": True}),
    "dinov2": HubKind("DINOV2Backbone", _DINO2, _DINO2_GRANTED, pooled=(POOLER,), patch_sizes=True),
    "dinov2_with_registers": HubKind("DINOV2Backbone", _DINO2, _DINO2_GRANTED, pooled=(POOLER,), patch_sizes=True),
    "dinov3_vit": HubKind("DINOV3Backbone", _DINO3, {"num_channels": 3}, pooled=(POOLER,), patch_sizes=True),
    "swin": HubKind("SwinTransformerBackbone", _SWIN, _SWIN_GRANTED, pooled=(POOLER,), blocks=False),
    "clip": replace(_CLIP, section="vision_config"),
    "clip_vision_model": _CLIP,
    "siglip": replace(_SIGLIP, section="vision_config"),
    "siglip_vision_model": _SIGLIP,
}
"""By `model_type` of a folder's config.json: the fields are those of transformers' configuration classes."""

_LAYERS: dict[str, object] = dict.fromkeys(("image_shape", "patch_size", "num_layers", "num_heads", "hidden_dim"))
_FORMAT = {"data_format": "channels_last"}

PRESETS: Mapping[str, tuple[str, HubKind]] = {
    "ViTBackbone": (
        "vit",
        HubKind(
            "ViTBackbone",
            {**_LAYERS, "mlp_dim": None, "layer_norm_epsilon": None, "use_mha_bias": True, "use_mlp_bias": True,
             "use_patch_bias": True},
            {**_FORMAT, "use_class_token": True},
        ),
    ),
    "DeiTBackbone": (
        "deit",
        HubKind(
            "DeiTBackbone",
            {**_LAYERS, "intermediate_dim": None, "layer_norm_epsilon": None, "use_mha_bias": True},
            _FORMAT,
        ),
    ),
    "DINOV2Backbone": (
        "dinov2",
        HubKind(
            "DINOV2Backbone",
            {**_LAYERS, "intermediate_dim": None, "layer_scale_init_value": 1.0, "num_register_tokens": 0,
             "use_mask_token": True, "use_swiglu_ffn": False, "position_embedding_shape": None,
             "antialias_in_interpolation": False},
            _FORMAT,
            pooled=(POOLER,),
            patch_sizes=True,
        ),
    ),
    "DINOV3Backbone": (
        "dinov3_vit",
        HubKind(
            "DINOV3Backbone",
            {**_LAYERS, "intermediate_dim": None, "layer_scale_init_value": 1.0, "num_register_tokens": 4,
             "use_mask_token": True, "hidden_activation": "gelu", "use_gated_mlp": False, "use_query_bias": True,
             "use_key_bias": True, "use_value_bias": True, "use_proj_bias": True, "use_mlp_bias": True,
             "layer_norm_eps": 1e-5, "rope_theta": 100.0},
            _FORMAT,
            pooled=(POOLER,),
            patch_sizes=True,
        ),
    ),
    "SwinTransformerBackbone": (
        "swin",
        HubKind(
            "SwinTransformerBackbone",
            {**dict.fromkeys(("image_shape", "embed_dim", "depths", "num_heads", "window_size")), "patch_size": 4,
             "mlp_ratio": 4.0, "qkv_bias": True, "patch_norm": True},
            _FORMAT,
            pooled=(POOLER,),
            blocks=False,
        ),
    ),
}  # fmt: skip
"""By the class that a preset's config.json names: the family, and the kind, whose fields are that class's arguments."""

SPELLED = {
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "hidden_dim": "hidden_size",
    "intermediate_dim": "intermediate_size",
    "mlp_dim": "intermediate_size",
}
"""Arguments of keras-hub's classes, and the fields of transformers that say the same."""
