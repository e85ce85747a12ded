"""A head's folder, its store and its images -> the content of its page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from extract.api import SILENT, Reporter
from fit.arrays import Bools
from fit.head_folder import Results
from fit.metrics.calibration import reliability
from fit.page.audit import audit_section
from fit.page.charts import (
    kept_epoch,
    kept_note,
    percent,
    reliability_chart,
    training_charts,
)
from fit.page.content import AuditSection, ClassLook, Content, GroupTable, Listed, Mistake, NearImage
from fit.page.features import NoFeatures, StoredFeatures, find_features, nearest_images
from fit.page.images import (
    MOST_IMAGES,
    PageImages,
    errors_of,
    evenly,
    gather_images,
    largest_classes,
    order_of_need,
)
from fit.page.map import PCA, project
from fit.page.numbers import USES, by_table, confusion_table, group_table, label_table, number, score_table, value_alone
from fit.page.run import command_blocks, recipe_facts, version_facts
from fit.page.sources import (
    Evaluation,
    NoImages,
    choices_of,
    find_images_of,
    gather_evaluation,
    monitor_of,
    unseen_note,
)
from fit.page.thumbnails import ThumbnailRequest, Thumbnails, make_thumbnails
from fit.splits import TRAIN, Positions
from store.errors import EnvironmentFailure
from store.files.names import printable
from store.information import run_options
from store.reader import FeatureStore
from store.suggestions import suggest

SHOWN_MISTAKES, NEAR_IMAGES = 24, 3
SHOWN_CLASSES, SHOWN_OF_CLASS = 20, 8

_NO_THUMBNAILS = Thumbnails("", {}, {})


@dataclass(frozen=True)
class PageOptions:
    """Where a page's parts come from, and how much of them it takes.

    Attributes:
        images: the folder that the images are in, if they are no longer where they were extracted from.
        features: the stores, if they are no longer where they were.
        thumbnails: how many at most.
        averaged: how many images of each class its average is made of, at most.
        feature_bytes: larger stores are not read; None reads any.
        map: how images are placed on the map, one of `fit.page.map.MAPS`.
    """

    images: Path | None = None
    features: tuple[str | FeatureStore, ...] = ()
    thumbnails: int = 1500
    averaged: int = 40
    feature_bytes: int | None = None
    map: str = PCA


BESIDE_A_FIT = PageOptions(thumbnails=400, averaged=12, feature_bytes=2**30)
"""The options of the page that `fit head` writes, which has to be there in seconds."""


@dataclass(frozen=True)
class _Parts:
    """What the page is put together from.

    Attributes:
        images: all of the head's.
        evaluation: the one that it is reported by.
        mistakes: those that have a place of their own, by position.
        near: of each of them, the nearest training images, by position, with cosines.
        shown: the images on the page, by position.
        features: of the images, if they are at hand.
        thumbnails: of the images.
        audit: what of an audit is known.
        map: how images are placed on it, one of MAPS.
    """

    images: PageImages
    evaluation: Evaluation
    mistakes: Positions
    near: Sequence[Sequence[tuple[int, float]]]
    shown: Positions
    features: StoredFeatures | None
    thumbnails: Thumbnails
    audit: AuditSection
    map: str

    @property
    def number_of(self) -> dict[int, int]:
        """The number on the page of each image that is shown, by position."""
        return {position: number for number, position in enumerate(self.shown.tolist())}


def gather_content(results: Results, options: PageOptions, reporter: Reporter = SILENT) -> Content:
    """Everything that a page of a head says."""
    notes = list[str]()
    images, reported = gather_images(results), results.metrics["confusion_of"]
    notes += unseen_note(results)
    features = _features(results, options, notes)
    mistakes = errors_of(images, reported)[:SHOWN_MISTAKES]
    near = _near(images, mistakes, features, reporter)
    samples = _samples(images, options.averaged)
    near_positions = np.array([position for found in near for position, _ in found], np.int64)
    audit = audit_section(results, images)
    doubted = np.array([doubt.position for doubt in audit.doubts], np.int64)
    order = order_of_need(images, [mistakes, doubted, near_positions, *_in_turn(samples)], reported)[:MOST_IMAGES]
    thumbnails = _thumbnails(
        results, options, _thumbnail_request(results, images, order[: options.thumbnails], samples), notes, reporter
    )
    shown = np.sort(order)
    parts = _Parts(images, gather_evaluation(results), mistakes, near, shown, features, thumbnails, audit, options.map)
    content = _content(results, parts, samples, notes)
    more = min(len(order), PageOptions.thumbnails)
    if options.thumbnails < more and content.thumbnails:
        content = replace(content, hint=f"`fit report` makes up to {more:,}.")
    return content


def _features(results: Results, options: PageOptions, notes: list[str]) -> StoredFeatures | None:
    try:
        features = find_features(results.info, options.features)
    except NoFeatures as reason:
        again = printable(suggest("fit", "report", results.folder, "--features", "STORE"))
        notes.append(f"No map and no nearest images: {reason}; say where the store is with {again}.")
        return None
    if options.feature_bytes is not None and features.bytes > options.feature_bytes:
        notes.append("The store is large: `fit report` adds the map and the nearest training images.")
        return replace(features, position_of={})
    return features


def _near(
    images: PageImages, mistakes: Positions, features: StoredFeatures | None, reporter: Reporter
) -> list[list[tuple[int, float]]]:
    """For each mistake the positions of the nearest training images, with cosines."""
    train = images.of_evaluation(TRAIN)
    if features is None or not features.position_of or len(mistakes) == 0 or len(train) == 0:
        return [[] for _ in mistakes]
    with reporter.step("looking for the nearest images", None):
        found = nearest_images(
            features,
            [images.paths[position] for position in mistakes],
            [images.paths[position] for position in train],
            NEAR_IMAGES,
        )
    return [[(int(train[row]), cosine) for row, cosine in pairs] for pairs in found]


def _samples(images: PageImages, most: int) -> dict[int, Positions]:
    """Some images of each class, evenly by name, by the class's number."""
    members = images.members()
    return {at: evenly(members[at], most) for at in largest_classes(members, SHOWN_CLASSES) if len(members[at])}


