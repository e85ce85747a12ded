"""What all heads have in common: how one is described, fitted and asked for probabilities."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fit.data import Source
from fit.heads.parameters import Value
from fit.task import Task
from store.recipe import Output, Recipe

if TYPE_CHECKING:
    import keras
    from sklearn.base import ClassifierMixin

CustomHead = Callable[..., object]
"""A user's function: (shape, outputs, seed, **parameters) -> a Keras model of probabilities, or an estimator."""


@dataclass(frozen=True)
class Origin:
    """Where features come from, for heads that continue the backbone; `weights` as in `fit.head_info.HeadInfo`."""

    recipe: Recipe
    output: Output
    weights: str


@dataclass(frozen=True)
class HeadSpec:
    """What a head is built from.

    Attributes:
        name: of the table, or module:function.
        parameters: all of its parameters.
        shape: of one row of features.
        task: what it predicts.
        class_weight: none or balanced.
        seed: of everything random.
        origin: where the features come from; only heads that continue the backbone need it.
        custom_head: the function of a custom head, if it is not to be imported by name.
        tensorboard: a folder for TensorBoard, for heads that Keras fits.
        blocks: how many columns each block of features has; empty for one.
    """

    name: str
    parameters: Mapping[str, Value]
    shape: tuple[int, ...]
    task: Task
    class_weight: str
    seed: int
    origin: Origin | None = None
    custom_head: CustomHead | None = None
    tensorboard: str | None = None
    blocks: tuple[int, ...] = ()

    @property
    def balanced(self) -> str | None:
        """The class weight as scikit-learn's estimators take it."""
        return None if self.class_weight == "none" else self.class_weight


class Predictor(ABC):
    """A fitted head of any kind."""

    @property
    def is_network(self) -> bool:
        """Whether `model` is a Keras model."""
        return False

    @property
    @abstractmethod
    def model(self) -> "keras.Model | ClassifierMixin":
        """The Keras model or the scikit-learn estimator."""

    @abstractmethod
    def predict_proba(self, features: npt.NDArray[np.float32]) -> npt.NDArray[np.floating]:
        """(rows, classes) of features (rows, *shape); of a regression the predicted numbers, (rows, 1)."""


class Classifier(Predictor):
    """A head of any kind that can be fitted, in one way for all; `fit.heads.classifiers` has the kinds."""

    scales: tuple[float, ...] = ()
    """What the features of each block are multiplied by, of heads on several; see `fit.heads.balanced`."""

    @property
    def stops_early(self) -> bool:
        """Whether it stops at the best epoch on a validation, and so must not learn from that."""
        return False

    @property
    def streams(self) -> bool:
        """Whether it learns batch by batch, so that features need not fit into memory."""
        return False

    @abstractmethod
    def fit(self, source: Source, validation: Source | None, split_groups: npt.NDArray[np.int64]) -> None:
        """Fit it.

        Args:
            source: the rows to learn from.
            validation: rows that stop the training early, if the head does that; None for none.
            split_groups: (rows of the source,); rows with the same number stay on one side of inner folds.

        Raises:
            UsageError: the parameters or the data are not possible.
            ValueError: the library refuses them.
        """

    @property
    def chosen(self) -> Mapping[str, object]:
        """What the fit chose by itself on inner folds, and by what, as plain values; empty if nothing."""
        return {}

    @property
    def history(self) -> Mapping[str, Sequence[float]] | None:
        """Loss and accuracy of each epoch; None of heads that have no epochs."""
        return None
