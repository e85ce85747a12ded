"""A head behind a backbone that is an ONNX model: joined in the target's own format, for Keras does not have the backbone."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from extract.api import HeadPlace, compose_onnx, compose_openvino, head_place, recipe_weights
from fit.block_extractor import WeightsPlace, place_weights
from fit.export.base import FittedHead, Target
from fit.export.whole_model import head_model
from store.errors import UsageError
from store.files.names import file_path

_COMPOSERS: Mapping[str, Callable[[HeadPlace, Path, Path], None]] = {"onnx": compose_onnx, "openvino": compose_openvino}


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
    if target.name not in _COMPOSERS:
        raise UsageError(
            f"--to {target.name}: the backbone is an ONNX model, and Keras does not convert those: choose --to "
            f"{' or '.join(_COMPOSERS)}"
        )
    compose, model = _COMPOSERS[target.name], head_model(head)
    found = recipe_weights(block.recipe, file_path(block.weights))
    place = head_place(block.recipe, block.output, found.path)

    def write(path: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            behind = Path(folder, f"head{target.ending}")
            target.write(model, behind)
            compose(place, behind, path)

    return write
