"""Stillframe's heads: small models on what a store holds, and numbers about them that one can believe.

from fit import fit_head, load_head

head = fit_head("store", head="logistic")
head.save("heads/logistic")
table = load_head("heads/logistic").predict("new_images/")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fit.head import Head, load_head
    from fit.train import fit_head

__all__ = ["Head", "fit_head", "load_head"]


def __getattr__(name: str) -> Any:
    # Loaded on first use (PEP 562): the command line's --help must not wait for scikit-learn.
    if name == "fit_head":
        from fit.train import fit_head

        return fit_head
    if name in __all__:
        import fit.head

        return getattr(fit.head, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
