"""The file of a head's model: head.skops for scikit-learn's estimators, head.weights.h5 for Keras networks.

Nothing in it is trusted. A network is rebuilt from head.json by our own code and given its weights; an estimator may
hold only arrays and a fixed list of types. Other files, pickles and .keras among them, are never loaded.
"""

import hashlib
import importlib.metadata
import io
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from extract.api import start_keras
from fit.head_info import HeadInfo
from fit.heads.base import CustomHead, HeadSpec, Origin, Predictor
from fit.heads.build import rebuild_network
from fit.heads.classifiers import Estimator, LoadedEstimator, LoadedRegressor, Regressor
from fit.heads.custom import require_custom_head
from fit.heads.table import HEADS
from store.errors import DamagedHead, EnvironmentFailure, StillframeError, UnsafeFile, UsageError
from store.files import disk
from store.schema import Sha256, shown

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

WEIGHTS, ESTIMATOR = "head.weights.h5", "head.skops"

TRUSTED_TYPES = (
    "fit.heads.labels.OnePerLabel",
    "fit.heads.neighbors.NearestMean",
    "fit.heads.neighbors.SimilarNeighbors",
    "fit.heads.neighbors.SimilarNumbers",
    "fit.heads.regressors.RidgeRegression",
    "fit.heads.ridge.CalibratedRidge",
    "fit.heads.sklearn.Calibrated",
    "fit.heads.sklearn.Logistic",
    "fit.heads.sklearn.Rounded",
    "fit.heads.sklearn.StochasticGradient",
    "fit.heads.streamed.StreamedSoftmax",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.calibration._TemperatureScaling",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.multiclass._ConstantPredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",
)
"""What a head.skops may hold beside what skops itself trusts."""


_MOST_UNPACKED = 4  # bytes for each byte of a skops file


@dataclass(frozen=True)
class ModelFile:
    """What head.json says about the file of the model: its name and the SHA-256 of its bytes."""

    file: str
    sha256: Sha256


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
            f"{folder} names the model {shown(file.file)}: expected {WEIGHTS} or {ESTIMATOR}; other files, "
            "pickles and .keras among them, can run code and are never loaded"
        )
    path = folder / file.file
    data = read_file(path)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise DamagedHead(f"{path} is not the file that was written: fit the head again, or restore it")
    require_custom_head(info.head, custom_head)
    if file.file == WEIGHTS:
        return _load_network(path, info, custom_head)
    try:
        predictor = _loaded(path, load_estimator(path, data), info)
        _require_probabilities(path, predictor, info)
    except (UnsafeFile, DamagedHead) as error:
        if advice := _other_version(info):
            raise type(error)(f"{error}; {advice}") from error
        raise
    return predictor


def _loaded(path: Path, estimator: "ClassifierMixin", info: HeadInfo) -> Predictor:
    """A loaded estimator behind one way to predict.

    Raises:
        DamagedHead: it does not predict what the head's task is.
    """
    from sklearn.base import is_regressor

    try:
        fits = is_regressor(estimator) == info.task.regression
    except Exception as error:  # of attributes that no estimator has
        raise DamagedHead(f"{path} is not an estimator ({_first_line(error)}): fit the head again") from error
    if not fits:
        raise DamagedHead(f"{path} predicts {'classes' if info.task.regression else 'numbers'}: fit the head again")
    if info.task.regression:
        return LoadedRegressor(cast(Regressor, estimator))
    return LoadedEstimator(cast(Estimator, estimator))


def read_file(path: Path) -> bytes:
    """The bytes of a file in a head's folder.

    Raises:
        DamagedHead: it is missing.
        EnvironmentFailure: it cannot be read.
    """
    try:
        return disk.retried(partial(disk.read_regular, path))
    except FileNotFoundError:
        raise DamagedHead(f"{path} is missing: fit the head again, or restore it") from None
    except EnvironmentFailure:
        raise
    except OSError as error:
        raise disk.failure(error, f"cannot read {path}") from error


def _other_version(info: HeadInfo) -> str:
    """What to do about an estimator that another scikit-learn wrote; empty if this one did."""
    written, here = info.versions.get("scikit-learn", "?"), importlib.metadata.version("scikit-learn")
    if written == here:
        return ""
    return f"it was fitted with scikit-learn {written}, and here is {here}, which may name its types differently: install {written}"


def _require_probabilities(path: Path, predictor: Predictor, info: HeadInfo) -> None:
    """Raise DamagedHead unless an estimator gives finite probabilities, or a number, for one row of the head's shape."""
    try:
        found = predictor.predict_proba(np.zeros((1, *info.shape), np.float32))
    except Exception as error:  # of attributes and arrays that no fit makes
        raise DamagedHead(f"{path} does not predict ({_first_line(error)}): fit the head again") from error
    expected = (1, info.task.outputs)
    if found.shape != expected or not np.isfinite(found).all():
        raise DamagedHead(
            f"{path} predicts {found.tolist()} for a row of zeros, expected {expected[1]} probabilities: fit the head again"
        )


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
        _require_plain(path, data)
        untrusted = _untrusted_types(data)
        if untrusted:
            raise UnsafeFile(
                f"{path} holds {', '.join(untrusted)}, which is not on the list of types that a head may have: "
                "it is not loaded; fit the head again"
            )
        return skops.io.loads(data, trusted=list(TRUSTED_TYPES))
    except (UsageError, DamagedHead):
        raise
    except Exception as error:
        raise DamagedHead(f"{path} cannot be read ({_first_line(error)}): fit the head again") from error


def _first_line(error: Exception) -> str:
    """What a library says, without the advice that follows in further lines."""
    return str(error).partition("\n")[0]


def _require_plain(path: Path, data: bytes) -> None:
    """Raise DamagedHead if a skops file, whose parts are not compressed, would unpack to far more than its own size."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    if size > len(data) * _MOST_UNPACKED:
        raise DamagedHead(
            f"{path} has {len(data):,} bytes and unpacks to {size:,}, expected about as many: fit the head again"
        )


def _untrusted_types(data: bytes) -> list[str]:
    import skops.io

    return sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED_TYPES))


def _load_network(path: Path, info: HeadInfo, custom_head: CustomHead | str | None) -> Predictor:
    start_keras()
    from extract.api import fill_from_file  # imports Keras

    block = info.blocks[0]
    spec = HeadSpec(
        name=info.head,
        parameters=info.parameters,
        shape=info.shape,
        task=info.task,
        class_weight=info.class_weight,
        seed=info.seed,
        origin=Origin(block.recipe, block.output, block.weights),
        custom_head=custom_head if callable(custom_head) else None,
    )
    try:
        classifier = rebuild_network(spec)
    except StillframeError:
        raise
    except Exception as error:
        if info.head not in HEADS:  # the user's function is at fault, or its parameters
            raise
        raise DamagedHead(
            f"{path.parent} describes a network that cannot be built ({_first_line(error)}): fit the head again"
        ) from error
    try:
        fill_from_file(classifier.model, info.head, path)
    except UsageError as error:
        raise DamagedHead(f"{path} does not hold this head's weights ({error}): fit the head again") from error
    if not all(np.isfinite(weights).all() for weights in classifier.model.get_weights()):
        raise DamagedHead(f"{path} has weights that are NaN or infinite, expected numbers: fit the head again")
    return classifier
