"""Stillframe's stores: what was extracted, kept so that it can be trusted and read by anyone.

from store import open_store

features = open_store("store")
X, rows = features.arrays(split="train")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from store.reader import FeatureStore, open_store
    from store.recipe import Output, Recipe

__all__ = ["FeatureStore", "Output", "Recipe", "open_store"]


def __getattr__(name: str) -> Any:
    # Loaded on first use (PEP 562): the command line's --help must not wait for pyarrow.
    if name in ("FeatureStore", "open_store"):
        import store.reader

        return getattr(store.reader, name)
    if name in __all__:
        import store.recipe

        return getattr(store.recipe, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
