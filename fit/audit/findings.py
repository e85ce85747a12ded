"""What an audit finds: one finding for each image and kind, as rows of a table. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

LEAK, DUPLICATE, NEAR_DUPLICATE, MIRRORED = "leak", "duplicate", "near_duplicate", "mirrored"
LABEL_ERROR, OUTLIER = "label_error", "outlier"
TINY, NARROW, UNIFORM, DARK, BLURRED = "tiny", "narrow", "uniform", "dark", "blurred"

KINDS = {
    LEAK: "a copy is in another split, so that scores there are too good",
    DUPLICATE: "the same bytes as another image",
    NEAR_DUPLICATE: "almost the same picture as another image: resized, compressed again",
    MIRRORED: "another image, mirrored left to right",
    LABEL_ERROR: "heads that have not seen the image predict another class, with confidence",
    OUTLIER: "far from all other images",
    TINY: "few pixels",
    NARROW: "much wider than high, or much higher than wide",
    UNIFORM: "almost one color",
    DARK: "almost black",
    BLURRED: "without sharp edges",
}
"""Every kind of finding, in the order in which they are shown, and what it means."""

FILES = {
    "duplicates.csv": (LEAK, DUPLICATE, NEAR_DUPLICATE, MIRRORED),
    "label_errors.csv": (LABEL_ERROR,),
    "outliers.csv": (OUTLIER,),
    "odd.csv": (TINY, NARROW, UNIFORM, DARK, BLURRED),
}
"""The tables of findings that --exclude-from takes, by their names in the audit's folder, and the kinds in each."""

EXCLUDED = "excluded"
"""In those tables: an image that was left out before, so that the next fit leaves it out again."""

SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("kind", pa.string()),
        ("reason", pa.string()),
        ("other", pa.string()),
        ("score", pa.float64()),
        ("label", pa.string()),
        ("suggested", pa.string()),
    ]
)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one image.

    Attributes:
        row: the image, by its position among the audited ones.
        kind: one of KINDS.
        reason: what was measured, in words.
        score: what the findings of a kind are sorted by, the worst first; see docs/audit.md.
        other: the image that it is a copy of.
        suggested: the class that is predicted.
    """

    row: int
    kind: str
    reason: str
    score: float
    other: int | None = None
    suggested: str | None = None


def in_order(findings: Sequence[Finding]) -> list[Finding]:
    """By kind, in the order of KINDS; within a kind as they are."""
    rank = {kind: number for number, kind in enumerate(KINDS)}
    return sorted(findings, key=lambda finding: rank[finding.kind])


def count_kinds(findings: Sequence[Finding]) -> dict[str, int]:
    """How many findings there are of each kind, 0 for some."""
    counts = dict.fromkeys(KINDS, 0)
    for finding in findings:
        counts[finding.kind] += 1
    return counts


def finding_table(findings: Sequence[Finding], paths: Sequence[str], labels: Sequence[str | None]) -> pa.Table:
    """The findings as rows of SCHEMA.

    Args:
        findings: in the order of the table.
        paths: of all images.
        labels: of all images.
    """
    return pa.table(
        {
            "path": [paths[finding.row] for finding in findings],
            "kind": [finding.kind for finding in findings],
            "reason": [finding.reason for finding in findings],
            "other": [None if finding.other is None else paths[finding.other] for finding in findings],
            "score": [round(finding.score, 6) for finding in findings],
            "label": [labels[finding.row] for finding in findings],
            "suggested": [finding.suggested for finding in findings],
        },
        schema=SCHEMA,
    )
