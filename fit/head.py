"""A fitted head, which predicts through its own recipe."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from extract.api import SILENT, GivenImages, ImageLike, Reporter, start_keras, take_images
from fit.block_extractor import BlockExtractor, WeightsPlace, place_weights
from fit.data import reduce_tensor
from fit.experiment_record import ExperimentRecord
from fit.head_folder import HeadContent, Results, read_experiment, read_head, read_results, write_head
from fit.head_info import Block, HeadInfo
from fit.heads.base import CustomHead, Predictor
from fit.looks import Look
from fit.options import require_abstain
from fit.predictions import prediction_columns
from store.errors import StillframeError, UsageError
from store.notebook import Pictures, notebook_table
from store.tensors import Tensor

if TYPE_CHECKING:
    import keras
    from sklearn.base import ClassifierMixin

_PREDICTED_ROWS = 1024
_SHOWN_CLASSES = 12


class Head:
    """A fitted head.

    Attributes:
        info: what it is.
        predictor: its model, behind one way to predict for all kinds of heads.
        metrics: the content of metrics.json; empty before they are measured.
        predictions: of the rows that it was fitted and tested on; None once it is loaded from its folder.
        folder: where it is, once it is saved or loaded.
        looks: how often it was evaluated on its test images since it was fitted or loaded.
    """

    def __init__(
        self,
        info: HeadInfo,
        predictor: Predictor,
        metrics: Mapping[str, object],
        predictions: pa.Table | None = None,
        experiment: ExperimentRecord | None = None,
    ) -> None:
        self.info = info
        self.predictor = predictor
        self.metrics = dict(metrics)
        self.predictions = predictions
        self.folder: Path | None = None
        self.looks: tuple[Look, ...] = ()
        self._experiment = experiment
        self._extractors: dict[tuple[Block, ...], BlockExtractor] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of the probabilities' columns."""
        return self.info.classes

    @property
    def experiment(self) -> ExperimentRecord | None:
        """Which image had which role in its fit, read when it is first asked for; None for heads of 0.5.0.

        Raises:
            DamagedHead: experiment.json is not what was written.
        """
        if self._experiment is None and self.folder is not None:
            self._experiment = read_experiment(self.folder)
        return self._experiment

    @property
    def model(self) -> "keras.Model | ClassifierMixin":
        """The Keras model or the scikit-learn estimator."""
        return self.predictor.model

    @property
    def is_network(self) -> bool:
        """Whether `model` is a Keras model."""
        return self.predictor.is_network

    def __repr__(self) -> str:
        predicts = "a number" if self.info.task.regression else f"{len(self.classes)} classes"
        return f"Head({self.info.head!r}, {predicts}, on {self.info.backbone})"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        from fit.page.numbers import score_table

        rest = ", …" if len(self.classes) > _SHOWN_CLASSES else ""
        classes = f"{len(self.classes):,}: {', '.join(self.classes[:_SHOWN_CLASSES])}{rest}"
        table = score_table(self.metrics)
        main = "mean absolute error" if self.info.task.regression else "accuracy"
        scores = {
            f"{main}, {name}": f"{number.value} ({number.interval})" if number.interval else number.value
            for metric, numbers in table.rows
            for name, number in zip(table.evaluations, numbers, strict=True)
            if metric == main
        }
        scores = {name: value.replace("\N{NO-BREAK SPACE}", " ") for name, value in scores.items()}
        predicts = {"predicts": "a number"} if self.info.task.regression else {"classes": classes}
        facts = {**predicts, "backbone": self.info.backbone, **scores}
        return notebook_table(f"Head {self.info.head}", facts, self._pictures())

    def _pictures(self) -> Pictures | None:
        """A few of the images that it is reported by, where its predictions and the images are at hand."""
        from fit.page.notebook import head_pictures

        if self.predictions is not None:
            return head_pictures(Results(self.folder or Path(), self.info, self.metrics, self.predictions))
        try:
            return None if self.folder is None else head_pictures(read_results(self.folder))
        except StillframeError:
            return None

    def abstain_below(self, probability: float | None) -> None:
        """From now on predict nothing where the class has a smaller probability; None changes nothing.

        Raises:
            UsageError: it is not a probability, or an image may have several labels.
        """
        require_abstain(probability)
        if probability is None:
            return
        if self.info.multi_label or self.info.task.regression:
            raise UsageError(
                "--abstain is for one class per image: of several labels each has a threshold, and a number has no probability"
            )
        self.info = replace(self.info, decision=replace(self.info.decision, abstain=probability))

    def predict_features(self, *features: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        """Probabilities (rows, classes) of features (rows, *shape) as the store holds them; of a head on several blocks,
        those of each block, in the order of `info.blocks`.

        Raises:
            UsageError: the shape is another than the store's, or there are more or fewer blocks.
        """
        blocks = self.info.blocks
        if len(features) != len(blocks):
            expected = ", ".join(f"{block.output.name} of {block.recipe.backbone}" for block in blocks)
            raise UsageError(f"expected features of {len(blocks)} blocks ({expected}), got {len(features)}")
        stored = [_as_stored(values, block) for values, block in zip(features, blocks, strict=True)]
        if len({len(values) for values in stored}) > 1:
            raise UsageError(f"expected as many rows of each block, got {', '.join(str(len(rows)) for rows in stored)}")
        parts = []
        for start in range(0, len(stored[0]), _PREDICTED_ROWS):
            reduced = [
                reduce_tensor(values[start : start + _PREDICTED_ROWS], block.reduction).astype(np.float32)
                for values, block in zip(stored, blocks, strict=True)
            ]
            joined = reduced[0] if len(reduced) == 1 else np.concatenate(reduced, axis=1)
            parts.append(self.predictor.predict_proba(joined))
        return np.concatenate(parts) if parts else np.empty((0, self.info.task.outputs))

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        weights: WeightsPlace = None,
        reporter: Reporter = SILENT,
    ) -> pa.Table:
        """Predictions for images: files, folders of them, tables that name them, glob patterns, URLs; PIL images; and
        arrays of uint8 and shape (height, width, 3), RGB.

        Args:
            images: one or several of these.
            weights: where the backbone's weights are now, if elsewhere than when the features were extracted; of a head
                on several recipes, a place for each, in their order.
            reporter: shows progress.

        Returns:
            path (as given, `<image 0>` and on for images without one), predicted (null where the head abstains),
            probability, one column per class, and error: what was wrong with the image.

        Raises:
            UsageError: there are no such images.
            RecipeMismatch: the weights are not the recipe's.
            EnvironmentFailure: an image cannot be read now.
        """
        return self.predict_given(take_images(images), weights, reporter)

    def predict_given(self, images: GivenImages, weights: WeightsPlace = None, reporter: Reporter = SILENT) -> pa.Table:
        """What `predict` gives, for images that are looked up already.

        Raises:
            RecipeMismatch: the weights are not the recipe's.
            EnvironmentFailure: an image cannot be read now.
        """
        paths = images.names
        found: dict[str, npt.NDArray[np.float64]] = {}
        errors: dict[str, str] = {}
        for part in self.extractor(weights, reporter).extract(list(dict.fromkeys(paths)), reporter, images.pixels):
            values = self.predict_features(*part.tensors)
            found.update(zip(part.paths, values, strict=True))
            errors.update(part.errors)
        missing = np.full(self.info.task.outputs, np.nan)
        probabilities = np.array([found.get(path, missing) for path in paths])
        columns = prediction_columns(probabilities, self.info.task)
        return pa.table(
            {"path": paths, **columns, "error": pa.array([errors.get(path) for path in paths], pa.string())}
        )

    def predict_pixels(
        self,
        *pixels: npt.NDArray[np.uint8],
        weights: WeightsPlace = None,
        reporter: Reporter = SILENT,
    ) -> npt.NDArray[np.float64]:
        """Probabilities (rows, classes) of pixels (rows, height, width, 3) that the recipe has decoded and resized; of a
        head whose recipes make other pixels, those of each, in the order of `fit.block_extractor.pixel_inputs`.
        """
        return self.predict_features(*self.extractor(weights, reporter).extract_pixels(pixels))

    def extractor(self, weights: WeightsPlace = None, reporter: Reporter = SILENT) -> BlockExtractor:
        """The head's recipes, with their networks loaded once."""
        blocks = place_weights(self.info.blocks, weights)
        if blocks not in self._extractors:
            self._extractors[blocks] = BlockExtractor(blocks, reporter)
        return self._extractors[blocks]

    def save(self, folder: str | os.PathLike[str], force: bool = False) -> Path:
        """Write the head's folder, whole or not at all.

        Raises:
            UsageError: there is something already; with `force`, something else than a head.
            EnvironmentFailure: it cannot be written.
        """
        folder = Path(folder)
        content = HeadContent(self.info, self.predictor, self.metrics, self.predictions, self.experiment, self.looks)
        write_head(folder, content, force)
        self.folder = folder
        return folder

    def export(self, path: str | os.PathLike[str], to: str, weights: WeightsPlace = None, force: bool = False) -> float:
        """Write one model from uint8 pixels to probabilities; see `fit.export.export.export_head`."""
        start_keras()
        from fit.export.export import export_head

        return export_head(self, Path(path), to, weights, force)


def _as_stored(features: npt.NDArray[np.generic], block: Block) -> Tensor:
    """Features as they would come from the store: its type decides the last bits, which tree heads look at."""
    features = np.asarray(features)
    if tuple(features.shape[1:]) != block.output.shape:
        raise UsageError(
            f"expected rows of shape {block.output.shape}, those of the output {block.output.name!r} of the head's "
            f"recipe, got rows of shape {tuple(features.shape[1:])}"
        )
    stored: Tensor = features.astype(block.output.dtype, copy=False)
    return stored


def load_head(folder: str | os.PathLike[str], custom_head: CustomHead | str | None = None) -> Head:
    """Load a head from its folder.

    Args:
        folder: what `Head.save` wrote.
        custom_head: for a custom head, the function that built it or its `module:function`: a folder alone never
            names code to run.

    Raises:
        UsageError: it is not a head's folder.
        UnsafeFile: it holds something that could run code.
        DamagedHead: its files are not what was written.
    """
    content = read_head(Path(folder), custom_head)
    head = Head(content.info, content.predictor, content.metrics)
    head.folder = Path(folder)
    return head
