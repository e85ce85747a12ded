"""The file of a head's model: head.skops for scikit-learn's estimators, head.weights.h5 for Keras networks.

Nothing in it is trusted. A network is rebuilt from head.json by our own code and given its weights; an estimator may
hold only arrays and a fixed list of types. Other files, pickles and .keras among them, are never loaded.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from extract.api import start_keras
from fit.head_info import HeadInfo
from fit.heads.base import CustomHead, HeadSpec, Origin, Predictor
from fit.heads.build import rebuild_network
from fit.heads.classifiers import Estimator, LoadedEstimator
from fit.heads.custom import require_custom_head
from store.errors import DamagedHead, EnvironmentFailure, UnsafeFile, UsageError

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

WEIGHTS, ESTIMATOR = "head.weights.h5", "head.skops"

TRUSTED_TYPES = (
    "fit.heads.sklearn.Calibrated",
    "fit.heads.sklearn.Logistic",
    "fit.heads.sklearn.Rounded",
    "fit.heads.sklearn.StochasticGradient",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.multiclass._ConstantPredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
)
"""What a head.skops may hold beside what skops itself trusts."""


@dataclass(frozen=True)
class ModelFile:
    """What head.json says about the file of the model: its name and the SHA-256 of its bytes."""

    file: str
    sha256: str


def write_model(folder: Path, predictor: Predictor) -> ModelFile:
    """Write the model of a head into a folder.

    Raises:
        UsageError: it holds a type that is not on the list, so that it could not be loaded again.
        OSError: it cannot be written.
    """
    if predictor.is_network:
        path = folder / WEIGHTS
        predictor.model.save_weights(path)
    else:
        path = folder / ESTIMATOR
        path.write_bytes(dump_estimator(predictor.model))
    return ModelFile(path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def read_model(folder: Path, file: ModelFile, info: HeadInfo, custom_head: CustomHead | str | None) -> Predictor:
    """Load the model of a head.

    Args:
        folder: the head's.
        file: what head.json says about the model's file.
        info: what the head is.
        custom_head: see `fit.head.load_head`.

    Raises:
        UnsafeFile: it is, or holds, something that could run code.
        DamagedHead: it is not what was written.
        UsageError: it needs a custom head's function, and another one or none is given.
    """
    if file.file not in (WEIGHTS, ESTIMATOR):
        raise UnsafeFile(
            f"{folder} names the model {file.file!r}: expected {WEIGHTS} or {ESTIMATOR}; other files, "
            "pickles and .keras among them, can run code and are never loaded"
        )
    path = folder / file.file
    data = read_file(path)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DamagedHead(f"{path} is not the file that was written: fit the head again, or restore it")
    require_custom_head(info.head, custom_head)
    if file.file == ESTIMATOR:
        return LoadedEstimator(cast(Estimator, load_estimator(path, data)))
    return _load_network(path, info, custom_head)


def read_file(path: Path) -> bytes:
    """The bytes of a file in a head's folder.

    Raises:
        DamagedHead: it is missing.
        EnvironmentFailure: it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DamagedHead(f"{path} is missing: fit the head again, or restore it") from None
    except OSError as error:
        raise EnvironmentFailure(f"cannot read {path}: {error.strerror or error}") from error


def dump_estimator(estimator: "ClassifierMixin") -> bytes:
    """An estimator as a skops file.

    Raises:
        UsageError: it holds a type that is not on the list.
    """
    import skops.io

    data: bytes = skops.io.dumps(estimator)
    untrusted = _untrusted_types(data)
    if untrusted:
        raise UsageError(
            f"the head holds {', '.join(untrusted)}, which is not on the list of types that are safe to load again: "
            "build it from scikit-learn's own estimators, or from a Keras model"
        )
    return data


def load_estimator(path: Path, data: bytes) -> "ClassifierMixin":
    """The estimator of a skops file with those bytes; nothing of it is run before its types are checked.

    Raises:
        UnsafeFile: it is not a skops file, or holds a type that is not on the list.
        DamagedHead: it cannot be read.
    """
    import skops.io

    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise UnsafeFile(f"{path} is not a skops file (a pickle?): such files can run code and are never loaded")
    try:
        untrusted = _untrusted_types(data)
        if untrusted:
            raise UnsafeFile(
                f"{path} holds {', '.join(untrusted)}, which is not on the list of types that a head may have: "
                "it is not loaded; fit the head again"
            )
        return skops.io.loads(data, trusted=list(TRUSTED_TYPES))
    except UsageError:
        raise
    except Exception as error:
        raise DamagedHead(f"{path} cannot be read ({error}): fit the head again") from error


def _untrusted_types(data: bytes) -> list[str]:
    import skops.io

    return sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED_TYPES))


def _load_network(path: Path, info: HeadInfo, custom_head: CustomHead | str | None) -> Predictor:
    start_keras()
    from extract.api import fill_from_file  # imports Keras

    spec = HeadSpec(
        name=info.head,
        parameters=info.parameters,
        shape=info.shape,
        task=info.task,
        class_weight=info.class_weight,
        seed=info.seed,
        origin=Origin(info.recipe, info.output, info.weights),
        custom_head=custom_head if callable(custom_head) else None,
    )
    classifier = rebuild_network(spec)
    try:
        fill_from_file(classifier.model, info.head, path)
    except UsageError as error:
        raise DamagedHead(f"{path} does not hold this head's weights ({error}): fit the head again") from error
    return classifier
