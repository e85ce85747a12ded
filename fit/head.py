"""A fitted head: what it is, its folder, and prediction through its own recipe.

The folder: head.json, the model (head.skops or head.weights.h5), metrics.json, predictions.parquet. Nothing in it
is trusted: a model is rebuilt from head.json by our own code, and only arrays and a fixed list of types are loaded.
"""

import hashlib
import importlib.metadata
import io
import json
import os
import shutil
import uuid
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from extract.extractor import Extractor
from extract.progress import Progress, Silence
from extract.runtimes import start_keras
from extract.sources.listing import find_images
from fit.data import reduce_tensor, reduced_shape
from fit.heads.build import Origin, build_estimator, rebuild_network, require_own
from fit.heads.table import Value
from fit.predictions import prediction_columns
from store.errors import (
    DamagedHead,
    EnvironmentFailure,
    PrecisionMissing,
    RecipeMismatch,
    StillframeError,
    UnsafeFile,
    UsageError,
)
from store.files.names import file_path
from store.recipe import Output, Recipe

FORMAT = "stillframe-head"
VERSION = 1
INFO, METRICS, PREDICTIONS = "head.json", "metrics.json", "predictions.parquet"
WEIGHTS_FILE, ESTIMATOR_FILE = "head.weights.h5", "head.skops"

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

_PREDICTED_ROWS = 1024


