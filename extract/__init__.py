"""Stillframe's first stage: a frozen network computes the features of many images, which are kept in a store.

from extract import extract

result = extract("data/", out="store", backbone="inception_v3")
"""

from typing import TYPE_CHECKING

from store.lazy import exporting

if TYPE_CHECKING:
    from extract.request import RunOptions
    from extract.run import extract, extract_together
    from extract.summary import RunResult

__all__ = ["RunOptions", "RunResult", "extract", "extract_together"]

# Loaded on first use: the command line's --help must not wait for pyarrow and Pillow.
if not TYPE_CHECKING:  # a type checker goes by the imports above, so that a wrong name is an error
    __getattr__ = exporting(
        __name__,
        {
            "extract.request": ("RunOptions",),
            "extract.run": ("extract", "extract_together"),
            "extract.summary": ("RunResult",),
        },
    )
