"""An audit, step by step: a store and options in, findings out."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from extract.api import SILENT, Reporter, any_present, image_root
from fit.audit.assessment import (
    LabelAssessment,
    Leakage,
    assess_labels,
    choose_labelled,
    describe_doubt,
    measure_leakage,
)
from fit.audit.copies import (
    Copy,
    CopyPairs,
    copy_groups,
    find_copies,
    identical_pairs,
    join_pairs,
    pairs_by,
)
from fit.audit.findings import (
    DUPLICATE,
    LABEL_ERROR,
    LEAK,
    MIRRORED,
    NEAR_DUPLICATE,
    OUTLIER,
    Finding,
    count_kinds,
    in_order,
)
from fit.audit.options import AuditOptions
from fit.audit.outliers import FeatureColumns, describe_columns, find_outliers
from fit.audit.pixels import Looks, odd_findings, odd_looks, odd_sizes, pairs_of_looks, read_looks
from fit.audit.request import AuditedImages, FeatureRows, load_audited
from fit.neighbors import Neighbors, compare_all
from fit.splits import Positions
from store.files.names import printable
from store.labels import LabelCounts, count_labels
from store.reader import FeatureStore

NEIGHBORS = 10
"""How many nearest images an outlier's distance is the mean of."""

_READ_ROWS = 1024
_LEAST_CENTERED = 50  # images: the mean of fewer is too near each of them
_LOOKED_FOR = 200  # if none of these images is there, they have moved
_WAYS = {
    DUPLICATE: "the same bytes as {other}",
    NEAR_DUPLICATE: "the same picture as {other}, similarity {score:.3f}",
    MIRRORED: "{other} mirrored, similarity {score:.3f}",
}


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        images: what was audited.
        options: how, as the user asked.
        findings: in the order of the kinds, the worst of each kind first.
        counts: classes, splits and groups of the images.
        small_classes: those too small to assess, with their numbers of different images.
        columns: which features say nothing.
        leakage: what copies between splits do to the score; None without such copies.
        assessment: doubts about labels; None if they could not be assessed.
        root: where the images are; None if they are no longer there, or were not to be read.
        notes: what was not done and why, a sentence each.
        seconds: how long it took.
    """

    images: AuditedImages
    options: AuditOptions
    findings: Sequence[Finding]
    counts: LabelCounts
    small_classes: Mapping[str, int]
    columns: FeatureColumns
    leakage: Leakage | None
    assessment: LabelAssessment | None
    root: str | None
    notes: Sequence[str]
    seconds: float

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values, without the findings themselves."""
        return {
            "images": len(self.images),
            "kinds": count_kinds(self.findings),
            "described": self.counts.sentence,
            "small_classes": dict(self.small_classes),
            "features": {
                "count": self.columns.count,
                "dead": self.columns.dead.tolist(),
                "constant": self.columns.constant.tolist(),
            },
            "leakage": None if self.leakage is None else self.leakage.to_dict(),
            "assessed": 0 if self.assessment is None else len(self.assessment.images),
            "notes": list(self.notes),
            "seconds": round(self.seconds, 3),
        }


def audit_store(store: FeatureStore, options: AuditOptions | None = None, reporter: Reporter = SILENT) -> Audit:
    """Look for everything that may be wrong with a store's images.

    Args:
        store: complete.
        options: what is looked at, and how.
        reporter: shows progress.

    Raises:
        UsageError: there are no images, a table cannot be used, or a feature is not a number.
        StoppedEarly: the store is not complete.
        EnvironmentFailure: an image cannot be read now.
    """
    started, options = time.perf_counter(), options or AuditOptions()
    audited = load_audited(store, options, reporter)
    columns = _columns(audited, reporter)
    identical, different = identical_pairs(audited.rows.texts("sha256"))
    neighbors, near = _compare(audited, different, columns.mean, reporter)
    root, notes = _find_root(audited)
    looks = _look(audited, different, neighbors, root, reporter)
    looked = () if looks is None else pairs_of_looks(looks, options.near)
    pairs = join_pairs(identical, near, *looked)
    groups = copy_groups(pairs, len(audited))
    subset = choose_labelled(audited, groups)
    assessed = assess_labels(audited, subset, reporter) if options.folds and subset.possible else None
    leakage = measure_leakage(audited, subset, groups, reporter) if subset.possible else None
    odd, common = _odd(audited, looks)
    findings = [
        *_copy_findings(find_copies(pairs, audited.splits), audited),
        *_label_findings(assessed),
        *_outlier_findings(neighbors, different),
        *odd,
    ]
    return Audit(
        images=audited,
        options=options,
        findings=in_order(findings),
        counts=count_labels(audited.rows.table),
        small_classes=subset.small,
        columns=columns,
        leakage=leakage,
        assessment=assessed,
        root=root,
        notes=[*notes, *_pixel_notes(looks, different), *subset.notes, *common],
        seconds=time.perf_counter() - started,
    )


def _columns(audited: AuditedImages, reporter: Reporter) -> FeatureColumns:
    every = np.arange(len(audited))
    with reporter.step("describing features", None):
        batches = (values for values, _ in audited.features.batches(every, _READ_ROWS, None))
        return describe_columns(batches, audited.features.shape[0])


