"""A head's folder: head.json, the model's file, metrics.json, predictions.parquet, experiment.json and seen.json.

See `fit.model_file` for the model, `fit.experiment_record` for experiment.json and `fit.looks` for seen.json.
"""

import io
import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fit.experiment_record import MOST_BYTES, ExperimentRecord
from fit.head_info import Block, HeadInfo
from fit.heads.balanced import BalancedPredictor, column_factors
from fit.heads.base import CustomHead, Predictor
from fit.looks import Look, read_looks, write_looks
from fit.model_file import ModelFile, read_file, read_model, write_model
from fit.whole_folder import whole_folder
from store.errors import DamagedHead, DamagedStore, EnvironmentFailure, UnsafeFile, UsageError
from store.files.disk import unreadable
from store.files.local import whole_file
from store.files.names import file_path, row_name
from store.files.opening import open_files
from store.json_values import as_object, parse
from store.quantization import local_network, network_file
from store.schema import InvalidField, read_fields, shown
from store.suggestions import suggest

FORMAT = "stillframe-head"
VERSIONS = (1, 2)
INFO, METRICS, PREDICTIONS = "head.json", "metrics.json", "predictions.parquet"
EXPERIMENT = "experiment.json"

_OF_THE_FOLDER = ("format", "version", "fingerprint", "model")
"""The fields of head.json that describe the folder, not the head."""

_MOST_BYTES = 2**26  # of head.json and metrics.json: a hundred thousand classes


@dataclass(frozen=True)
class HeadContent:
    """All that a head's folder holds.

    Attributes:
        info: what the head is.
        predictor: its model.
        metrics: the content of metrics.json; empty if there is no such file.
        predictions: of the rows that it was fitted and tested on; None where they are not at hand.
        experiment: which image had which role; None for heads of 0.5.0.
        looks: at its test images, by this head.
    """

    info: HeadInfo
    predictor: Predictor
    metrics: Mapping[str, object]
    predictions: pa.Table | None = None
    experiment: ExperimentRecord | None = None
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True)
class Results:
    """What a head's folder says about it beside the model, for comparisons and reports.

    Attributes:
        folder: the head's.
        info: what the head is.
        metrics: the content of metrics.json.
        predictions: one row per image and evaluation, as `fit head` wrote them.
    """

    folder: Path
    info: HeadInfo
    metrics: Mapping[str, Any]
    predictions: pa.Table


# Writing


def write_head(folder: Path, content: HeadContent, force: bool) -> None:
    """Write a head's folder, whole or not at all; one that it replaces is deleted once the new one is there.

    Raises:
        UsageError: there is something already; with `force`, something else than a head.
        EnvironmentFailure: it cannot be written.
    """
    require_place(folder, force)
    with whole_folder(folder) as part:
        _write_files(part, content, folder)


def _write_files(folder: Path, content: HeadContent, replaced: Path) -> None:
    """Write all files of a head; the looks at the same test images of a head that it replaces are kept."""
    info = content.info
    described = {
        "format": FORMAT,
        "version": info.version,
        "fingerprint": info.fingerprint,
        **info.to_dict(),
        "model": asdict(write_model(folder, content.predictor)),
    }
    _write_json(folder / INFO, described)
    _write_networks(folder, info)
    _write_json(folder / METRICS, content.metrics)
    if content.predictions is not None:
        _write_predictions(folder / PREDICTIONS, content.predictions)
    if content.experiment is not None:
        _write_json(folder / EXPERIMENT, content.experiment.to_dict(), indent=None)
        digest = content.experiment.test_digest
        earlier = [look for look in read_looks(replaced, digest) if look not in content.looks]
        if earlier or content.looks:
            write_looks(folder, digest, [*earlier, *content.looks])


def _write_networks(folder: Path, info: HeadInfo) -> None:
    """Put the quantized networks of a head's features into its folder, so that it predicts without the store.

    Raises:
        DamagedStore: one is not where it was.
    """
    for block in info.blocks:
        if block.recipe.quantization is not None:
            network = block.recipe.quantization.network
            path = folder / network_file(network)
            path.parent.mkdir(exist_ok=True)
            shutil.copyfile(_sound_network(block, network), path)


def _sound_network(block: Block, network: str) -> Path:
    """The file of a quantized network: the head's own, or where that is damaged the store's."""
    try:
        return local_network(open_files(file_path(block.place)), network)
    except DamagedStore:
        if not block.network or not block.store:
            raise
        with suppress(DamagedStore):
            return local_network(open_files(file_path(block.store)), network)
        raise


def _with_own_networks(info: HeadInfo, folder: Path) -> HeadInfo:
    """The head, with the quantized networks taken from its own folder where they are there."""

    def placed(block: Block) -> Block:
        quantization = block.recipe.quantization
        if quantization is None or not (folder / network_file(quantization.network)).is_file():
            return block
        return replace(block, network=row_name(os.path.abspath(folder)))

    return replace(info, blocks=tuple(map(placed, info.blocks)))


def write_test(folder: Path, metrics: Mapping[str, object], predictions: pa.Table) -> None:
    """Replace metrics.json and predictions.parquet of a head that was evaluated on its test images later, each whole.

    The predictions come first: they may have a test that the metrics lack, never the other way round.

    Raises:
        EnvironmentFailure: they cannot be written.
    """
    try:
        with whole_file(folder / PREDICTIONS) as part:
            _write_predictions(part, predictions)
        with whole_file(folder / METRICS) as part:
            _write_json(part, metrics)
    except OSError as error:
        raise EnvironmentFailure(f"cannot write into {folder}: {error.strerror or error}") from error