def _in_turn(samples: Mapping[int, Positions]) -> list[Positions]:
    """The images in the order in which they get thumbnails: those that are shown of each class, then the others."""
    shown = [evenly(positions, SHOWN_OF_CLASS) for positions in samples.values()]
    return [*shown, *samples.values()]


# Thumbnails


def _thumbnail_request(
    results: Results, images: PageImages, order: Positions, samples: Mapping[int, Positions]
) -> ThumbnailRequest:
    return ThumbnailRequest(
        [images.paths[position] for position in order],
        {at: [images.paths[position] for position in positions] for at, positions in samples.items()},
        results.info.blocks[0].recipe.background,
    )


def _thumbnails(
    results: Results, options: PageOptions, asked: ThumbnailRequest, notes: list[str], reporter: Reporter
) -> Thumbnails:
    try:
        root = find_images_of(results, options.images)
        return make_thumbnails(root, asked, reporter)
    except (NoImages, EnvironmentFailure) as reason:
        again = printable(suggest("fit", "report", results.folder, "--images", "DIR"))
        notes.append(f"No thumbnails: {printable(str(reason))}; say where the images are with {again}.")
        return _NO_THUMBNAILS


# The content


def _content(results: Results, parts: _Parts, samples: Mapping[int, Positions], notes: Sequence[str]) -> Content:
    info, metrics, evaluation = results.info, results.metrics, parts.evaluation
    reported = metrics["confusion_of"]
    measured = metrics.get(reported) or evaluation.scores.to_dict()
    table = label_table if info.multi_label else confusion_table
    history = metrics.get("history")
    monitor = monitor_of(info)
    features = parts.features
    return Content(
        title=printable(f"{info.head} on {info.backbone}"),
        place=printable(str(results.folder)),
        classes=[printable(name) for name in info.classes],
        multi_label=info.multi_label,
        of=evaluation.of,
        reported=reported,
        accuracy=number("accuracy", _metric(measured, "accuracy")),
        baseline=value_alone("accuracy", _metric(metrics["baseline"], "accuracy")),
        calibration_error=number("calibration_error", _metric(measured, "calibration_error")),
        wrong=int((~evaluation.evaluated.right).sum()),
        chosen_on=USES[reported],
        scores=score_table(metrics),
        confusion=table(info.classes, np.array(metrics["confusion"]), evaluation.of),
        mistakes=_mistakes(parts),
        per_class=[replace(entry, name=printable(entry.name)) for entry in evaluation.scores.per_class],
        groups=by_table(metrics["by"]) if metrics.get("by") else _groups(parts, reported),
        reliability=reliability_chart(reliability(*evaluation.evaluated.decisions())),
        audit=_numbered(parts),
        training=training_charts(history, kept_epoch(history, monitor)) if history else [],
        kept=kept_note(history, monitor) if history else "",
        looks=_looks(parts, samples),
        listed=_listed(parts),
        total=len(parts.images),
        rows=metrics["rows"],
        hint="",
        recipe=recipe_facts(info),
        versions=version_facts(info),
        blocks=command_blocks(
            info,
            results.folder,
            choices_of(results),
            run_options(features.stores[0]) if features and len(features.stores) == 1 else None,
        ),
        notes=notes,
    )


