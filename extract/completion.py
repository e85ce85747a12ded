"""What a shell completes in `extract`: values of options, from the values of the options before them."""

import importlib.metadata
import json
from collections.abc import Iterable, Mapping

from extract.backbones.table import BACKBONES, DEFAULT_BACKBONE
from store.files.cache import cache_folder
from store.files.local import write_whole


def complete_backbone(_: Mapping[str, object]) -> Iterable[str]:
    """The names of the table."""
    return BACKBONES


def complete_layer(given: Mapping[str, object]) -> Iterable[str]:
    """The layers of the backbone that --backbone names; listing them takes seconds once, then they are remembered."""
    named = given.get("backbone") or DEFAULT_BACKBONE
    backbone = str(named[-1] if isinstance(named, list | tuple) else named)
    versions = "-".join(importlib.metadata.version(name) for name in ("stillframe", "keras"))
    remembered = cache_folder() / "layers" / versions / f"{backbone}.json"
    in_table = backbone in BACKBONES  # the layers of a file may change
    if in_table and remembered.exists():
        names: list[str] = json.loads(remembered.read_text(encoding="utf-8"))
        return names
    from extract.backbones.layers import list_layers

    names = [point.name for point in list_layers(backbone)]
    if in_table:
        write_whole(remembered, json.dumps(names).encode())
    return names
