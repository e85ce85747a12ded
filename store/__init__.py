"""Stillframe's stores: extracted features, safely stored and readable by anyone.

from store import open_store

features = open_store("store")
X, rows = features.arrays(split="train")
"""

from typing import TYPE_CHECKING

from store.lazy import exporting

if TYPE_CHECKING:
    from store.reader import FeatureStore, open_store
    from store.recipe import Output, Recipe

__all__ = ["FeatureStore", "Output", "Recipe", "open_store"]


# Loaded on first use: the command line's --help must not wait for libraries.
if not TYPE_CHECKING:  # a type checker goes by the imports above, so that a wrong name is an error
    __getattr__ = exporting(
        __name__,
        {"store.reader": ("FeatureStore", "open_store"), "store.recipe": ("Output", "Recipe")},
    )
