"""Fitting again what a head's folder describes."""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any

from extract.api import SILENT, Reporter
from fit.choices import CLASSIFICATION, REGRESSION, WHOLE
from fit.head_folder import read_experiment, read_info
from fit.options import FitOptions
from store.errors import UsageError


def as_like(folder: Path, asked: FitOptions, reporter: Reporter = SILENT) -> FitOptions:
    """The options of the head in a folder; those that were asked for and are not the defaults win.

    Args:
        folder: the head's.
        asked: what is given beside it; its `parameters` replace the head's own one by one.
        reporter: what an older folder does not say is reported.

    Raises:
        UsageError: it is not a head's folder, or the head was built by a user's function that is not named.
        DamagedHead: its files are not what was written.
    """
    info, record = read_info(folder), read_experiment(folder)
    if ":" in info.head and asked.head != info.head:
        raise UsageError(
            f"--like {folder}: the head was built by your own function {info.head}: name it with --head {info.head}, "
            "because a head's folder alone never names code to run"
        )
    known: dict[str, object] = {
        "head": info.head,
        "output": tuple(dict.fromkeys(block.output.name for block in info.blocks)),
        "reduce": None if info.blocks[0].reduction == WHOLE else info.blocks[0].reduction,
        "class_weight": info.class_weight,
        "seed": info.seed,
        "task": REGRESSION if info.task.regression else CLASSIFICATION,
        "threshold": info.decision.rule or None,
        "positive": (info.decision.positive or None) if asked.threshold is None else None,
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
    given = {field.name: getattr(asked, field.name) for field in fields(FitOptions) if _is_given(field, asked)}
    own: Mapping[str, Any] = info.parameters if given.get("head", info.head) == info.head else {}
    values: dict[str, Any] = {**known, **given, "parameters": {**own, **asked.parameters}}
    return replace(asked, **values)


def _is_given(field: "Field[object]", asked: FitOptions) -> bool:
    """Whether an option is another than its default."""
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return bool(getattr(asked, field.name) != default)
