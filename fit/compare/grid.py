"""Several heads on several stores: each is fitted into a folder of its own, unless that has it already."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from extract.api import SILENT, Reporter
from fit.compare.options import ComparisonOptions
from fit.head_folder import Results, read_earlier, read_results
from fit.heads.build import find_kind
from fit.heads.custom import source_digest
from fit.heads.table import folder_name
from fit.options import FitOptions
from fit.request import FitRequest, resolve_fit
from fit.threshold_rule import COST, ThresholdRule
from fit.train import fit_with
from store.errors import UsageError
from store.files.digest import sha256_of
from store.files.disk import unreadable
from store.files.names import printable
from store.reader import FeatureStore, open_store

FITTED_AS = "fitted_as"
"""In metrics.json: a digest of what decided the fit, by which a later comparison knows that it is the one asked for."""


@dataclass(frozen=True)
class Cell:
    """A head to fit on an output of a store, and the name of its folder."""

    name: str
    store: FeatureStore
    options: FitOptions


@dataclass(frozen=True)
class FittedGrid:
    """The heads that were fitted, and why others were not: their names with the reasons."""

    heads: Sequence[Results]
    refused: Sequence[tuple[str, str]]


def fit_grid(asked: ComparisonOptions, options: FitOptions, folder: Path, reporter: Reporter = SILENT) -> FittedGrid:
    """Fit each head on each output of each store. Fits that the folder has already are kept.

    Args:
        asked: which heads and stores.
        options: of all fits.
        folder: for the heads, a folder each.
        reporter: shows progress.

    Raises:
        UsageError: options that do not go together; there is no such head; or fewer than two can be fitted: why another
            cannot.
        StoppedEarly: a store is not complete.
    """
    options.require_consistent()
    for kind in asked.kinds:
        find_kind(kind)  # a wrong name is refused before the first fit
    cells = list(grid_cells([open_store(place) for place in asked.stores], asked.kinds, options))
    if len(cells) < 2:
        raise UsageError("a comparison needs two heads or more: name several with --heads, or several stores")
    heads, refused = list[Results](), list[tuple[str, str]]()
    for number, cell in enumerate(cells, start=1):
        try:
            request = resolve_fit(cell.store, cell.options)
            found = _fitted_before(folder / cell.name, _digest(request))
            if found is None:
                reporter.message(f"head {number:,} of {len(cells):,}: {printable(cell.name)}")
                found = _fit(cell, folder / cell.name, _digest(request), reporter)
            heads.append(found)
        except UsageError as error:
            refused.append((cell.name, str(error)))
    if len(heads) < 2:
        fitted = "only one" if heads else "none"
        raise UsageError(f"{fitted} of the heads can be fitted: {printable(refused[0][0])}: {refused[0][1]}")
    return FittedGrid(heads, refused)


def grid_cells(stores: Sequence[FeatureStore], kinds: Sequence[str], options: FitOptions) -> Iterator[Cell]:
    """What there is to fit, each under a name of its own: the store's, its output's if it has several, the head's.

    Raises:
        UsageError: a store comes twice.
    """
    places = [store.folder.absolute for store in stores]
    if (twice := max(places, key=places.count)) and places.count(twice) > 1:
        raise UsageError(f"--features names the store {printable(twice)} twice: name each once")
    often = Counter(Path(place).name for place in places)
    for store, absolute in zip(stores, places, strict=True):
        name = Path(absolute).name
        place = name if often[name] == 1 else f"{name}-{hashlib.sha256(os.fsencode(absolute)).hexdigest()[:8]}"
        outputs = options.output or tuple(store.outputs)
        for output in outputs:
            part = f"{place}-{output}" if len(store.outputs) > 1 else place
            for kind in kinds:
                yield Cell(f"{part}-{folder_name(kind)}", store, replace(options, head=kind, output=(output,)))


def _fit(cell: Cell, folder: Path, digest: str, reporter: Reporter) -> Results:
    head = fit_with(cell.store, cell.options, reporter)
    head.metrics[FITTED_AS] = digest
    head.save(folder, force=True)
    return read_results(folder)


def _fitted_before(folder: Path, digest: str) -> Results | None:
    """The head in that folder, if it was fitted in this very way."""
    found = read_earlier(folder)
    return found if found is not None and found.metrics.get(FITTED_AS) == digest else None


def _digest(request: FitRequest) -> str:
    """SHA-256 of all that decides a fit: recipe, plan, options, the tables that they name, a custom head's code."""
    options, current = request.options, request.stores[0].snapshot.current
    values: dict[str, object] = {field.name: repr(getattr(options, field.name)) for field in fields(FitOptions)}
    rule = ThresholdRule.parse(options.threshold) if options.threshold is not None else None
    source = source_digest(options.head, options.custom_head)
    values |= {
        "fingerprint": request.fingerprint,
        "plan": current.plan if current else "",
        "parameters": repr(sorted(request.parameters.items())),
        "labels": _file_digest(options.labels),
        "exclude_from": _file_digest(options.exclude_from),
        **({"costs": _file_digest(rule.file)} if rule is not None and rule.name == COST else {}),
        **({"source": source} if source else {}),
    }
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _file_digest(path: str | os.PathLike[str] | None) -> str:
    if path is None:
        return ""
    try:
        return sha256_of(Path(path))
    except FileNotFoundError:
        return ""  # the fit says so
    except OSError as error:
        raise unreadable(error, path) from error
