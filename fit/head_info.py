"""head.json: all that rebuilds a head and its features."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from fit.data import reduced_shape
from fit.heads.table import Value
from fit.task import Task
from store.recipe import Output, Recipe


@dataclass(frozen=True)
class HeadInfo:
    """What a head is.

    Attributes:
        head: its name in the table, or module:function of a custom head.
        parameters: all of its parameters.
        reduction: how spatial tensors become what the head takes.
        classes: their names, in the order of the probabilities' columns.
        multi_label: whether an image may have several labels.
        class_weight: none or balanced.
        seed: of all that was random.
        recipe: what its features depend on.
        output: the column of features that it was fitted on.
        weights: where the backbone's weights were: imagenet, random:SEED or a file; their digest is the recipe's.
        versions: of the libraries that it was fitted with.
        data: where the images were, as a row name: a folder, or the table that lists them; empty in older heads.
    """

    head: str
    parameters: Mapping[str, Value]
    reduction: str
    classes: tuple[str, ...]
    multi_label: bool
    class_weight: str
    seed: int
    recipe: Recipe
    output: Output
    weights: str
    versions: Mapping[str, str]
    data: str = ""

    @property
    def task(self) -> Task:
        """What the head predicts."""
        return Task(self.classes, self.multi_label)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one row as the head takes it."""
        return reduced_shape(self.output.shape, self.reduction)

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values; `multi_label` is named several, as in 0.5.0."""
        values: dict[str, Any] = {
            **asdict(self),
            "classes": list(self.classes),
            "recipe": self.recipe.to_dict(),
            "output": self.output.to_dict(),
        }
        return {"several" if name == "multi_label" else name: value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Self:
        """The head that `to_dict` described.

        Raises:
            KeyError, TypeError, ValueError: a field is missing, unknown or misspelt.
        """
        named: dict[str, Any] = {"multi_label" if name == "several" else name: value for name, value in values.items()}
        return cls(
            **{
                **named,
                "classes": tuple(named["classes"]),
                "recipe": Recipe.from_dict(named["recipe"]),
                "output": Output.from_dict(named["output"]),
            }
        )


def installed_versions() -> dict[str, str]:
    """Versions of the libraries that a head depends on."""
    return {name: importlib.metadata.version(name) for name in ("stillframe", "numpy", "scikit-learn", "keras")}