@dataclass(frozen=True)
class HeadInfo:
    """head.json: all that rebuilds the head and its features.

    `weights` is where the backbone's weights were, imagenet, random:SEED or a file; their digest is the recipe's.
    `data` is where the images were, as a row name: a folder, or the table that lists them; empty in older heads.
    """

    head: str
    parameters: Mapping[str, Value]
    reduction: str
    classes: tuple[str, ...]
    several: bool
    class_weight: str
    seed: int
    recipe: Recipe
    output: Output
    weights: str
    versions: Mapping[str, str]
    data: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row, as the head sees it."""
        return reduced_shape(self.output.shape, self.reduction)

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            **asdict(self),
            "classes": list(self.classes),
            "recipe": self.recipe.to_dict(),
            "output": self.output.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """What `to_dict` wrote."""
        return cls(
            **{
                **values,
                "classes": tuple(values["classes"]),
                "recipe": Recipe.from_dict(values["recipe"]),
                "output": Output.from_dict(values["output"]),
            }
        )


def installed_versions() -> dict[str, str]:
    """Of the libraries that a head depends on."""
    return {name: importlib.metadata.version(name) for name in ("stillframe", "numpy", "scikit-learn", "keras")}


class Head:
    """A fitted head.

    Attributes:
        info: what it is.
        estimator: with scikit-learn's manners; `model` is what it wraps.
        metrics: as metrics.json has them; empty before they are measured.
        predictions: of the rows it was fitted and tested on, or None.
    """

    def __init__(
        self, info: HeadInfo, estimator: Any, metrics: dict[str, Any], predictions: pa.Table | None = None
    ) -> None:
        self.info = info
        self.estimator = estimator
        self.metrics = metrics
        self.predictions = predictions
        self._extractors: dict[str, Extractor] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of the probabilities' columns."""
        return self.info.classes

    @property
    def model(self) -> Any:
        """The Keras model or the scikit-learn estimator."""
        return self.estimator.model_ if self.is_network else self.estimator

    @property
    def is_network(self) -> bool:
        """Whether Keras computes it."""
        return hasattr(self.estimator, "is_network")

    def __repr__(self) -> str:
        return f"Head({self.info.head!r}, {len(self.classes)} classes, on {self.info.recipe.backbone})"

    # Predicting

    def predict_features(self, features: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """Probabilities (rows, classes) of features (rows, *shape) as the store holds them.

        Raises:
            UsageError: the shape is another than the store's.
        """
        features = np.asarray(features)
        if tuple(features.shape[1:]) != self.info.output.shape:
            raise UsageError(
                f"features of shape {tuple(features.shape[1:])} a row came, the head was fitted on "
                f"{self.info.output.shape}: give those of the output {self.info.output.name!r} of its recipe"
            )
        # As they would come from the store: its type decides the last bits, which tree heads look at.
        stored = features.astype(self.info.output.dtype, copy=False)
        parts = []
        for start in range(0, len(stored), _PREDICTED_ROWS):
            part = reduce_tensor(stored[start : start + _PREDICTED_ROWS], self.info.reduction)
            parts.append(self.estimator.predict_proba(part.astype(np.float32)))
        return np.concatenate(parts) if parts else np.empty((0, len(self.classes)))

    def predict(
        self,
        images: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        weights: str | os.PathLike[str] | None = None,
        progress: Callable[[int], Progress] = lambda _: Silence(),
        debug: bool = False,
    ) -> pa.Table:
        """Predictions for image files, folders of them, tables that name them, and glob patterns.

        Args:
            images: one or several of these.
            weights: where the backbone's weights are now, if elsewhere than when the features were extracted.
            progress: see `extract.progress`.
            debug: whether the libraries' own messages are shown.

        Returns:
            path (as given), predicted, probability, one column a class, and error: what was wrong with the image.

        Raises:
            UsageError: there are no such images.
            RecipeMismatch: the weights are not the recipe's.
        """
        given = [images] if isinstance(images, str | os.PathLike) else list(images)
        paths = find_images(given)
        extractor = self.extractor(weights, debug)
        found: dict[str, npt.NDArray[np.float64]] = {}
        errors: dict[str, str] = {}
        for extracted in extractor(list(dict.fromkeys(paths)), progress):
            values = self.predict_features(extracted.shard.tensors[self.info.output.name])
            found.update(zip(extracted.shard.rows["path"].to_pylist(), values, strict=True))
            errors.update({failure.path: f"{failure.code}: {failure.message}" for failure in extracted.failures})
        nothing = np.full(len(self.classes), np.nan)
        probabilities = np.array([found.get(path, nothing) for path in paths])
        columns = prediction_columns(probabilities, self.classes, self.info.several)
        return pa.table(
            {"path": paths, **columns, "error": pa.array([errors.get(path) for path in paths], pa.string())}
        )

    def predict_pixels(
        self, pixels: npt.NDArray[np.uint8], weights: str | os.PathLike[str] | None = None, debug: bool = False
    ) -> npt.NDArray[np.float64]:
        """Probabilities (rows, classes) of pixels (rows, height, width, 3) that the recipe has decoded and resized."""
        return self.predict_features(self.extractor(weights, debug).of_pixels(pixels))

    def extractor(self, weights: str | os.PathLike[str] | None = None, debug: bool = False) -> Extractor:
        """The head's recipe, its network loaded once."""
        chosen = os.fspath(weights) if weights is not None else file_path(self.info.weights)
        if chosen not in self._extractors:
            try:
                self._extractors[chosen] = Extractor(self.info.recipe, self.info.output, chosen, debug)
            except (RecipeMismatch, PrecisionMissing):
                raise
            except UsageError as error:
                raise UsageError(
                    f"the weights of {self.info.recipe.backbone} that the features were extracted with are needed "
                    f"({error}); name them with --weights FILE"
                ) from error
        return self._extractors[chosen]

    # Keeping

    def save(self, folder: str | os.PathLike[str], force: bool = False) -> Path:
        """Write the head's folder, whole or not at all.

        Raises:
            UsageError: there is something already; with `force`, something else than a head.
            EnvironmentFailure: it cannot be written.
        """
        folder = Path(folder)
        require_place(folder, force)
        temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
        try:
            temporary.mkdir(parents=True)
            try:
                self._write(temporary)
                if folder.exists():
                    shutil.rmtree(folder)
                temporary.rename(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
        except OSError as error:
            if isinstance(error, StillframeError):
                raise
            raise EnvironmentFailure(
                f"cannot write {folder}: {error.strerror or error}; mend that, then fit again"
            ) from error
        return folder

    def _write(self, folder: Path) -> None:
        name = WEIGHTS_FILE if self.is_network else ESTIMATOR_FILE
        if self.is_network:
            self.estimator.model_.save_weights(folder / name)
        else:
            (folder / name).write_bytes(_dump(self.estimator))
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        described = {
            "format": FORMAT,
            "version": VERSION,
            "fingerprint": self.info.recipe.fingerprint,
            **self.info.to_dict(),
            "model": {"file": name, "sha256": digest},
        }
        _write_json(folder / INFO, described)
        _write_json(folder / METRICS, self.metrics)
        if self.predictions is not None:
            pq.write_table(self.predictions, folder / PREDICTIONS, compression="zstd")

    def export(self, path: str | os.PathLike[str], to: str, weights: str | None = None) -> float:
        """Write one model from uint8 pixels to probabilities; see `fit.export.model.export_head`."""
        start_keras()
        from fit.export.model import export_head

        return export_head(self, Path(path), to, weights)


def require_place(folder: Path, force: bool) -> None:
    """Raise UsageError if a head cannot be written there: it exists, and is no head that `force` may replace."""
    if not folder.exists():
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not (folder / INFO).is_file():
        raise UsageError(f"{folder} exists and is no head: choose another --out")
    if not force:
        raise UsageError(f"{folder} holds a head already: choose another --out, or replace it with --force")


def load_head(folder: str | os.PathLike[str], own: Callable[..., Any] | str | None = None) -> Head:
    """Load a head from its folder.

    Args:
        folder: what `Head.save` wrote.
        own: for a head of your own, the function that built it or its `module:function`: a folder alone never
            names code to run.

    Raises:
        UsageError: it is no head's folder.
        UnsafeFile: it holds something that could run code.
        DamagedHead: its files are not what was written.
    """
    folder = Path(folder)
    info, name, digest = _read_info(folder)
    if name not in (WEIGHTS_FILE, ESTIMATOR_FILE):
        raise UnsafeFile(
            f"{folder / INFO} names the model {name!r}: expected {WEIGHTS_FILE} or {ESTIMATOR_FILE}; other files, "
            "pickles and .keras among them, can run code and are never loaded"
        )
    data = _read_bytes(folder / name)
    if hashlib.sha256(data).hexdigest() != digest:
        raise DamagedHead(f"{folder / name} is not the file that was written: fit the head again, or restore it")
    require_own(info.head, own)
    metrics = _read_json(folder / METRICS) if (folder / METRICS).is_file() else {}
    estimator = (
        _load_network(info, folder / name, own) if name == WEIGHTS_FILE else _load_estimator(folder / name, data)
    )
    return Head(info, estimator, metrics)


@dataclass(frozen=True)
class Results:
    """What a head's folder says of it beside the model: `predictions` as `fit head` wrote them, a row an evaluation."""

    folder: Path
    info: HeadInfo
    metrics: dict[str, Any]
    predictions: pa.Table


def read_results(folder: str | os.PathLike[str]) -> Results:
    """Read what a head is, its metrics and its predictions; the model stays where it is.

    Raises:
        UsageError: it is no head's folder.
        DamagedHead: its files are not what was written.
    """
    folder = Path(folder)
    info, _, _ = _read_info(folder)
    metrics = _read_json(folder / METRICS)
    try:
        predictions = pq.read_table(io.BytesIO(_read_bytes(folder / PREDICTIONS)))
    except pa.ArrowException as error:
        raise DamagedHead(f"{folder / PREDICTIONS} cannot be read ({error}): fit the head again") from error
    return Results(folder, info, metrics, predictions)


def _read_info(folder: Path) -> tuple[HeadInfo, str, str]:
    """What head.json says: the head, its model's file name and that file's SHA-256."""
    described = _read_description(folder)
    try:
        model = described.pop("model")
        name, digest, fingerprint = model["file"], model["sha256"], described.pop("fingerprint")
        info = HeadInfo.from_dict({key: value for key, value in described.items() if key not in ("format", "version")})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedHead(f"{folder / INFO} lacks or misspells a field ({error}): fit the head again") from error
    if fingerprint != info.recipe.fingerprint:
        raise DamagedHead(f"{folder / INFO} was edited: its fingerprint is not that of its recipe; fit the head again")
    return info, name, digest


def _read_description(folder: Path) -> dict[str, Any]:
    if folder.is_file():
        raise UnsafeFile(
            f"{folder} is a file, expected the folder that `fit head` wrote; model files by themselves, pickles and "
            ".keras among them, can run code and are never loaded"
        )
    if not folder.is_dir():
        raise UsageError(
            f"no head at {folder}: there is no such folder; `fit head --features STORE --out {folder}` makes one"
        )
    if not (folder / INFO).is_file():
        raise UsageError(f"{folder} is no head: it has no {INFO}; name the folder that `fit head` wrote")
    described = _read_json(folder / INFO)
    if described.get("format") != FORMAT:
        raise UsageError(f"{folder / INFO} is not a Stillframe head: name the folder that `fit head` wrote")
    if described.get("version") != VERSION:
        raise UsageError(
            f"{folder} has format version {described.get('version')!r}, this program reads {VERSION}: "
            "use the Stillframe version that wrote it, or fit it again"
        )
    return described


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(_read_bytes(path))
    except ValueError as error:
        raise DamagedHead(f"{path} is not valid JSON ({error}): fit the head again") from error
    if not isinstance(values, dict):
        raise DamagedHead(f"{path} holds {type(values).__name__}, expected an object: fit the head again")
    return values


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DamagedHead(f"{path} is missing: fit the head again, or restore it") from None
    except OSError as error:
        raise EnvironmentFailure(f"cannot read {path}: {error.strerror or error}") from error


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")


def _dump(estimator: Any) -> bytes:
    import skops.io

    data: bytes = skops.io.dumps(estimator)
    strange = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED_TYPES))
    if strange:
        raise UsageError(
            f"the head holds {', '.join(strange)}, which is not on the list of types that are safe to load again: "
            "build it from scikit-learn's own estimators, or from a Keras model"
        )
    return data


