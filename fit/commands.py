"""The commands of `fit`: parse, call, print."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import fit.audit.commands
import fit.compare.commands
import fit.curve.commands
import fit.lookup.commands
import fit.page.commands  # noqa: F401  (its commands join the app)
from fit.app import (
    AbstainOption,
    HeadPlace,
    LoadOptions,
    ParameterOptions,
    RecipeStores,
    StorePlaces,
    TableOptions,
    WeightsOption,
    app,
    print_metrics,
)
from fit.common_options import LikeFolder
from fit.evaluation_options import EvaluationOptions
from fit.heads.table import HEADS, HeadKind, folder_name
from fit.options import FitOptions
from fit.search.options import SweepOptions
from store.command_line import Console, command, format_count
from store.command_options import Without
from store.errors import UsageError
from store.options import Argument, Option
from store.suggestions import suggest
from store.tables import columns, facts, paragraph

if TYPE_CHECKING:
    from fit.search.summary import Sweep

__all__ = ["app"]

# Fitting


@dataclass(frozen=True)
class HeadOutput:
    """Options about the folder of a head."""

    out: Annotated[Path | None, Option("The head's folder.", ("--out", "-o"), default="heads/<head>")] = None
    force: Annotated[bool, Option("Replace a head that is there.")] = False
    like: LikeFolder = None
    no_report: Annotated[bool, Option("Write no report.html.")] = False


@command(app, "head", StorePlaces, FitOptions, ParameterOptions, HeadOutput, TableOptions)
def head(
    store: StorePlaces,
    options: FitOptions,
    parameters: ParameterOptions,
    output: HeadOutput,
    table: TableOptions,
    console: Console,
) -> None:
    """Fit a head on a store's features and say how good it is on validation; on the test images only if asked to."""
    from fit.head_folder import require_place
    from fit.like import options_like
    from fit.next_steps import next_steps, test_notes
    from fit.page.write import write_page_beside
    from fit.train import fit_with

    asked = replace(options, parameters=parameters.given())
    if output.like is not None:
        asked = options_like(output.like, asked, console.given, console.reporter)
    folder = output.out or Path("heads") / folder_name(asked.head)
    require_place(folder, output.force)
    features = store.open()
    fitted = fit_with(features, asked, console.reporter)
    fitted.save(folder, output.force)
    page = None if output.no_report else write_page_beside(folder, features, console.reporter)
    console.result({"head": str(folder), "page": None if page is None else str(page.page), **fitted.metrics})
    print_metrics(fitted.metrics, table, console)
    console.summary(
        "",
        f"fitted in {fitted.metrics['seconds']:.1f} s; the head is in {folder}: metrics.json, predictions.parquet",
        *test_notes(fitted, folder),
        *([] if page is None else [f"to look at it, open {page.page} in a browser"]),
        "next:",
        *(f"    {step}" for step in next_steps(fitted, folder, store.features)),
    )


@dataclass(frozen=True, kw_only=True)
class SweepOutput(TableOptions):
    """Options about the output of a sweep."""

    out: Annotated[Path, Option("The sweep's folder; the chosen head is in its folder best.", ("--out", "-o"))]


@command(
    app,
    "sweep",
    StorePlaces,
    SweepOutput,
    SweepOptions,
    Without(FitOptions, ("cv", "repeats", "tensorboard", "by", "threshold", "positive", "abstain")),
    ParameterOptions,
)
def sweep(
    store: StorePlaces,
    output: SweepOutput,
    options: SweepOptions,
    fit_options: FitOptions,
    parameters: ParameterOptions,
    console: Console,
) -> None:
    """Fit a head with many settings, choose on validation, and fit the chosen one as `fit head` does."""
    from fit.command_words import evaluate_test_words
    from fit.page.write import write_page_beside
    from fit.search.sweep import sweep_head
    from fit.text import format_metrics, format_refusals, format_sweep

    base = replace(fit_options, parameters=parameters.given())
    features = store.open()
    found = sweep_head(features, base, options, output.out, console.reporter)
    write_page_beside(found.best, features, console.reporter)
    console.result({"sweep": str(output.out), **found.to_dict()})
    test = _tested(found, evaluate_test_words(found.best, base.head, store.features, base))
    console.output(*columns(format_sweep(found)))
    console.summary(
        *facts(format_refusals(found)),
        "",
        *columns(format_metrics(found.metrics, output.everything)),
        "",
        *paragraph(
            f"chosen from {format_count(len(found.trials), 'trial')} by validation {found.metric.replace('_', ' ')}, "
            f"so its validation scores are optimistic; {test}"
        ),
        f"the head is in {found.best}; all trials are in {output.out / 'sweep.csv'}, {output.out / 'sweep.png'}",
    )


def _tested(found: "Sweep", words: list[str]) -> str:
    """Whether the chosen head was evaluated on the test images, or how that is done."""
    if found.metrics["test"] is not None:
        return "it was evaluated on the test images once"
    return f"{suggest(*words)} evaluates it on the test images"


@command(app, "heads")
def heads(console: Console) -> None:
    """List the heads and their parameters, for --set."""
    console.result({"heads": [kind.to_dict() for kind in HEADS.values()]})
    for kind in HEADS.values():
        console.output(*_format_kind(kind))


