"""An audit's folder: tables that other commands take, a JSON file, and a page."""

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv

from extract.api import SILENT, Reporter
from fit.audit.findings import EXCLUDED, FILES, KINDS, LABEL_ERROR, SCHEMA, finding_table
from fit.audit.options import AuditOptions
from fit.audit.run import Audit
from fit.command_words import option_words
from fit.gallery.page import Card, Page, Picture, Section, render
from fit.gallery.thumbnails import NONE, make_thumbnails, rows_of
from fit.metrics.format import format_interval
from fit.metrics.intervals import Interval
from fit.whole_folder import whole_folder
from store.errors import UsageError
from store.suggestions import suggested_line

FINDINGS, LABELS, SUMMARY, PAGE = "findings.csv", "labels.csv", "audit.json", "audit.html"

SHOWN = 24
"""How many findings of each kind the page shows."""


def require_audit_place(folder: Path, force: bool) -> None:
    """Raise UsageError unless an audit can be written there; with `force`, an earlier one may be replaced."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / SUMMARY).is_file():
        raise UsageError(f"{folder} exists and is not an audit: choose another --out")
    if not force:
        raise UsageError(f"{folder} holds an audit already: choose another --out, or replace it with --force")


def write_audit(audit: Audit, folder: Path, force: bool = False, reporter: Reporter = SILENT) -> None:
    """Write the folder, whole or not at all.

    Raises:
        UsageError: there is something already; with `force`, something else than an audit.
        EnvironmentFailure: it cannot be written, or an image cannot be read now.
    """
    require_audit_place(folder, force)
    page = render(audit_page(audit, folder, _thumbnails(audit, reporter)))
    with whole_folder(folder) as part:
        _write_files(audit, part, page)


def _write_files(audit: Audit, folder: Path, page: str) -> None:
    paths, labels = audit.images.paths, audit.images.labels
    table = finding_table(audit.findings, paths, labels)
    _write_csv(table, folder / FINDINGS)
    kinds = np.array(table["kind"].to_pylist(), dtype=object)
    earlier = _left_out_before(audit)
    for name, chosen in FILES.items():
        found = table.take(pa.array(np.flatnonzero(np.isin(kinds, chosen))))
        _write_csv(pa.concat_tables([found, earlier]), folder / name)
    if audit.assessment is not None:
        _write_csv(corrected_labels(audit), folder / LABELS)
    summary = {**audit.to_dict(), "findings": finding_rows(audit)}
    (folder / SUMMARY).write_text(json.dumps(summary, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    (folder / PAGE).write_text(page, encoding="utf-8")


def _left_out_before(audit: Audit) -> pa.Table:
    """The images that --exclude-from named, as rows of each table that takes its place in the next fit."""
    if audit.options.exclude_from is None:
        return SCHEMA.empty_table()
    audited = set(audit.images.paths)
    paths = [path for path in audit.images.store.images()["path"].to_pylist() if path not in audited]
    nothing: list[None] = [None] * len(paths)
    columns = dict.fromkeys(SCHEMA.names, nothing)
    reason = f"left out before, as {os.fspath(audit.options.exclude_from)} says"
    return pa.table(
        {**columns, "path": paths, "kind": [EXCLUDED] * len(paths), "reason": [reason] * len(paths)}, schema=SCHEMA
    )


def finding_rows(audit: Audit) -> list[dict[str, object]]:
    """The findings as plain JSON values."""
    rows: list[dict[str, object]] = finding_table(audit.findings, audit.images.paths, audit.images.labels).to_pylist()
    return rows


def _write_csv(table: pa.Table, path: Path) -> None:
    with path.open("wb") as file:
        pyarrow.csv.write_csv(table, file)


def corrected_labels(audit: Audit) -> pa.Table:
    """All images as --labels takes them, suspected labels replaced by what is suggested; the most doubtful first.

    Columns: path, label, split and group where images have them, given (the label as it was), probability (of that
    label, out of fold; null where it was not assessed), suspected.
    """
    rows, assessment = audit.images.rows.table, audit.assessment
    labels, count = audit.images.labels, len(audit.images)
    probability, suspected = np.full(count, np.nan), np.zeros(count, bool)
    corrected = list(labels)
    if assessment is not None:
        probability[assessment.images] = assessment.doubts.own
        suspected[assessment.images] = assessment.doubts.suspected
        for number in np.flatnonzero(assessment.doubts.suspected).tolist():
            corrected[assessment.images[number]] = assessment.task.classes[assessment.doubts.suggested[number]]
    order = np.argsort(np.where(np.isnan(probability), np.inf, probability), kind="stable")
    given = {name: rows[name] for name in ("split", "group") if rows[name].null_count < count}
    return pa.table(
        {
            "path": rows["path"],
            "label": pa.array(corrected, pa.string()),
            **given,
            "given": pa.array(labels, pa.string()),
            "probability": pa.array(probability, pa.float64(), mask=np.isnan(probability)),
            "suspected": pa.array(suspected),
        }
    ).take(pa.array(order))


# The page


def _thumbnails(audit: Audit, reporter: Reporter) -> Mapping[str, str]:
    if audit.root is None:
        return NONE
    shown = dict.fromkeys(KINDS, 0)
    rows = list[int]()
    for finding in audit.findings:
        shown[finding.kind] += 1
        if shown[finding.kind] <= SHOWN:
            rows += [finding.row] if finding.other is None else [finding.row, finding.other]
    images = audit.images
    return make_thumbnails(
        audit.root, rows_of(images.rows.table, list(dict.fromkeys(rows))), images.store.recipe, reporter
    )


def audit_page(audit: Audit, folder: Path, thumbnails: Mapping[str, str]) -> Page:
    """What the page shows.

    Args:
        audit: what was found.
        folder: where the tables are, for the commands on the page.
        thumbnails: data URIs by path.
    """
    flagged = len({finding.row for finding in audit.findings})
    numbers = [("images", f"{len(audit.images):,}"), ("with findings", f"{flagged:,}")]
    notes = [audit.counts.sentence, *summary_sentences(audit), *audit.notes]
    sections = [_section(audit, kind, folder, thumbnails) for kind in KINDS]
    return Page(
        title=str(audit.images.store.folder),
        subtitle="audit",
        numbers=numbers,
        notes=notes,
        sections=[section for section in sections if section.count],
    )


def _section(audit: Audit, kind: str, folder: Path, thumbnails: Mapping[str, str]) -> Section:
    found = [finding for finding in audit.findings if finding.kind == kind]
    paths, labels = audit.images.paths, audit.images.labels

    def picture(row: int) -> Picture:
        return Picture(paths[row], labels[row], thumbnails.get(paths[row]))

    cards = [
        Card([picture(row) for row in (finding.row, finding.other) if row is not None], [finding.reason])
        for finding in found[:SHOWN]
    ]
    text = f"{KINDS[kind].capitalize()}."
    again = fit_again(audit.options, str(audit.images.store.folder), kind, folder)
    return Section(kind, title_of(kind), text, cards, len(found), again)


def title_of(kind: str) -> str:
    """A kind as a heading."""
    return kind.replace("_", " ").capitalize()


def fit_again(options: AuditOptions, store: str, kind: str, folder: Path) -> str:
    """The command that fits a head without the images that have findings of a kind, or with the labels suggested.

    Args:
        options: of the audit: the head is fitted on the same features, labels and groups.
        store: as the user named it.
        kind: of findings.
        folder: the audit's.
    """
    file = next(name for name, kinds in FILES.items() if kind in kinds)
    if kind == LABEL_ERROR:
        way = ["--labels", os.fspath(folder / LABELS)]
    else:
        way = [*option_words("--labels", options.labels), "--exclude-from", os.fspath(folder / file)]
    out = f"heads/without_{Path(file).stem}"
    return suggested_line("fit", "head", "--features", store, *same_rows(options), *way, "--out", out)


def same_rows(options: AuditOptions) -> list[str]:
    """The options with which `fit head` takes the features and groups of an audit."""
    reduce = None if options.reduce == AuditOptions.reduce else options.reduce
    return [
        *option_words("--output", options.output),
        *option_words("--reduce", reduce),
        *option_words("--group-by", options.group_by),
    ]


def _format_accuracy(accuracy: Interval) -> str:
    return format_interval("accuracy", accuracy.to_dict())


def summary_sentences(audit: Audit) -> list[str]:
    """What was found about the data as a whole, a sentence each."""
    sentences = []
    if audit.leakage is not None:
        leakage = audit.leakage
        without = "unknown, for there are no others" if leakage.without is None else _format_accuracy(leakage.without)
        sentences.append(
            f"{leakage.leaked:,} of {leakage.images:,} {leakage.split} images have a copy in train: accuracy with them "
            f"{_format_accuracy(leakage.accuracy)}, without them {without}"
        )
    if audit.small_classes:
        named = ", ".join(f"{name} {count}" for name, count in list(audit.small_classes.items())[:10])
        more = ", …" if len(audit.small_classes) > 10 else ""
        sentences.append(f"classes too small to assess, and their different images: {named}{more}")
    for what, columns in (("0", audit.columns.dead), ("one value, the same", audit.columns.constant)):
        if len(columns):
            sentences.append(f"{len(columns):,} of {audit.columns.count:,} features are {what} for every image")
    return sentences
