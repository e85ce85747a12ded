"""What every target has: a description, a function that writes a model, and one that runs what was written."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import keras
import numpy as np
import numpy.typing as npt

from extract.api import HeadPlace, Reporter
from fit.arrays import Pixels
from fit.block_extractor import WeightsPlace
from fit.head_info import HeadInfo
from fit.task import Probabilities
from store.errors import UsageError
from store.suggestions import suggest_install

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin


def input_names(count: int) -> list[str]:
    """The names of a model's inputs: pixels; of several, pixels_1 and on."""
    return ["pixels"] if count == 1 else [f"pixels_{number}" for number in range(1, count + 1)]


class FittedHead(Protocol):
    """What an export needs of a head; see `fit.head.Head`, which imports this package."""

    @property
    def info(self) -> HeadInfo:
        """The description of the head."""
        ...

    @property
    def is_network(self) -> bool:
        """Whether Keras computes it."""
        ...

    @property
    def model(self) -> "keras.Model | ClassifierMixin":
        """The Keras model or the scikit-learn estimator."""
        ...

    def predict_features(self, *features: npt.NDArray[np.generic]) -> Probabilities:
        """Probabilities of features (rows, *shape) of each block."""
        ...

    def predict_pixels(self, *pixels: Pixels, weights: WeightsPlace = None, reporter: Reporter = ...) -> Probabilities:
        """Probabilities of pixels, one array for each group of `pixel_inputs`."""
        ...


class Run(Protocol):
    """Runs a file that a target has written."""

    def __call__(self, path: Path, /, *pixels: Pixels) -> Probabilities:
        """The probabilities of pixels, one array for each input of the model, in their order."""
        ...


@dataclass(frozen=True)
class Target:
    """A format that a model can be written in.

    Attributes:
        name: as --to takes it.
        ending: of its file; "" where it is a folder.
        modules: those that it needs.
        extra: the extra of this package that brings them.
        write: writes a model to a path.
        run: computes the probabilities of pixels with what was written, in the format's own runtime.
        beside: the endings of further files that it consists of.
        recognized_by: of a folder, the file by which an earlier export is recognized, which --force may replace.
        every_backend: whether Keras writes it under every backend, not under TensorFlow alone.
        compose: writes a head in this format behind an ONNX model: where it comes, the head's file, and the whole's; None
            if the format cannot hold one.
    """

    name: str
    ending: str
    modules: tuple[str, ...]
    extra: str
    write: Callable[[keras.Model, Path], None]
    run: Run
    beside: tuple[str, ...] = ()
    recognized_by: str = ""
    every_backend: bool = False
    compose: Callable[[HeadPlace, Path, Path], None] | None = None


def require_runnable(target: Target) -> None:
    """Check that a target can be written and run here.

    Raises:
        UsageError: Keras runs on another backend than the target needs, or its modules are not installed.
    """
    backend = keras.backend.backend()
    if not target.every_backend and backend != "tensorflow":
        raise UsageError(
            f"--to {target.name} goes through TensorFlow, and KERAS_BACKEND is {backend}: run it without "
            "KERAS_BACKEND; the head is the same under every backend"
        )
    missing = [module for module in target.modules if importlib.util.find_spec(module) is None]
    if missing:
        raise UsageError(
            f"--to {target.name} needs {', '.join(missing)}: {suggest_install(f'stillframe[{target.extra}]')}"
        )


def description_place(out: Path) -> Path:
    """The file beside an exported model that says what it takes and gives."""
    return out.with_name(out.name + ".json")


def require_export_place(target: Target, out: Path, force: bool) -> None:
    """Check that a model and what is beside it can be written to `out`; with `force`, earlier ones may be replaced.

    Raises:
        UsageError: it has another ending than the target's, one of the files exists, or there is a folder of other things.
    """
    if out.suffix.lower() != target.ending:
        expected = f"a file ending in {target.ending}" if target.ending else "a folder, without an ending"
        raise UsageError(f"--out {out}: expected {expected} for {target.name}")
    beside = [description_place(out), *(out.with_suffix(ending) for ending in target.beside)]
    if not force and (there := next((path for path in (out, *beside) if path.exists()), None)):
        raise UsageError(f"{there} exists: choose another --out, or replace it with --force")
    if folder := next((path for path in beside if path.is_dir()), None):
        raise UsageError(f"{folder} is a folder, where a file belongs that goes with the model: choose another --out")
    earlier = target.recognized_by and (out / target.recognized_by).is_file()
    if out.is_dir() and any(out.iterdir()) and not earlier:
        raise UsageError(f"{out} is a folder with other things in it: choose another --out")
