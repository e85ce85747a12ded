"""Stillframe's first stage: a frozen network's view of many images, kept in a store.

from extract import extract

result = extract("data/", out="store", backbone="inception_v3")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extract.request import RunOptions
    from extract.run import extract
    from extract.summary import RunResult

__all__ = ["RunOptions", "RunResult", "extract"]


def __getattr__(name: str) -> Any:
    # Loaded on first use (PEP 562): the command line's --help must not wait for pyarrow and Pillow.
    if name == "RunOptions":
        from extract.request import RunOptions

        return RunOptions
    if name in __all__:
        import extract.run

        return getattr(extract.run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
