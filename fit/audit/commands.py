"""The command of `fit` to look for what is wrong with a store's images: parse, call, print."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fit.app import app
from fit.audit.options import AuditOptions
from store.command_line import Console, command
from store.options import Argument, Option
from store.tables import columns, paragraph


@dataclass(frozen=True)
class AuditPlace:
    """Options of `fit audit`: its store and its output."""

    store: Annotated[str, Argument("STORE", "The store whose images are looked at.")]
    out: Annotated[Path, Option("A folder for the page and the tables.", ("--out", "-o"))] = Path("audit")
    force: Annotated[bool, Option("Replace an audit that is there.")] = False


@command(app, "audit", AuditPlace, AuditOptions)
def audit(place: AuditPlace, options: AuditOptions, console: Console) -> None:
    """Look for copies, leaks between splits, wrong labels, outliers and odd images, before or after fitting."""
    from fit.audit.run import audit_store
    from fit.audit.text import format_findings, next_steps, where
    from fit.audit.write import LABELS, PAGE, finding_rows, require_audit_place, summary_sentences, write_audit
    from store.reader import open_store

    require_audit_place(place.out, place.force)
    found = audit_store(open_store(place.store), options, console.reporter)
    write_audit(found, place.out, place.force, console.reporter)
    console.result(
        {
            "audit": str(place.out),
            "page": str(place.out / PAGE),
            "labels": None if found.assessment is None else str(place.out / LABELS),
            **found.to_dict(),
            "findings": finding_rows(found),
        }
    )
    sentences = [found.counts.sentence, *summary_sentences(found), *found.notes]
    console.output(*columns(format_findings(found)))
    console.summary("", *(line for text in sentences for line in paragraph(text)))
    console.summary("", *paragraph(where(found, place.out)))
    console.summary(*(f"    {step}" for step in next_steps(found, place.store, place.out)))
