"""Stillframe's heads: small models on what a store holds, and numbers about them that one can believe.

from fit import fit_head, load_head

head = fit_head("store", head="logistic")
head.save("heads/logistic")
table = load_head("heads/logistic").predict("new_images/")
"""

from typing import TYPE_CHECKING

from store.lazy import exporting

if TYPE_CHECKING:
    from fit.audit.options import AuditOptions
    from fit.audit.run import audit_store
    from fit.curve.options import CurveOptions
    from fit.curve.run import Curve, fit_curve
    from fit.head import Head, load_head
    from fit.lookup.options import SearchOptions
    from fit.lookup.search import search_store
    from fit.train import fit_head

__all__ = [
    "AuditOptions",
    "Curve",
    "CurveOptions",
    "Head",
    "SearchOptions",
    "audit_store",
    "fit_curve",
    "fit_head",
    "load_head",
    "search_store",
]


# Loaded on first use: the command line's --help must not wait for libraries.
if not TYPE_CHECKING:  # a type checker goes by the imports above, so that a wrong name is an error
    __getattr__ = exporting(
        __name__,
        {
            "fit.audit.options": ("AuditOptions",),
            "fit.audit.run": ("audit_store",),
            "fit.curve.options": ("CurveOptions",),
            "fit.curve.run": ("Curve", "fit_curve"),
            "fit.head": ("Head", "load_head"),
            "fit.lookup.options": ("SearchOptions",),
            "fit.lookup.search": ("search_store",),
            "fit.train": ("fit_head",),
        },
    )