def _load_estimator(path: Path, data: bytes) -> Any:
    import skops.io

    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise UnsafeFile(f"{path} is no skops file (a pickle?): such files can run code and are never loaded")
    try:
        strange = sorted(set(skops.io.get_untrusted_types(data=data)) - set(TRUSTED_TYPES))
        if strange:
            raise UnsafeFile(
                f"{path} holds {', '.join(strange)}, which is not on the list of types that a head may have: "
                "it is not loaded; fit the head again"
            )
        return skops.io.loads(data, trusted=list(TRUSTED_TYPES))
    except UsageError:
        raise
    except Exception as error:
        raise DamagedHead(f"{path} cannot be read ({error}): fit the head again") from error


def _load_network(info: HeadInfo, path: Path, own: Callable[..., Any] | str | None) -> Any:
    start_keras()
    from extract.backbones.weights_file import fill_from_file

    estimator = build_estimator(
        info.head,
        info.parameters,
        info.shape,
        len(info.classes),
        info.class_weight,
        info.seed,
        info.several,
        own,
        Origin(info.recipe, info.output, info.weights),
    )
    rebuild_network(estimator, info.shape, len(info.classes), info.several)
    try:
        fill_from_file(estimator.model_, info.head, path)
    except UsageError as error:
        raise DamagedHead(f"{path} does not hold this head's weights ({error}): fit the head again") from error
    return estimator
