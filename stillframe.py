"""Stillframe in one import: extract features once, fit heads on them as often as you like.

import stillframe as sf

sf.extract("data/", out="store", backbone="inception_v3")
head = sf.fit_head("store", head="logistic")
head.save("heads/logistic")
table = sf.load_head("heads/logistic").predict("new_images/")

Everything is loaded on first use (PEP 562): importing this module takes no time.
"""

from typing import TYPE_CHECKING

from store.errors import (
    DamagedHead,
    DamagedStore,
    EnvironmentFailure,
    NotAStore,
    PrecisionMissing,
    RecipeMismatch,
    StillframeError,
    StoppedEarly,
    TooManyFailures,
    UnsafeFile,
    UsageError,
)
from store.lazy import exporting

if TYPE_CHECKING:
    from extract.request import RunOptions
    from extract.run import extract, extract_together
    from extract.summary import RunResult
    from fit.audit.options import AuditOptions
    from fit.audit.run import audit_store
    from fit.curve.options import CurveOptions
    from fit.curve.run import Curve, fit_curve
    from fit.head import Head, load_head
    from fit.lookup.options import SearchOptions
    from fit.lookup.search import search_store
    from fit.options import FitOptions
    from fit.train import fit_head
    from store.reader import FeatureStore, open_store

__all__ = [
    "AuditOptions",
    "Curve",
    "CurveOptions",
    "DamagedHead",
    "DamagedStore",
    "EnvironmentFailure",
    "FeatureStore",
    "FitOptions",
    "Head",
    "NotAStore",
    "PrecisionMissing",
    "RecipeMismatch",
    "RunOptions",
    "RunResult",
    "SearchOptions",
    "StillframeError",
    "StoppedEarly",
    "TooManyFailures",
    "UnsafeFile",
    "UsageError",
    "audit_store",
    "extract",
    "extract_together",
    "fit_curve",
    "fit_head",
    "load_head",
    "open_store",
    "search_store",
]

if not TYPE_CHECKING:  # a type checker goes by the imports above, so that a wrong name is an error
    __getattr__ = exporting(
        __name__,
        {
            "extract.request": ("RunOptions",),
            "extract.run": ("extract", "extract_together"),
            "extract.summary": ("RunResult",),
            "fit.audit.options": ("AuditOptions",),
            "fit.audit.run": ("audit_store",),
            "fit.curve.options": ("CurveOptions",),
            "fit.curve.run": ("Curve", "fit_curve"),
            "fit.head": ("Head", "load_head"),
            "fit.lookup.options": ("SearchOptions",),
            "fit.lookup.search": ("search_store",),
            "fit.options": ("FitOptions",),
            "fit.train": ("fit_head",),
            "store.reader": ("FeatureStore", "open_store"),
        },
    )


def __dir__() -> list[str]:
    return __all__
