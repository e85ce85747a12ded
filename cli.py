"""The command line: three Typer apps that parse, call and print. No logic lives here.

Results go to standard output, everything for people to standard error. A Stillframe error is one line and
its own exit code (see store/errors.py); a traceback appears only with --debug.
"""

import contextlib
import importlib.metadata
import json
import os
import signal
import sys
import traceback
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from extract.backbones.table import BACKBONES, DEFAULT_BACKBONE, PREPROCESSING, Backbone, get_backbone
from extract.signals import end_in_time_after_signals, stop_after
from fit.heads.table import DEFAULT_HEAD, HEADS
from store.errors import DamagedStore, EnvironmentFailure, StillframeError, StoppedEarly, UsageError
from store.files.names import printable

_SETTINGS: dict[str, Any] = {"add_completion": False, "rich_markup_mode": None}
extract_app = typer.Typer(help="Run a frozen network over images and keep what it saw in a store.", **_SETTINGS)
fit_app = typer.Typer(help="Fit small heads on the features of a store, and use them on images.", **_SETTINGS)
store_app = typer.Typer(help="Look into a store, check it, mend it, export it.", **_SETTINGS)

_TYPER_INTERRUPTED = 130  # what Typer makes of a KeyboardInterrupt

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors and results.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks and the libraries' own messages.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]
StorePath = Annotated[
    str, typer.Argument(metavar="STORE", help="The store's folder, or its URL (s3://, gs://, az://).")
]


# Running an app


def extract_main() -> None:
    """Entry point of `extract`."""
    end_in_time_after_signals()
    _leave(run_app(extract_app, "extract"))


def fit_main() -> None:
    """Entry point of `fit`."""
    end_in_time_after_signals()
    _leave(run_app(fit_app, "fit"))


def store_main() -> None:
    """Entry point of `store`."""
    end_in_time_after_signals()
    _leave(run_app(store_app, "store"))


def run_app(app: typer.Typer, name: str) -> int:
    """Run an app on the process's arguments; returns its exit code."""
    debug = "--debug" in sys.argv
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a scheduler's wish to stop is a user's Ctrl-C
    try:
        code = int(app(sys.argv[1:] or ["--help"], prog_name=name, standalone_mode=False) or 0)
        if code != _TYPER_INTERRUPTED:
            return code
        raise KeyboardInterrupt
    except typer.TyperException as error:
        given = [argument for argument in sys.argv[1:2] if argument in _command_names(app)]
        command = " ".join([name, *given])
        _say(f"error: {printable(error.format_message()).rstrip('.')}; `{command} --help` shows what is possible")
        return UsageError.exit_code
    except (typer.Abort, KeyboardInterrupt):
        _say("stopped early: run the same command again to go on")
        return StoppedEarly.exit_code
    except (BrokenPipeError, SystemExit):  # Typer makes the second of the first
        return 0  # the reader of our output has seen enough
    except StillframeError as error:
        if debug:
            traceback.print_exc()
        _say(f"error: {printable(str(error))}")
        return error.exit_code
    except Exception as error:  # noqa: BLE001  the last stop
        if debug:
            traceback.print_exc()
        if isinstance(error, OSError):
            _say(f"error: {printable(str(error))}; mend that, then run the same command again")
            return EnvironmentFailure.exit_code
        _say(f"bug: {type(error).__name__}: {printable(str(error))}; please report it with the output of --debug")
        return 1


def _leave(code: int) -> NoReturn:
    """End the process at once.

    An interpreter that takes the numerical libraries down while their threads still run aborts now and then (once
    in some seventy runs on two cores), and would turn a finished run into a failed one.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _command_names(app: typer.Typer) -> list[str]:
    return [command.name or "" for command in app.registered_commands]


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _print_json(values: Mapping[str, Any]) -> None:
    print(json.dumps(values, ensure_ascii=True))


def _print_version(asked: bool) -> None:
    if asked:
        print(f"stillframe {importlib.metadata.version('stillframe')}")
        raise typer.Exit


Version = Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")]


@extract_app.callback()
def _extract(version: Version = False) -> None:
    """Run a frozen network over images and keep what it saw in a store."""


@fit_app.callback()
def _fit(version: Version = False) -> None:
    """Fit small heads on the features of a store, and use them on images."""


@store_app.callback()
def _store(version: Version = False) -> None:
    """Look into a store, check it, mend it, export it."""


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "bytes" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _print_columns(rows: list[list[str]]) -> None:
    """A plain table whose cells are never cut, however narrow the terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


