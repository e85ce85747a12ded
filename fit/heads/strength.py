"""Choosing the strength of a regularization by its loss on inner folds: along a grid, widened where its edge is best. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_WIDENINGS = 4  # steps beyond either end of the grid
_WORSE = 2  # steps in a row without a better loss: what lies beyond is not tried


@dataclass(frozen=True)
class Choice:
    """What was chosen, and from what.

    Attributes:
        value: the chosen one.
        tried: the loss of each value that was tried.
        at_edge: whether the best is still the outermost value that was tried.
    """

    value: float
    tried: Mapping[float, float]
    at_edge: bool


def choose_strength(candidates: np.ndarray[tuple[int], np.dtype[np.float64]], loss: Callable[[float], float]) -> Choice:
    """The value of the smallest loss.

    The loss is taken to fall and then rise: the grid is followed upwards until two steps in a row are not better, and goes on
    beyond an end of it, by the same factor, as long as that end is best. A grid of one value is not widened.

    Args:
        candidates: values above 0, ascending, each the same factor above the one before.
        loss: of a value on inner folds.
    """
    grid = candidates.tolist()
    tried: dict[float, float] = {}
    for value in grid:
        tried[value] = loss(value)
        losses = list(tried.values())
        if len(losses) > _WORSE and min(losses[-_WORSE:]) >= min(losses[:-_WORSE]):
            break
    if len(grid) > 1:
        factor = grid[1] / grid[0]
        for _ in range(_WIDENINGS):
            best = min(tried, key=lambda value: tried[value])
            if best == max(tried):
                tried[best * factor] = loss(best * factor)
            elif best == min(tried):
                tried[best / factor] = loss(best / factor)
            else:
                break
    best = min(tried, key=lambda value: tried[value])
    return Choice(best, tried, len(grid) > 1 and best in (max(tried), min(tried)))


def describe_choice(choice: Choice, folds: int) -> dict[str, object]:
    """A choice as metrics.json has it."""
    tried = {f"{value:g}": loss for value, loss in sorted(choice.tried.items())}
    return {"folds": folds, "tried": tried, "at_edge": choice.at_edge}


TOO_FEW = "the middle of the grid: too few images for inner folds"
"""Why a value was taken that nothing chose."""


def unchosen(candidates: npt.NDArray[np.float64]) -> tuple[float, str]:
    """The value where no inner fold can choose one, and why it is that: the only candidate, or the middle one."""
    return float(candidates[len(candidates) // 2]), "given" if len(candidates) == 1 else TOO_FEW
