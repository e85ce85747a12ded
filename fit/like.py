"""Fitting again what a head's folder describes."""

import os
from collections.abc import Mapping, Set
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

from extract.api import SILENT, Reporter
from fit.choices import CLASSIFICATION, REGRESSION, WHOLE
from fit.head_folder import read_experiment, read_info
from fit.heads.custom import unnamed_function
from fit.heads.parameters import Value
from fit.heads.table import is_custom
from fit.options import FitOptions
from store.errors import UsageError

_SERVES = {"threshold": "positive", "cv": "repeats"}
"""An option, and the one that says more about it: where the first changes, the head's second means nothing."""


def options_like(
    folder: str | os.PathLike[str], options: FitOptions, given: Set[str], reporter: Reporter = SILENT
) -> FitOptions:
    """The options of the head in a folder, but for those of `options` that were given by name, and all its parameters.

    Raises:
        UsageError: as `as_like` does.
        DamagedHead: likewise.
    """
    changes = {name: value for name, value in vars(options).items() if name in given}
    return as_like(Path(folder), {**changes, "parameters": options.parameters}, reporter)


def as_like(folder: Path, changes: Mapping[str, object], reporter: Reporter = SILENT) -> FitOptions:
    """The options of the head in a folder, with changes.

    Args:
        folder: the head's.
        changes: fields of FitOptions that are given beside it; `parameters` replace the head's own one by one.
        reporter: what an older folder does not say is reported.

    Raises:
        UsageError: it is not a head's folder, or the head was built by a user's function that is not named.
        DamagedHead: its files are not what was written.
    """
    info, record = read_info(folder), read_experiment(folder)
    if is_custom(info.head) and not changes.keys() & {"head", "custom_head"}:
        raise UsageError(f"--like {folder}: {unnamed_function(info.head)}")
    known: dict[str, object] = {
        "head": info.head,
        "output": tuple(dict.fromkeys(block.output.name for block in info.blocks)),
        "reduce": None if info.blocks[0].reduction == WHOLE else info.blocks[0].reduction,
        "class_weight": info.class_weight,
        "seed": info.seed,
        "task": REGRESSION if info.task.regression else CLASSIFICATION,
        "threshold": info.decision.rule or None,
        "positive": info.decision.positive or None,
        "abstain": info.decision.abstain or None,
    }
    if record is None:
        reporter.message(
            f"note: {folder} was written by 0.5.0, which does not say the labels, the fractions and the groups of a fit: "
            "give them as they were"
        )
    else:
        choices = record.choices
        known |= {field.name: getattr(choices, field.name) for field in fields(choices)}
    for name in changes:
        known.pop(_SERVES.get(name, ""), None)
    own: Mapping[str, Value] = info.parameters if changes.get("head", info.head) == info.head else {}
    given = cast(Mapping[str, Value], changes.get("parameters", {}))
    values: dict[str, Any] = {**known, **changes, "parameters": {**own, **given}}
    return FitOptions(**values)
