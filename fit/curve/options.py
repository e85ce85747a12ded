"""What can be asked of a learning curve, checked: one frozen dataclass that the command line and Python fill alike."""

from dataclasses import dataclass
from typing import Annotated

from store.errors import UsageError
from store.options import Option


@dataclass(frozen=True)
class CurveOptions:
    """The options of `fit curve`.

    Raises:
        UsageError: a number that cannot be.
    """

    sizes: Annotated[int, Option("How many sizes of the training set: all images, half of them, a quarter, …")] = 5
    draws: Annotated[int, Option("How often each smaller set is drawn, each time with other images.")] = 5

    def __post_init__(self) -> None:
        if self.sizes < 2:
            raise UsageError(f"--sizes is {self.sizes}: expected 2 or more")
        if self.draws < 2:
            raise UsageError(f"--draws is {self.draws}: expected 2 or more, which show how much the images matter")

    @property
    def fractions(self) -> tuple[float, ...]:
        """The fractions of the training images to learn from, ascending: …, 0.25, 0.5, 1."""
        return tuple(0.5**halvings for halvings in reversed(range(self.sizes)))