def _numbered(parts: _Parts) -> AuditSection:
    """The section, its images by their numbers on the page."""
    number_of = parts.number_of
    return replace(parts.audit, doubts=[replace(one, position=number_of[one.position]) for one in parts.audit.doubts])


def _groups(parts: _Parts, reported: str) -> GroupTable | None:
    group_of = parts.features.group_of if parts.features else {}
    return group_table(parts.images, parts.images.of_evaluation(reported), group_of)


def _metric(evaluation: Mapping[str, object], name: str) -> Mapping[str, object]:
    found = evaluation[name]
    assert isinstance(found, Mapping)
    return found


def _mistakes(parts: _Parts) -> list[Mistake]:
    images, number_of = parts.images, parts.number_of
    mistakes = []
    for position, found in zip(parts.mistakes.tolist(), parts.near, strict=True):
        near = [
            NearImage(number_of[row], printable(images.paths[row]), _names(images, images.actual[row]), f"{cosine:.2f}")
            for row, cosine in found
            if row in number_of
        ]
        mistakes.append(
            Mistake(
                number_of[position],
                printable(images.paths[position]),
                _names(images, images.actual[position]),
                _names(images, images.predicted[position]) or "none",
                percent(float(images.confidence[position])),
                near,
            )
        )
    return mistakes


def _names(images: PageImages, has_class: Bools) -> str:
    return " | ".join(printable(images.task.classes[at]) for at in np.flatnonzero(has_class))


def _looks(parts: _Parts, samples: Mapping[int, Positions]) -> list[ClassLook]:
    images, number_of = parts.images, parts.number_of
    encoded, averages = parts.thumbnails.encoded, parts.thumbnails.averages
    looks = []
    for at, positions in samples.items():
        readable = np.array([row for row in positions.tolist() if images.paths[row] in encoded], np.int64)
        shown = [number_of[row] for row in evenly(readable, SHOWN_OF_CLASS).tolist() if row in number_of]
        if shown:
            total = int(images.actual[:, at].sum())
            looks.append(ClassLook(printable(images.task.classes[at]), shown, total, averages.get(at)))
    return looks


def _listed(parts: _Parts) -> Listed:
    images, shown = parts.images, parts.shown.tolist()
    paths = [images.paths[row] for row in shown]
    evaluations = list(dict.fromkeys(images.evaluations))
    group_of = parts.features.group_of if parts.features else {}
    names = sorted({name for path in paths if (name := group_of.get(path)) is not None})
    places = {name: at for at, name in enumerate(names)}
    listed = Listed(
        paths=[printable(path) for path in paths],
        actual=[np.flatnonzero(images.actual[row]).tolist() for row in shown],
        predicted=[np.flatnonzero(images.predicted[row]).tolist() for row in shown],
        probability=[round(float(np.nan_to_num(images.confidence[row])), 4) for row in shown],
        evaluation=[evaluations.index(images.evaluations[row]) for row in shown],
        evaluations=evaluations,
        right=[int(images.right[row]) for row in shown],
        group=[places.get(group_of.get(path) or "", -1) for path in paths],
        groups=[printable(name) for name in names],
        thumbnail=[parts.thumbnails.encoded.get(path, "") for path in paths],
        kind=parts.thumbnails.kind,
    )
    return _with_map(listed, paths, parts.features, parts.map)


def _with_map(listed: Listed, paths: Sequence[str], features: StoredFeatures | None, way: str) -> Listed:
    """The images with their places on the map."""
    if features is None or not features.position_of:
        return listed
    values, rows = features.take(paths)
    if len(rows) < 3:
        return listed
    projected = project(values, way)
    low, high = projected.points.min(axis=0), projected.points.max(axis=0)
    scaled = (projected.points - low) / np.maximum(high - low, np.finfo(np.float64).tiny)
    x: list[float | None] = [None] * len(paths)
    y: list[float | None] = [None] * len(paths)
    for row, (across, up) in zip(rows.tolist(), scaled.tolist(), strict=True):
        x[row], y[row] = round(across, 4), round(1 - up, 4)
    return replace(listed, x=x, y=y, axes=projected.axes)
