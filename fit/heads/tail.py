"""The head that is the rest of the backbone, from where the features were cut to its end, and is trained on."""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import keras
import numpy as np
import numpy.typing as npt
from keras import layers

from extract.api import Weights, build, leaf_layers, load_network, remainder, table_backbone
from fit.heads.base import Origin
from fit.heads.network import Network
from store.errors import RecipeMismatch, UsageError
from store.files.names import file_path


@dataclass(eq=False, repr=False, kw_only=True)
class Tail(Network):
    """The rest of the backbone, GlobalAveragePooling2D, Dropout, and the last layer, on the tensor it was cut at.

    The rest begins with the weights that the features were extracted with. Batch normalization stays as it is there:
    few images would spoil its statistics.
    """

    learning_rate: float = 0.0001
    dropout: float = 0.5
    origin: Origin

    predicted_rows: ClassVar[int] = 32

    def hidden(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """See `Network`; the rest's weights are yet to be filled in."""
        recipe = self.origin.recipe
        rest = remainder(build(table_backbone(recipe, "the head tail"), recipe.image_size), self.origin.output.layer)
        for layer in leaf_layers(rest):
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False
        # Not in training mode, for the backbone's own dropout has no seed of ours.
        x = layers.GlobalAveragePooling2D()(rest(inputs, training=False))
        return layers.Dropout(self.dropout, seed=self.random_state)(x)

    def begin(self) -> None:
        """Start from the weights that the features were extracted with.

        Raises:
            UsageError: they are not where they were.
            RecipeMismatch: others are.
        """
        rest = self.model_.get_layer("remainder")
        rest.set_weights(_first_weights(self.origin))
        for layer in leaf_layers(rest):
            if isinstance(layer, layers.Normalization):  # its constants come from its weights
                layer.finalize_state()


@lru_cache(maxsize=1)  # each fold of a cross-validation starts from them
def _first_weights(origin: Origin) -> list[npt.NDArray[np.generic]]:
    recipe = origin.recipe
    try:
        weights = Weights.parse(file_path(origin.weights))
    except UsageError as error:
        raise UsageError(
            f"the head tail starts from the weights that the features were extracted with ({error}): put them back "
            "there, or extract again"
        ) from error
    network, digest = load_network(table_backbone(recipe, "the head tail"), weights, recipe.image_size)
    if digest != recipe.weights:
        raise RecipeMismatch(
            f"the weights {origin.weights} have the digest {digest[:12]}…, those that the features were extracted with "
            f"{recipe.weights[:12]}…: put those back there, or extract again"
        )
    return list(remainder(network, origin.output.layer).get_weights())
