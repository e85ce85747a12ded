"""A head behind a backbone that is an ONNX model: joined in the target's own format, for Keras does not have the backbone."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from extract.api import head_place, recipe_weights
from fit.block_extractor import WeightsPlace, place_weights
from fit.export.base import FittedHead, Target
from fit.export.targets import TARGETS
from fit.export.whole_model import head_model
from store.errors import UsageError
from store.files.names import file_path


def composed_writer(head: FittedHead, target: Target, weights: WeightsPlace) -> Callable[[Path], None]:
    """What writes the head and its backbone as one model to a path.

    Args:
        head: a Keras head, or a linear scikit-learn one.
        target: the format.
        weights: where the backbone's file is now; None: where it was when the features were extracted.

    Raises:
        UsageError: the format cannot hold an ONNX model, the head cannot be written as layers, or the file is gone.
    """
    (block,) = place_weights(head.info.blocks, weights)
    compose = target.compose
    if compose is None:
        possible = [name for name, known in TARGETS.items() if known.compose is not None]
        raise UsageError(
            f"--to {target.name}: the backbone is an ONNX model, and Keras does not convert those: choose --to "
            f"{' or '.join(possible)}"
        )
    model = head_model(head)
    found = recipe_weights(block.recipe, file_path(block.weights))
    place = head_place(block.recipe, block.output, found.path)

    def write(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            behind = Path(folder, f"head{target.ending}")
            target.write(model, behind)
            compose(place, behind, path)

    return write