def _write_predictions(path: Path, predictions: pa.Table) -> None:
    with path.open("wb") as file:
        pq.write_table(predictions, file, compression="zstd")


def _write_json(path: Path, values: Mapping[str, object], indent: int | None = 1) -> None:
    path.write_text(json.dumps(values, indent=indent, ensure_ascii=True) + "\n", encoding="utf-8")


def require_place(folder: Path, force: bool) -> None:
    """Raise UsageError if a head cannot be written there: it exists, and is not a head that `force` may replace."""
    if not folder.exists():
        return
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if not (folder / INFO).is_file():
        raise UsageError(f"{folder} exists and is not a head: choose another --out")
    if not force:
        raise UsageError(f"{folder} holds a head already: choose another --out, or replace it with --force")


# Reading


def read_head(folder: Path, custom_head: CustomHead | str | None) -> HeadContent:
    """Read what `fit.head.load_head` needs; see there. The predictions stay where they are."""
    info, file = _read_description(folder)
    predictor = read_model(folder, file, info, custom_head)
    if len(info.blocks) > 1:
        scales = [block.scale for block in info.blocks]
        predictor = BalancedPredictor(predictor, column_factors(scales, info.widths))
    metrics = _read_metrics(folder) if (folder / METRICS).is_file() else {}
    return HeadContent(info, predictor, metrics)


def read_results(folder: str | os.PathLike[str]) -> Results:
    """Read what a head is, its metrics and its predictions; the model stays where it is.

    Raises:
        UsageError: it is not a head's folder.
        DamagedHead: its files are not what was written.
    """
    folder = Path(folder)
    info, _ = _read_description(folder)
    metrics = _read_metrics(folder)
    data = read_file(folder / PREDICTIONS)
    try:
        predictions = pq.read_table(io.BytesIO(data))
    except (OSError, pa.ArrowException) as error:
        raise DamagedHead(f"{folder / PREDICTIONS} cannot be read ({error}): fit the head again") from error
    return Results(folder, info, metrics, predictions)


def read_earlier(folder: Path) -> Results | None:
    """What `read_results` gives; None where there is no head, or a damaged one: it can be fitted, and put there."""
    try:
        return read_results(folder)
    except (UsageError, DamagedHead):
        return None


def read_experiment(folder: Path) -> ExperimentRecord | None:
    """Which image had which role in a head's fit; None for heads of 0.5.0, which do not say so.

    Raises:
        DamagedHead: the file is not what was written.
    """
    path = folder / EXPERIMENT
    if not path.is_file():
        return None
    try:
        return ExperimentRecord.from_dict(_read_json(path, most=MOST_BYTES))
    except InvalidField as error:
        raise DamagedHead(f"{path} has a missing or invalid field ({error}): fit the head again") from error


def read_info(folder: Path) -> HeadInfo:
    """What a head is; its model stays where it is.

    Raises:
        UsageError: it is not a head's folder.
        DamagedHead: head.json is not what was written.
    """
    return _read_description(folder)[0]


def _read_metrics(folder: Path) -> dict[str, Any]:
    """The content of metrics.json; the loss of a fit that diverged is NaN in it."""
    return _read_json(folder / METRICS, finite=False)


def _read_description(folder: Path) -> tuple[HeadInfo, ModelFile]:
    """The content of head.json, checked."""
    try:
        _require_head(folder)
    except OSError as error:
        raise unreadable(error, folder / INFO) from error
    described = _read_json(folder / INFO)
    if described.get("format") != FORMAT:
        raise UsageError(f"{folder / INFO} is not a Stillframe head: name the folder that `fit head` wrote")
    version = described.get("version")
    if type(version) is not int or version not in VERSIONS:
        raise UsageError(
            f"{folder} has format version {shown(version)}, this program reads {' and '.join(map(str, VERSIONS))}: "
            "use the Stillframe version that wrote it, or fit it again"
        )
    own = {name: value for name, value in described.items() if name not in _OF_THE_FOLDER}
    try:
        file = read_fields(ModelFile, as_object(described.get("model"), "model"), within="model.")
        info = HeadInfo.from_dict(own)
    except InvalidField as error:
        raise DamagedHead(f"{folder / INFO} has a missing or invalid field ({error}): fit the head again") from error
    if version != info.version:
        raise DamagedHead(
            f"{folder / INFO} was edited: it has the blocks of another format version; fit the head again"
        )
    if described.get("fingerprint") != info.fingerprint:
        raise DamagedHead(f"{folder / INFO} was edited: its fingerprint is not that of its recipe; fit the head again")
    return _with_own_networks(info, folder), file


def _require_head(folder: Path) -> None:
    if folder.is_file():
        raise UnsafeFile(
            f"{folder} is a file, expected the folder that `fit head` wrote; model files by themselves, pickles and "
            ".keras among them, can run code and are never loaded"
        )
    if not folder.is_dir():
        raise UsageError(
            f"no head at {folder}: there is no such folder; {suggest('fit', 'head', '--features', 'STORE', '--out', folder)} makes one"
        )
    if not (folder / INFO).is_file():
        raise UsageError(f"{folder} is not a head: it has no {INFO}; name the folder that `fit head` wrote")


def _read_json(path: Path, finite: bool = True, most: int = _MOST_BYTES) -> dict[str, Any]:
    try:
        return parse(read_file(path), most, finite)
    except ValueError as error:
        raise DamagedHead(f"{path} {error}: fit the head again") from error
