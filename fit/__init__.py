"""Stillframe's heads: small models on what a store holds, and numbers about them that one can believe.

from fit import fit_head, load_head

head = fit_head("store", head="logistic")
head.save("heads/logistic")
table = load_head("heads/logistic").predict("new_images/")
"""

from typing import TYPE_CHECKING

from store.lazy import exporting

if TYPE_CHECKING:
    from fit.head import Head, load_head
    from fit.train import fit_head

__all__ = ["Head", "fit_head", "load_head"]


# Loaded on first use: the command line's --help must not wait for libraries.
if not TYPE_CHECKING:  # a type checker goes by the imports above, so that a wrong name is an error
    __getattr__ = exporting(
        __name__,
        {"fit.head": ("Head", "load_head"), "fit.train": ("fit_head",)},
    )
