"""What of an audit a head's folder already knows: labels in doubt, copies on two sides of a split, small classes."""

import numpy as np

from fit.audit.assessment import LEAST_IMAGES
from fit.audit.labels import doubt_labels
from fit.choices import IGNORE
from fit.command_words import noted_stores
from fit.evaluated import Evaluated, evaluated_rows
from fit.experiment_record import LEFT_OUT, ExperimentRecord
from fit.head_folder import Results, read_experiment
from fit.page.content import AuditSection, LabelDoubt
from fit.page.images import PageImages
from fit.page.sources import EVALUATIONS
from fit.predictions import CV
from fit.splits import TRAIN, Positions
from fit.twins import MOST_IMAGES
from store.files.names import printable
from store.suggestions import suggested_line

SHOWN_DOUBTS = 12


def audit_section(results: Results, images: PageImages) -> AuditSection:
    """The section of a head: from its predictions and experiment.json alone, without features and pixels."""
    info, record = results.info, read_experiment(results.folder)
    counts = zip(info.classes, images.actual.sum(axis=0).tolist(), strict=True)
    doubts, doubted = ([], "") if info.multi_label else _doubts(results, images)
    return AuditSection(
        doubts=doubts,
        doubted=doubted,
        small=[(printable(name), count) for name, count in counts if count < LEAST_IMAGES],
        sentences=[] if record is None else _copies(record),
        command=printable(suggested_line("fit", "audit", noted_stores(info)[0])),
    )


def _doubts(results: Results, images: PageImages) -> tuple[list[LabelDoubt], str]:
    name = CV if results.metrics.get(CV) else results.metrics["confusion_of"]
    if name == TRAIN:
        return [], ""
    evaluated = evaluated_rows(results, name)
    rows, classes = _assessed(evaluated)
    if len(classes) < 2:
        return [], ""
    labels = np.searchsorted(classes, evaluated.targets[rows])
    found = doubt_labels(labels, evaluated.probabilities[np.ix_(rows, classes)])
    position_of = {path: at for at, path in enumerate(images.paths)}
    names = [printable(results.info.classes[at]) for at in classes.tolist()]
    suspected = [at for at in found.ranking.tolist() if found.suspected[at]]
    doubts = [
        LabelDoubt(
            position_of[evaluated.paths[rows[at]]],
            printable(evaluated.paths[rows[at]]),
            names[labels[at]],
            names[found.suggested[at]],
            f"probability of the label {found.own[at]:.3f}",
        )
        for at in suspected[:SHOWN_DOUBTS]
    ]
    return doubts, f"{len(suspected):,} of {len(rows):,} {EVALUATIONS[name]}"


def _assessed(evaluated: Evaluated) -> tuple[Positions, Positions]:
    """The rows of classes that are large enough, and these classes, ascending."""
    counts = np.bincount(evaluated.targets, minlength=len(evaluated.task.classes))
    classes = np.flatnonzero(counts >= LEAST_IMAGES)
    return np.flatnonzero(np.isin(evaluated.targets, classes)), classes


def _copies(record: ExperimentRecord) -> list[str]:
    """What is known of copies of evaluated images among those that the head learned from."""
    roles = record.images.first_fit
    left_out, chosen = roles.count(LEFT_OUT), record.choices.near_twins
    sentences = [
        "Images of the same bytes are on one side of the split: no copy of an evaluated image was learned from."
    ]
    if left_out:
        sentences.append(
            f"Images left out, because an identical one or one of their group is on another side: {left_out:,}."
        )
    if chosen == IGNORE or len(roles) > MOST_IMAGES:
        why = "as --near-twins ignore asked" if chosen == IGNORE else f"among more than {MOST_IMAGES:,} images"
        sentences.append(f"Near twins were not looked for, {why}: the audit finds them, and the score without them.")
    else:
        sentences.append("Near twins, by their features, are on one side too.")
    return sentences