# extract


def _automatic(value: str | None, name: str) -> int | None:
    if value is None or value == "auto":
        return None
    if not value.isdecimal():
        raise typer.BadParameter(f"{value!r} is neither a whole number nor auto", param_hint=f"--{name}")
    return int(value)


@extract_app.command("run")
def extract_run(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder of images, or a .csv or .parquet table with a column path; or its URL (s3://, gs://, az://).",
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="The store's folder, or its URL (s3://, gs://, az://).")
    ] = "store",
    backbone: Annotated[str, typer.Option(help="The network; `extract backbones` lists them.")] = DEFAULT_BACKBONE,
    weights: Annotated[
        str, typer.Option(help="imagenet, random[:SEED], or a .weights.h5, .h5 or .keras file.")
    ] = "imagenet",
    layer: Annotated[
        list[str] | None,
        typer.Option(
            help="Where to cut; repeat it for several outputs.  [default: the last feature map]", show_default=False
        ),
    ] = None,
    pooling: Annotated[str, typer.Option(help="none, avg or max: reduce each spatial output to a vector.")] = "none",
    image_size: Annotated[
        str | None, typer.Option(help="N or HxW in pixels.  [default: the backbone's]", show_default=False)
    ] = None,
    resize: Annotated[str, typer.Option(help="bilinear, nearest, bicubic, lanczos or area.")] = "bilinear",
    crop: Annotated[
        str, typer.Option(help="stretch, center or pad: how an image meets the network's shape.")
    ] = "stretch",
    background: Annotated[str, typer.Option(help="The colour under transparency and around padding.")] = "white",
    include: Annotated[
        list[str] | None,
        typer.Option(help="Only paths or names that match this pattern; repeatable.", show_default=False),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(help="No paths or names that match this pattern; repeatable.", show_default=False),
    ] = None,
    format: Annotated[str, typer.Option(help="auto, hdf5 or parquet: the shards' format.")] = "auto",  # noqa: A002
    dtype: Annotated[str, typer.Option(help="auto, float16 or float32: the stored type.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="float32, bfloat16 or float16: computed in, where the machine can.")
    ] = "float32",
    runtime: Annotated[str, typer.Option(help="auto, keras or openvino: what computes.")] = "auto",
    fast_decode: Annotated[
        bool, typer.Option("--fast-decode", help="Decode large JPEG files at a fraction of their size.")
    ] = False,
    augment: Annotated[int, typer.Option(help="Altered views to store of each image beside the unaltered one.")] = 0,
    rotation: Annotated[float, typer.Option(help="Of altered views: degrees at most, either way.")] = 40.0,
    shift: Annotated[float, typer.Option(help="Of altered views: a fraction of height and width.")] = 0.2,
    shear: Annotated[float, typer.Option(help="Of altered views: a fraction of the height.")] = 0.2,
    zoom: Annotated[float, typer.Option(help="Of altered views: a fraction, in or out.")] = 0.2,
    brightness: Annotated[float, typer.Option(help="Of altered views: a fraction, darker or lighter.")] = 0.0,
    flip: Annotated[str, typer.Option(help="Of altered views: none, horizontal, vertical or both.")] = "horizontal",
    seed: Annotated[int, typer.Option(help="Of altered views; the same seed gives the same views.")] = 0,
    batch_size: Annotated[str, typer.Option(help="Images a call of the network, or auto.")] = "auto",
    workers: Annotated[str, typer.Option(help="Decoding threads, or auto.")] = "auto",
    shard_rows: Annotated[str, typer.Option(help="Images a shard, or auto.")] = "auto",
    max_bad: Annotated[
        float, typer.Option(help="The fraction of images that may fail before the exit code is 3.")
    ] = 0.05,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try the failed images again.")] = False,
    max_pixels: Annotated[int, typer.Option(help="Larger images are failures, by their header alone.")] = 100_000_000,
    prune: Annotated[
        bool, typer.Option("--prune", help="Accept that more than half of the stored images are gone.")
    ] = False,
    limit: Annotated[
        int | None, typer.Option(help="Only the first N images; what is stored stays.", show_default=False)
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say what would be done and how long it would take, by computing a few batches; write nothing.",
        ),
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(help="I/N: every N-th shard from the I-th, counted from 0; for job arrays.", show_default=False),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="A Dask cluster: tcp://HOST:PORT, file:PATH, or local:N processes.", show_default=False),
    ] = None,
    max_runtime: Annotated[
        str | None,
        typer.Option(help="Stop after 90s, 30m, 8h or 7:30:00 with exit code 75.", show_default=False),
    ] = None,
    status_file: Annotated[
        Path | None,
        typer.Option(help="A JSON file that says how the run stands, for monitors.", show_default=False),
    ] = None,
    single_writer: Annotated[
        bool,
        typer.Option(
            "--single-writer", help="Nobody else writes to the store: for object stores that cannot keep two apart."
        ),
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Extract features of all images of DATA, or bring a store up to date."""
    from extract.progress import progress_for
    from extract.request import RunOptions, parse_duration, parse_image_size, parse_part
    from extract.run import Reporter, run
    from extract.summary import DryRun, require_few_failures

    options = RunOptions(
        data=data,
        out=out,
        backbone=backbone,
        weights=weights,
        layers=tuple(layer or ()),
        pooling=pooling,
        image_size=parse_image_size(image_size) if image_size else None,
        resize=resize,
        crop=crop,
        background=background,
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        format=format,
        dtype=dtype,
        precision=precision,
        runtime=runtime,
        fast_decode=fast_decode,
        augment=augment,
        rotation=rotation,
        shift=shift,
        shear=shear,
        zoom=zoom,
        brightness=brightness,
        flip=flip,
        seed=seed,
        batch_size=_automatic(batch_size, "batch-size"),
        workers=_automatic(workers, "workers"),
        shard_rows=_automatic(shard_rows, "shard-rows"),
        max_bad=max_bad,
        retry_failed=retry_failed,
        max_pixels=max_pixels,
        prune=prune,
        limit=limit,
        dry_run=dry_run,
        part=parse_part(part) if part else None,
        scheduler=scheduler,
        status_file=status_file,
        single_writer=single_writer,
    )
    telling = Reporter(lambda total: progress_for(total, quiet), lambda text: None if quiet else _say(text), debug)
    with stop_after(parse_duration(max_runtime) if max_runtime else None):
        result = run(options, telling)
    if as_json:
        _print_json(result.to_dict())
    elif not quiet:
        _say(_told_dry_run(result) if isinstance(result, DryRun) else _told_run(result))
    if not isinstance(result, DryRun):
        require_few_failures(result, max_bad)


def _told_run(result: Any) -> str:
    changes = result.changes
    moved = [
        f"{count:,} {what}"
        for what, count in (("new", changes.new), ("changed", changes.changed), ("gone", changes.gone))
        if count
    ]
    lines = [
        f"{_counted(result.images, 'image')} in, {_counted(result.rows, 'row')}, {result.failures:,} failures in {result.store}"
    ]
    if moved:
        lines[0] += f" ({', '.join(moved)})"
    if result.pending:
        lines.append(
            f"{_counted(result.pending, 'image')} left for other parts; `store verify {result.store}` says when all are there"
        )
    if result.failures:
        codes = ", ".join(f"{count:,} {code}" for code, count in sorted(result.failures_by_code.items()))
        lines.append(f"failures: {codes}; `store failures {result.store}` lists them")
    if result.others:
        lines.append(f"{_counted(result.others, 'other file')} in the folder left out")
    if result.computed:
        waited = ", ".join(f"{name} {seconds:.1f}" for name, seconds in result.phases.items())
        lines.append(
            f"computed {result.computed:,} in {result.seconds:.1f} s, {result.images_per_second:.1f} images/s; seconds waited for: {waited}"
        )
        lines.append(result.verdict)
    else:
        lines.append("nothing to compute")
    return "\n".join(lines)


def _told_dry_run(plan: Any) -> str:
    columns = ", ".join(f"{output.name} {_shape(output.shape)} {output.dtype}" for output in plan.outputs)
    lines = [
        f"{plan.images:,} images, {plan.to_compute:,} to compute in {_counted(plan.shards, 'shard')}; nothing was written",
        f"each row: {columns} in {plan.shard_format}; {_size(plan.feature_bytes)} before compression",
    ]
    trial = plan.trial
    if trial.images:
        lines += [
            f"computed {_counted(trial.images, 'image')} to see: {trial.images_per_second:.1f} images/s, "
            f"{_duration(trial.seconds)} for all",
            f"about {_size(trial.disk_bytes)} on disk and {_size(trial.peak_memory_bytes)} of memory at its peak",
            trial.verdict,
        ]
    return "\n".join(lines)


@extract_app.command("backbones")
def extract_backbones(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the networks: input size, parameters, output shape, preprocessing, whether weights are on this machine."""
    from extract.backbones.weights import weights_on_disk

    here = {backbone.name: weights_on_disk(backbone) for backbone in BACKBONES.values()}
    if as_json:
        _print_json(
            {
                "backbones": [
                    {**asdict(backbone), "weights": str(here[backbone.name] or "")} for backbone in BACKBONES.values()
                ]
            }
        )
        return
    rows = [["name", "input", "parameters", "output", "weights here", "preprocessing"]]
    rows += [
        [
            backbone.name,
            _shape(backbone.size),
            f"{backbone.parameters:,}",
            _shape(backbone.shape),
            _weights_told(backbone, here[backbone.name]),
            PREPROCESSING[backbone.preprocessing],
        ]
        for backbone in BACKBONES.values()
    ]
    _print_columns(rows)


def _weights_told(backbone: Backbone, here: Path | None) -> str:
    if backbone.weights_from == "nowhere":
        return "none needed"
    if backbone.weights_from == "file":
        return "give a file"
    return "yes" if here else "no"


@extract_app.command("layers")
def extract_layers(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE")],
    image_size: Annotated[
        str | None, typer.Option(help="N or HxW in pixels.  [default: the backbone's]", show_default=False)
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List every layer that a network can be cut at, with its output shape."""
    from extract.request import parse_image_size
    from extract.runtimes import start_keras

    chosen = get_backbone(backbone)
    size = parse_image_size(image_size) if image_size else chosen.size
    start_keras(debug)
    from extract.backbones.build import build, cut_points

    points = list(cut_points(build(chosen, size)))
    if as_json:
        _print_json({"backbone": backbone, "layers": [{"name": name, "shape": list(shape)} for name, shape in points]})
        return
    _print_columns([[name, _shape(shape)] for name, shape in points])


@extract_app.command("fetch")
def extract_fetch(
    backbone: Annotated[str, typer.Argument(metavar="BACKBONE")], quiet: Quiet = False, debug: Debug = False
) -> None:
    """Get a network's ImageNet weights ahead, for machines without a network, and check that they fit."""
    from extract.backbones.weights import Weights, weights_on_disk
    from extract.runtimes import start_keras

    chosen = get_backbone(backbone)
    if chosen.weights_from == "nowhere":
        if not quiet:
            _say(f"{backbone} has no weights: there is nothing to get")
        return
    start_keras(debug)
    from extract.backbones.load import load_network

    _, digest = load_network(chosen, Weights("imagenet"), chosen.size)
    print(weights_on_disk(chosen))
    if not quiet:
        _say(f"{backbone}: ImageNet weights are here and fit, SHA-256 of the arrays {digest[:12]}…")


@extract_app.command("classify")
def extract_classify(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGES…", help="Image files, folders, tables, or glob patterns.")
    ],
    backbone: Annotated[str, typer.Option(help="The network; `extract backbones` lists them.")] = DEFAULT_BACKBONE,
    weights: Annotated[
        str, typer.Option(help="imagenet, random[:SEED], or a weights file with the network's classifier.")
    ] = "imagenet",
    top: Annotated[int, typer.Option(help="How many classes to show of each image.")] = 5,
    runtime: Annotated[str, typer.Option(help="auto, keras or openvino: what computes.")] = "auto",
    max_bad: Annotated[
        float, typer.Option(help="The fraction of images that may fail before the exit code is 3.")
    ] = 0.05,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say which of ImageNet's 1,000 classes a network sees in images."""
    from extract.classify import classify, require_few_errors
    from extract.progress import progress_for

    classified = classify(
        images,
        backbone,
        weights,
        top,
        runtime,
        lambda total: progress_for(total, quiet),
        lambda text: None if quiet else _say(text),
        debug,
    )
    if as_json:
        _print_json({"backbone": backbone, "images": [asdict(image) for image in classified]})
    else:
        _print_columns([[printable(image.path), _told_classes(image)] for image in classified])
    require_few_errors(classified, max_bad)


def _told_classes(image: Any) -> str:
    if image.error is not None:
        return f"error: {printable(image.error)}"
    return "  ".join(f"{guess.name} {guess.probability:.3f}" for guess in image.classes)


@extract_app.command("sample")
def extract_sample(
    name: Annotated[str, typer.Argument(metavar="NAME", help="digits or photos.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR")],
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write sample images: scikit-learn's handwritten digits, a folder a class, or its two photographs."""
    from extract.samples import write_samples

    count = write_samples(name, folder)
    if not quiet:
        _say(f"{count:,} images in {folder}")


# fit

HeadPath = Annotated[Path, typer.Argument(metavar="HEAD", help="The folder that `fit head` wrote.")]
OwnHead = Annotated[
    str | None,
    typer.Option("--head", help="module:function, for a head that your own function built.", show_default=False),
]
LabelsFile = Annotated[
    str | None,
    typer.Option(help="A .csv or .parquet table of path,label[,split,group]: other labels.", show_default=False),
]
WeightsFile = Annotated[
    str | None,
    typer.Option(help="Where the backbone's weights are, if no longer where they were.", show_default=False),
]


StoreOption = Annotated[str, typer.Option("--features", "-f", help="The store.")]
HeadName = Annotated[
    str, typer.Option(help="What to fit; `fit heads` lists them. module:function for one of your own.")
]
OutputName = Annotated[str | None, typer.Option(help="Which output, where the store has several.", show_default=False)]
Reduction = Annotated[
    str | None,
    typer.Option(help="avg, max or flatten: how spatial tensors become vectors.  [default: avg]", show_default=False),
]
Validation = Annotated[float, typer.Option(help="The fraction for validation, where the store has none.")]
Test = Annotated[float, typer.Option(help="The fraction for the test, where the store has no splits.")]
GroupBy = Annotated[
    str | None, typer.Option(help="A column, such as group, whose equals stay on one side.", show_default=False)
]
ClassWeight = Annotated[str, typer.Option(help="balanced or none.")]
Epochs = Annotated[
    int | None, typer.Option(help="Passes at most: sgd, mlp, heads that Keras fits.", show_default=False)
]
BatchSize = Annotated[int | None, typer.Option(help="Images a step: sgd, heads that Keras fits.", show_default=False)]
LearningRate = Annotated[
    float | None, typer.Option(help="The step size: sgd, boosting, heads that Keras fits.", show_default=False)
]
Optimizer = Annotated[
    str | None, typer.Option(help="Any of Keras', such as adam or sgd: heads that Keras fits.", show_default=False)
]
FitSeed = Annotated[int, typer.Option(help="Of splits, folds and all that is random.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="key=value, a parameter of the head; repeatable.", show_default=False),
]


def _parameters(
    epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    optimizer: str | None,
    settings: list[str] | None,
) -> dict[str, int | float | str]:
    """The head's parameters that were given, by options of their own and by --set."""
    from fit.train import parse_settings

    shortcuts = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "optimizer": optimizer}
    given = {name: value for name, value in shortcuts.items() if value is not None}
    return {**given, **parse_settings(settings or [])}


@fit_app.command("head")
def fit_head_command(
    features: StoreOption,
    head: HeadName = DEFAULT_HEAD,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The head's folder.  [default: heads/<head>]", show_default=False)
    ] = None,
    output: OutputName = None,
    reduce: Reduction = None,
    labels: LabelsFile = None,
    val: Validation = 0.2,
    test: Test = 0.2,
    cv: Annotated[int, typer.Option(help="Folds of a cross-validation beside that; 0 for none.")] = 0,
    group_by: GroupBy = None,
    class_weight: ClassWeight = "none",
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    optimizer: Optimizer = None,
    seed: FitSeed = 0,
    settings: Settings = None,
    tensorboard: Annotated[
        str | None, typer.Option(help="A folder for TensorBoard: heads that Keras fits.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a head that is there.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit a head on a store's features and say how good it is."""
    from fit.head import require_place
    from fit.text import format_confusion, format_metrics
    from fit.train import fit_head

    folder = out or Path("heads") / head.replace(":", ".")
    require_place(folder, force)
    fitted = fit_head(
        features,
        head,
        say=lambda text: None if quiet else _say(text),
        output=output,
        reduction=reduce,
        labels=labels,
        validation=val,
        test=test,
        cv=cv,
        group_by=group_by,
        class_weight=class_weight,
        seed=seed,
        parameters=_parameters(epochs, batch_size, learning_rate, optimizer, settings),
        tensorboard=tensorboard,
    )
    fitted.save(folder, force)
    if as_json:
        _print_json({"head": str(folder), **fitted.metrics})
    elif not quiet:
        _print_columns(format_metrics(fitted.metrics))
        print()
        _print_columns(format_confusion(fitted.metrics))
        print()
        print(
            f"fitted in {fitted.metrics['seconds']:.1f} s; the head is in {folder}: metrics.json, predictions.parquet"
        )
        print(f"next: fit report {folder}   fit predict {folder} IMAGES…   fit export {folder} --to onnx --out FILE")


@fit_app.command("sweep")
def fit_sweep(
    features: StoreOption,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The sweep's folder; the chosen head is in its folder best.")
    ],
    tries: Annotated[
        list[str] | None,
        typer.Option(
            "--try",
            metavar="KEY=V1,V2",
            help="A parameter and its values, or KEY=LOW..HIGH; repeatable. Values with commas: KEY=V1;V2.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str, typer.Option(help="grid, random, one (one change at a time) or optuna (extra search).")
    ] = "grid",
    trials: Annotated[
        int | None, typer.Option(help="How many: random, optuna.  [default: 20]", show_default=False)
    ] = None,
    metric: Annotated[
        str, typer.Option(help="accuracy, balanced_accuracy, macro_f1 or log_loss of the validation: what chooses.")
    ] = "accuracy",
    head: HeadName = DEFAULT_HEAD,
    output: OutputName = None,
    reduce: Reduction = None,
    labels: LabelsFile = None,
    val: Validation = 0.2,
    test: Test = 0.2,
    group_by: GroupBy = None,
    class_weight: ClassWeight = "none",
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    optimizer: Optimizer = None,
    seed: FitSeed = 0,
    settings: Settings = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit a head with many settings, choose on validation, and tell the chosen one on the test once."""
    from fit.options import FitOptions
    from fit.search.sweep import SweepOptions, sweep_head
    from fit.text import format_metrics, format_sweep
    from store import open_store

    options = FitOptions(
        head=head,
        output=output,
        reduction=reduce,
        labels=labels,
        validation=val,
        test=test,
        group_by=group_by,
        class_weight=class_weight,
        seed=seed,
        parameters=_parameters(epochs, batch_size, learning_rate, optimizer, settings),
    )
    wanted = SweepOptions(tuple(tries or ()), method, trials, metric)
    sweep = sweep_head(open_store(features), options, wanted, out, lambda text: None if quiet else _say(text))
    if as_json:
        _print_json({"sweep": str(out), **sweep.to_dict()})
    elif not quiet:
        _print_columns(format_sweep(sweep))
        print()
        _print_columns(format_metrics(sweep.metrics))
        print()
        print(
            f"chosen of {_counted(len(sweep.trials), 'trial')} by validation {metric}, "
            "so that its validation scores are too good; the test was looked at once"
        )
        print(f"the head is in {sweep.best}; all trials are in {out / 'sweep.csv'}, {out / 'sweep.png'}")


@fit_app.command("heads")
def fit_heads(as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the heads and their parameters, for --set."""
    if as_json:
        _print_json({"heads": [asdict(kind) for kind in HEADS.values()]})
        return
    for kind in HEADS.values():
        print(f"{kind.name}: {kind.summary} ({kind.library})")
        if kind.parameters:
            _print_columns([["   ", f"{known.name}={known.default}", known.help] for known in kind.parameters])


@fit_app.command("evaluate")
def fit_evaluate(
    head: HeadPath,
    features: Annotated[str, typer.Option("--features", "-f", help="A store of the same recipe.")],
    labels: LabelsFile = None,
    split: Annotated[str | None, typer.Option(help="Only rows of this split.", show_default=False)] = None,
    own: OwnHead = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Say how good a head is on another store."""
    from fit.head import load_head
    from fit.text import format_confusion, format_metrics
    from fit.train import evaluate_head
    from store import open_store

    metrics = evaluate_head(load_head(head, own), open_store(features), labels, split)
    if as_json:
        _print_json(metrics)
    elif not quiet:
        _print_columns(format_metrics(metrics))
        print()
        _print_columns(format_confusion(metrics))


@fit_app.command("predict")
def fit_predict(
    head: HeadPath,
    images: Annotated[
        list[str] | None, typer.Argument(metavar="IMAGES…", help="Image files, folders, tables, or glob patterns.")
    ] = None,
    features: Annotated[
        str | None, typer.Option("--features", "-f", help="A store of the same recipe, instead of images.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A .csv or .parquet file.")] = None,
    top: Annotated[int, typer.Option(help="How many classes to show of each image.")] = 1,
    weights: WeightsFile = None,
    own: OwnHead = None,
    max_bad: Annotated[
        float, typer.Option(help="The fraction of images that may fail before the exit code is 3.")
    ] = 0.05,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Predict the classes of images, through the head's own recipe."""
    from extract.progress import progress_for
    from fit.head import load_head
    from fit.predictions import require_few_errors, require_table_name, write_table
    from fit.text import format_predictions
    from fit.train import predict_store
    from store import open_store

    if bool(images) == bool(features):
        raise UsageError("name either images or --features STORE to predict")
    if top < 1:
        raise UsageError(f"--top is {top}: expected 1 or more")
    if out is not None:
        require_table_name(out)
    loaded = load_head(head, own)
    if features is not None:
        table = predict_store(loaded, open_store(features))
    else:
        table = loaded.predict(images or [], weights, lambda total: progress_for(total, quiet), debug)
    if out is not None:
        write_table(table, out)
    if as_json:
        _print_json({"predictions": table.to_pylist()})
    elif out is None:
        _print_columns(format_predictions(table, loaded.classes, top))
    elif not quiet:
        _say(f"{_counted(len(table), 'prediction')} in {out}")
    require_few_errors(table, max_bad)


@fit_app.command("report")
def fit_report(
    head: HeadPath,
    images: Annotated[
        Path | None,
        typer.Option(help="The folder that the images are in, if no longer where they were.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="A folder.  [default: HEAD/report]", show_default=False)
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Draw what a head gets right and what not, and the images it learnt from: PNG pictures."""
    from fit.head import read_results
    from fit.report.pictures import write_report

    report = write_report(read_results(head), out, images)
    if report.left_out and not quiet:
        reasons = "; ".join(dict.fromkeys(report.left_out.values()))
        _say(f"warning: not written: {', '.join(report.left_out)}: {reasons}; say where they are with --images DIR")
    if as_json:
        _print_json({"report": str(report.folder), "pictures": report.pictures, "left_out": report.left_out})
    elif not quiet:
        _print_columns([[str(report.folder / name), shows] for name, shows in report.pictures.items()])
        if report.without:
            print(report.without)


@fit_app.command("compare")
def fit_compare(
    heads: Annotated[list[Path], typer.Argument(metavar="HEAD HEAD…", help="Folders that `fit head` wrote.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Draw it too: a .png file.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Compare heads: what each scored, and how far each is from the best by validation on the same test images."""
    from fit.compare import compare_heads, comparison_figure
    from fit.head import read_results
    from fit.report.style import require_png, to_png
    from fit.text import format_comparison
    from store.files.local import write_whole

    if out is not None:
        require_png(out)
    comparison = compare_heads([read_results(head) for head in heads])
    if out is not None:
        write_whole(out, to_png(comparison_figure(comparison)))
    if as_json:
        _print_json(comparison.to_dict())
    elif not quiet:
        _print_columns(format_comparison(comparison))
        print()
        print("\n".join(comparison.notes))


@fit_app.command("export")
def fit_export(
    head: HeadPath,
    to: Annotated[str, typer.Option("--to", help="keras, saved_model, onnx, litert or openvino.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file, or the folder of a saved_model.")],
    weights: WeightsFile = None,
    own: OwnHead = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write one model from pixels to probabilities, and check it against `fit predict`."""
    from extract.runtimes import start_keras
    from fit.head import load_head

    start_keras(debug)
    from fit.export.model import export_head

    difference = export_head(load_head(head, own), out, to, weights, force=force, debug=debug)
    if not quiet:
        _say(
            f"wrote {out}; on 20 images it is within {difference:.1e} of `fit predict`; recipe and classes stand beside it"
        )


# store


@store_app.command("info")
def store_info(store: StorePath, as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Show what a store holds and how it was made."""
    from store import open_store

    features = open_store(store)
    snapshot = features.snapshot
    counts = snapshot.counts()
    size = sum(record.shard_bytes for record in snapshot.records.values())
    values = {
        "store": str(store),
        "fingerprint": features.fingerprint,
        "recipe": features.recipe.to_dict(),
        "outputs": [output.to_dict() for output in features.outputs.values()],
        "format": snapshot.info.shard_format,
        "data": snapshot.current.data if snapshot.current else "",
        "shards": len(snapshot.records),
        "bytes": size,
        **asdict(counts),
    }
    if as_json:
        _print_json(values)
        return
    recipe = features.recipe
    rows = [
        [
            "images",
            f"{counts.images:,}: {_told_rows(counts.rows, recipe.views)}, {counts.failures:,} failures, {counts.pending:,} not done yet",
        ],
        ["from", printable(values["data"])],
        ["shards", f"{len(snapshot.records):,} {snapshot.info.shard_format}, {_size(size)}"],
        *[
            [f"output {name}", f"{_shape(output.shape)} {output.dtype}, layer {output.layer}, pooling {output.pooling}"]
            for name, output in features.outputs.items()
        ],
        ["backbone", f"{recipe.backbone}, weights {recipe.weights[:12]}…"],
        *([["views", _told_augmentation(recipe.augment)]] if recipe.augment else []),
        ["pixels", f"{_shape(recipe.image_size)}, {recipe.crop}, {recipe.resize}, on {recipe.background}"],
        ["fingerprint", features.fingerprint],
    ]
    _print_columns(rows)


def _told_augmentation(augmentation: Any) -> str:
    settings = asdict(augmentation)
    altered = settings.pop("views")
    return f"1 unaltered, {altered:,} altered: " + ", ".join(f"{name} {value}" for name, value in settings.items())


def _told_rows(rows: int, views: int) -> str:
    return f"{rows:,} rows" if views == 1 else f"{rows:,} rows / {views} views"


@store_app.command("verify")
def store_verify(store: StorePath, as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """Read everything back and check it. Exit code 4: damaged; 75: sound but not finished."""
    from store.files.opening import open_files
    from store.maintenance import verify

    found = verify(open_files(store))
    if as_json:
        _print_json({**asdict(found), "sound": found.sound})
    elif not quiet:
        for damage in found.damage:
            _say(f"damaged: {printable(damage.message)}")
        verdict = "sound" if found.sound else "damaged"
        _say(
            f"{verdict}: {found.images:,} images = {_told_rows(found.rows, found.views)} + {found.failures:,} failures "
            f"+ {found.pending:,} not done yet, in {_counted(found.shards, 'shard')}"
        )
    if not found.sound:
        raise DamagedStore(
            f"{_counted(len(found.damage), 'thing')} in {store} damaged: run `store repair {store}`, then the same `extract run` again"
        )
    if found.pending:
        raise StoppedEarly(f"{store} is sound but not finished: run the same `extract run` again")


@store_app.command("repair")
def store_repair(store: StorePath, quiet: Quiet = False, debug: Debug = False) -> None:
    """Take damaged shards back, so that the next `extract run` computes their images again."""
    from store.files.opening import open_files
    from store.maintenance import repair

    found = repair(open_files(store))
    if quiet:
        return
    for damage in found:
        _say(f"taken back: {printable(damage.message)}")
    _say("run the same `extract run` again to compute them" if found else "nothing is damaged")


@store_app.command("gc")
def store_gc(
    store: StorePath,
    min_age: Annotated[
        float, typer.Option(help="Seconds; younger files stay, for a run may still need them.")
    ] = 3600.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, delete nothing.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Delete what the current view does not need: left-over temporary files, replaced shards, older plans."""
    from store.files.opening import open_files
    from store.maintenance import collect_garbage

    collected = collect_garbage(open_files(store), min_age, dry_run)
    if not quiet:
        _say(
            f"{'would delete' if dry_run else 'deleted'} {_counted(len(collected.names), 'file')}, {_size(collected.size)}"
        )


@store_app.command("failures")
def store_failures(store: StorePath, as_json: Json = False, quiet: Quiet = False, debug: Debug = False) -> None:
    """List the images that gave no row, and why: path, code, message, separated by tabs."""
    from store import open_store

    failures = open_store(store).snapshot.failures().select(["path", "code", "message"])
    if as_json:
        _print_json({"failures": failures.to_pylist()})
        return
    for failure in failures.to_pylist():
        print("\t".join(printable(text) for text in failure.values()))


@store_app.command("export")
def store_export(
    store: StorePath,
    to: Annotated[str, typer.Option("--to", help="npy, npz, csv, parquet or tfrecord.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")],
    output: Annotated[
        str | None, typer.Option(help="Which output, where the store has several.", show_default=False)
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only rows of this split.", show_default=False)] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace existing files.")] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write rows and features to a file that other tools read."""
    from store import open_store
    from store.export import export

    features = open_store(store)
    if not features.complete and not quiet:
        _say(f"warning: {store} is not finished, only the {len(features):,} rows it has so far are written")
    written = export(features, to, out, output=output, split=split, force=force)
    if not quiet:
        _say(f"wrote {', '.join(map(str, written))}")