def _format_kind(kind: HeadKind) -> list[str]:
    rows = [[f"    {known.name}={known.default}", known.help] for known in kind.parameters]
    return [*paragraph(f"{kind.name}: {kind.summary} ({kind.library})"), *facts(rows)]


# Using a head


@dataclass(frozen=True)
class EvaluateOptions(AbstainOption, EvaluationOptions):
    """Options of `fit evaluate`: which images, and what the head decides."""


@command(app, "evaluate", HeadPlace, RecipeStores, EvaluateOptions, LoadOptions, TableOptions)
def evaluate(
    place: HeadPlace,
    store: RecipeStores,
    options: EvaluateOptions,
    load: LoadOptions,
    table: TableOptions,
    console: Console,
) -> None:
    """Say how good a head is on images that it has not seen: its test images, or those of another store."""
    from fit.evaluation import evaluate_head
    from fit.head import load_head

    loaded = load_head(place.folder, load.custom)
    loaded.abstain_below(options.abstain)
    metrics = evaluate_head(loaded, store.open(), options, console.reporter)
    console.result(metrics)
    print_metrics(metrics, table, console, asked=True)


@dataclass(frozen=True)
class PredictionOptions:
    """Options of `fit predict`: its images and its output."""

    images: Annotated[tuple[str, ...], Argument("IMAGES…", "Image files, folders, tables, or glob patterns.")] = ()
    features: Annotated[
        tuple[str, ...],
        Option("A store of the same recipe, instead of images; one for each recipe of the head.", ("--features", "-f")),
    ] = ()
    out: Annotated[Path | None, Option("A .csv or .parquet file.", ("--out", "-o"))] = None
    force: Annotated[bool, Option("Replace an existing file.")] = False
    top: Annotated[int, Option("How many classes to show for each image.")] = 1
    max_bad: Annotated[float, Option("The fraction of images that may fail before the exit code is 3.")] = 0.05

    def __post_init__(self) -> None:
        if bool(self.images) == bool(self.features):
            raise UsageError("name either images or --features STORE to predict")
        if self.top < 1:
            raise UsageError(f"--top is {self.top}: expected 1 or more")


@command(app, "predict", HeadPlace, PredictionOptions, AbstainOption, WeightsOption, LoadOptions)
def predict(
    place: HeadPlace,
    options: PredictionOptions,
    decision: AbstainOption,
    weights: WeightsOption,
    load: LoadOptions,
    console: Console,
) -> None:
    """Predict the classes of images, through the head's own recipe."""
    from extract.api import take_images
    from fit.head import load_head
    from fit.prediction import predict_store
    from fit.predictions import count_abstentions, count_failures, require_few_errors, require_table_place, write_table
    from fit.text import format_predictions
    from store.reader import open_store

    if options.out is not None:
        require_table_place(options.out, options.force)
    features = [open_store(store) for store in options.features]
    images = None if options.features else take_images(options.images)
    loaded = load_head(place.folder, load.custom)
    loaded.abstain_below(decision.abstain)
    if "top" in console.given and loaded.info.task.regression:
        raise UsageError("--top is how many classes to show, and this head predicts a number: leave it out")
    if images is None:
        table = predict_store(loaded, features, console.reporter)
    else:
        table = loaded.predict_given(images, weights.weights, console.reporter)
    console.result({"predictions": table.to_pylist()})
    if options.out is not None:
        write_table(table, options.out)
        failed = count_failures(table)
        without = f", {format_count(failed, 'image')} without: the column error says why" if failed else ""
        console.report(f"{format_count(len(table) - failed, 'prediction')} in {options.out}{without}")
    else:
        console.listing(format_predictions(table, loaded.info.task, options.top))
    if abstained := count_abstentions(table):
        below = f"{loaded.info.decision.abstain:g}"
        console.report(
            f"no answer for {abstained:,} of {format_count(len(table), 'image')}: the class has a probability below {below}"
        )
    require_few_errors(table, options.max_bad, "each one's line" if options.out is None else "the column error")


@dataclass(frozen=True)
class ExportOptions:
    """Options of `fit export`."""

    to: Annotated[str, Option("keras, saved_model, onnx, litert or openvino.")]
    out: Annotated[Path, Option("The file, or the folder of a saved_model.", ("--out", "-o"))]
    force: Annotated[bool, Option("Replace existing files.")] = False


@command(app, "export", HeadPlace, ExportOptions, WeightsOption, LoadOptions)
def export(
    place: HeadPlace, options: ExportOptions, weights: WeightsOption, load: LoadOptions, console: Console
) -> None:
    """Write one model from pixels to probabilities, and check it against `fit predict`."""
    from extract.api import start_keras
    from fit.head import load_head

    start_keras(console.debug)
    from fit.export.export import export_head

    loaded = load_head(place.folder, load.custom)
    with console.reporter.step(f"exporting to {options.to}", None):
        difference = export_head(
            loaded, options.out, options.to, weights.weights, force=options.force, debug=console.debug
        )
    console.result({"file": str(options.out), "largest_difference": difference})
    console.report(
        f"wrote {options.out}; on 20 images it is within {difference:.1e} of `fit predict`; recipe and classes are "
        "beside it"
    )