def _compare(
    audited: AuditedImages, different: Positions, mean: npt.NDArray[np.float32], reporter: Reporter
) -> tuple[Neighbors, CopyPairs]:
    """The neighbors of each different image, by position in `different`, and the pairs that are near by features."""
    # Two images are opposite each other, seen from the middle between them.
    center = mean if len(different) >= _LEAST_CENTERED else np.zeros_like(mean)
    with reporter.step("comparing all images", len(different)) as progress:
        neighbors, near = compare_all(
            FeatureRows(audited.features, different, center),
            NEIGHBORS,
            audited.options.near,
            done=lambda rows: progress.advance(rows, 0),
        )
    return neighbors, pairs_by(near, different, NEAR_DUPLICATE)


# Pixels


def _find_root(audited: AuditedImages) -> tuple[str | None, list[str]]:
    """Where the images are, if they are to be read and are there; else a sentence about what is not done."""
    options, current = audited.options, audited.store.snapshot.current
    if options.pixels == 0:
        return None, []
    data = image_root(current.data) if current else ""
    root = os.fspath(options.images) if options.images is not None else data
    few = audited.paths[:: max(1, len(audited) // _LOOKED_FOR)]
    if root and any_present(root, few):
        return root, []
    return None, [
        f"the images are not in {printable(root)}: copies are found by their features alone, odd images by their "
        "size alone; say where they are with --images DIR"
    ]


def _look(
    audited: AuditedImages, different: Positions, neighbors: Neighbors, root: str | None, reporter: Reporter
) -> Looks | None:
    if root is None:
        return None
    rows = different[_most_similar(neighbors, audited.options.pixels)]
    return read_looks(root, audited.paths, rows, audited.store.recipe, reporter)


def _most_similar(neighbors: Neighbors, most: int) -> Positions:
    """At most that number of rows: those nearest to another, for they may be copies; and a quarter evenly from all."""
    count = len(neighbors.rows)
    if count <= most:
        return np.arange(count)
    even = np.linspace(0, count - 1, most // 4).round().astype(np.int64)
    order = np.argsort(-neighbors.cosines[:, 0], kind="stable")
    nearest = order[~np.isin(order, even)][: most - len(np.unique(even))]
    return np.union1d(even, nearest)


def _pixel_notes(looks: Looks | None, different: Positions) -> list[str]:
    if looks is None:
        return []
    notes, read = [], len(looks.rows) + looks.unreadable
    if read < len(different):
        notes.append(
            f"the pixels of {read:,} of {len(different):,} different images were read, those most like another first; "
            "for more: --pixels N"
        )
    if looks.unreadable:
        notes.append(f"{looks.unreadable:,} images could not be read")
    return notes


def _odd(audited: AuditedImages, looks: Looks | None) -> tuple[list[Finding], list[str]]:
    table, recipe = audited.rows.table, audited.store.recipe
    widths, heights = (table[name].to_numpy().astype(np.int64) for name in ("width", "height"))
    findings, notes = odd_findings(odd_sizes(widths, heights), len(audited))
    if looks is None:
        return findings, notes
    height, width = recipe.image_size
    enlarged = np.maximum(height / np.maximum(heights, 1), width / np.maximum(widths, 1))
    others, more = odd_findings(odd_looks(looks, enlarged), len(looks.rows))
    return [*findings, *others], [*notes, *more]


# Findings


def _copy_findings(copies: Sequence[Copy], audited: AuditedImages) -> list[Finding]:
    paths, labels, splits = audited.paths, audited.labels, audited.splits
    findings = []
    for copy in copies:
        reason = _WAYS[copy.how].format(other=printable(paths[copy.other]), score=copy.score)
        if labels[copy.row] != labels[copy.other]:
            reason += f", which is labelled {printable(labels[copy.other] or 'nothing')}"
        findings.append(Finding(copy.row, copy.how, reason, copy.score, copy.other))
        if splits[copy.row] != splits[copy.kept]:
            other = splits[copy.kept] or "no split"
            where = f"a copy of {printable(paths[copy.kept])}, which is in {printable(other)}"
            findings.append(Finding(copy.row, LEAK, where, copy.score, copy.kept))
    return findings


def _label_findings(assessment: LabelAssessment | None) -> list[Finding]:
    if assessment is None:
        return []
    doubts, classes = assessment.doubts, assessment.task.classes
    return [
        Finding(
            int(assessment.images[number]),
            LABEL_ERROR,
            describe_doubt(assessment, number),
            float(doubts.own[number]),
            suggested=classes[doubts.suggested[number]],
        )
        for number in doubts.ranking.tolist()
        if doubts.suspected[number]
    ]


def _outlier_findings(neighbors: Neighbors, different: Positions) -> list[Finding]:
    outliers = find_outliers(neighbors)
    return [
        Finding(
            int(different[row]),
            OUTLIER,
            f"its distance to the nearest {NEIGHBORS} images is {outliers.distances[row]:.3f} on average, "
            f"usual is up to {outliers.limit:.3f}",
            float(outliers.distances[row]),
        )
        for row in outliers.rows.tolist()
    ]
