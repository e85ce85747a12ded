"""Labels that are numbers, as the targets of a regression. Pure."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fit.arrays import Floats
from store.errors import UsageError
from store.files.names import printable

MANY_NUMBERS = 20
"""More different numbers than this among the labels of a classification are probably not classes."""

_STRATA, _GROUPS_PER_STRATUM = 10, 10


def parse_numbers(texts: Sequence[str | None], paths: Sequence[str]) -> Floats:
    """(rows,): each row's label as a number.

    Args:
        texts: the labels.
        paths: each row's image, for messages; none to count the rows.

    Raises:
        UsageError: one is missing, or is not a finite number.
    """
    values = [_number(text) for text in texts]
    wrong = [at for at, value in enumerate(values) if value is None]
    if wrong:
        path, text = printable(paths[wrong[0]]) if paths else f"row {wrong[0] + 1}", texts[wrong[0]]
        named = "has no label" if text is None or not text.strip() else f"has the label {printable(text)!r}"
        raise UsageError(
            f"{path} {named}, and --task regression needs a number such as 3.5 for every image ({len(wrong):,} of "
            f"{len(texts):,} images have none): correct them, or leave them out, with --labels FILE (path,label)"
        )
    return np.array(values, np.float64)


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in (text or "") else None


def are_many_numbers(texts: Sequence[str | None]) -> bool:
    """Whether all labels are numbers, and more different ones than classes usually are."""
    values = {_number(text) for text in texts}
    return None not in values and len(values) > MANY_NUMBERS


def number_text(value: float) -> str:
    """A number as a label, which `parse_numbers` reads as the same number."""
    return repr(float(value)).removesuffix(".0")


def quantile_strata(values: Floats, different: int | None = None) -> npt.NDArray[np.int64]:
    """(rows,): the stratum by which splits distribute a row, by quantiles of the values; equal values are in one stratum.

    Args:
        values: (rows,).
        different: how many split groups the rows are of; None if each is by itself. There are at most 10 strata, and of
            fewer than 100 groups so few that each has some 10: a part of a smaller one may have none.
    """
    count = min(_STRATA, max(1, (len(values) if different is None else different) // _GROUPS_PER_STRATUM))
    edges = np.quantile(values, np.arange(1, count) / count) if len(values) else np.empty(0)
    strata: npt.NDArray[np.int64] = np.searchsorted(np.unique(edges), values, side="right")
    return np.unique(strata, return_inverse=True)[1].astype(np.int64)
