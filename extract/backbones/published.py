"""Well-known networks that are published as folders, one of each family, and the licenses of their weights.

They are examples: any folder of these families is taken, and its model card states its license. Those here are what timm's
table (`timm/models/*.py`, `license`) and the repositories of their authors say.
"""

from collections.abc import Sequence
from dataclasses import dataclass

RESEARCH_ONLY, ON_REQUEST = "research only", "ask first"


@dataclass(frozen=True)
class PublishedNetwork:
    """A network of a hub.

    Attributes:
        name: as --backbone takes it.
        family: `model_type` of its config.json.
        size: (height, width) in pixels that its image processor makes.
        channels: of its default output, a vector.
        license: of its weights.
        terms: what stands out about it: RESEARCH_ONLY, ON_REQUEST (access must be asked for at the hub), or nothing.
    """

    name: str
    family: str
    size: tuple[int, int]
    channels: int
    license: str
    terms: str = ""


_SIZE = (224, 224)

PUBLISHED = (
    PublishedNetwork("hf:facebook/convnextv2-tiny-22k-224", "convnextv2", _SIZE, 768, "CC-BY-NC-4.0", RESEARCH_ONLY),
    PublishedNetwork("hf:facebook/deit-base-distilled-patch16-224", "deit", _SIZE, 768, "Apache-2.0"),
    PublishedNetwork("hf:facebook/dinov2-small", "dinov2", _SIZE, 384, "Apache-2.0"),
    PublishedNetwork("hf:facebook/dinov2-with-registers-small", "dinov2_with_registers", _SIZE, 384, "Apache-2.0"),
    PublishedNetwork(
        "hf:facebook/dinov3-vits16-pretrain-lvd1689m", "dinov3_vit", _SIZE, 384, "DINOv3 License", ON_REQUEST
    ),
    PublishedNetwork("hf:google/siglip-base-patch16-224", "siglip", _SIZE, 768, "Apache-2.0"),
    PublishedNetwork("hf:google/vit-base-patch16-224", "vit", _SIZE, 768, "Apache-2.0"),
    PublishedNetwork("hf:microsoft/swin-tiny-patch4-window7-224", "swin", _SIZE, 768, "MIT"),
    PublishedNetwork("hf:openai/clip-vit-base-patch32", "clip", _SIZE, 512, "MIT"),
)


def find_published(word: str) -> Sequence[PublishedNetwork]:
    """Those with a word in their name or family, whatever its case, underscores and hyphens."""
    plain = _plain(word)
    return [network for network in PUBLISHED if plain in _plain(network.name) or plain in _plain(network.family)]


def _plain(text: str) -> str:
    return text.lower().replace("_", "").replace("-", "")
