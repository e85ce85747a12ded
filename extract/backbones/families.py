"""What is known about the outputs of model families, as config.json names them (`model_type`).

A transformer's sequence of tokens begins with a class token in most families, then come registers or a distillation
token, then the patches in rows. The names of outputs are those of Hugging Face transformers' vision models.
"""

from collections.abc import Mapping
from dataclasses import dataclass

TOKENS = "last_hidden_state"
"""The sequence of all tokens, or the last feature map."""

CUTS = ("cls", "mean", "patches")
"""What can be taken of a sequence of tokens: the class token, the mean of the patch tokens, their grid."""

POOLED = "pooled"
"""The model's own embedding of an image."""


@dataclass(frozen=True)
class Family:
    """A family of models.

    Attributes:
        prefix: how many tokens come before those of the patches, registers not counted.
        default: the output that is used where --layer does not name one.
        pooled: the outputs that `pooled` stands for, the first that there is.
        tokens: whether `last_hidden_state` is a sequence of tokens, not a feature map.
    """

    prefix: int
    default: str
    pooled: tuple[str, ...] = ("pooler_output",)
    tokens: bool = True


_PROJECTED = ("image_embeds", "pooler_output")

FAMILIES: Mapping[str, Family] = {
    "vit": Family(1, "cls"),
    "deit": Family(2, "cls"),
    "dinov2": Family(1, "cls"),
    "dinov2_with_registers": Family(1, "cls"),
    "dinov3_vit": Family(1, "cls"),
    "clip": Family(1, "pooled", _PROJECTED),
    "clip_vision_model": Family(1, "pooled", _PROJECTED),
    "siglip": Family(0, "pooled", _PROJECTED),
    "siglip_vision_model": Family(0, "pooled", _PROJECTED),
    "swin": Family(0, "pooled"),
    "swinv2": Family(0, "pooled"),
    "convnext": Family(0, "pooled", tokens=False),
    "convnextv2": Family(0, "pooled", tokens=False),
}


@dataclass(frozen=True)
class TokenOutputs:
    """What a folder's config.json says about a model's outputs: its family, and tokens before those of the patches."""

    family: Family
    prefix_tokens: int

    @property
    def short(self) -> tuple[str, ...]:
        """The short names of outputs that --layer takes."""
        parts = CUTS if self.prefix_tokens else CUTS[1:]
        return (*parts, POOLED) if self.family.tokens else (POOLED,)


def find_family(config: Mapping[str, object]) -> TokenOutputs | None:
    """What is known about the model of a config.json; None for a family that is not in the table."""
    family = FAMILIES.get(str(config.get("model_type")))
    if family is None:
        return None
    vision = config.get("vision_config")
    registers = (vision if isinstance(vision, dict) else config).get("num_register_tokens", 0)
    # A class token where there is one, then registers: in all families that have them (modeling_dinov3_vit.py,
    # DINOv3ViTEmbeddings; modeling_dinov2_with_registers.py).
    count = registers if isinstance(registers, int) and not isinstance(registers, bool) else 0
    return TokenOutputs(family, family.prefix + max(0, count))
