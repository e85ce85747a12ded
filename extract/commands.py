"""The commands of `extract`: parse, call, print."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from extract.backbones.table import DEFAULT_BACKBONE, find_backbones
from extract.completion import complete_backbone
from extract.durations import parse_duration
from extract.request import RunOptions, parse_image_size
from extract.text import (
    format_backbones,
    format_checks,
    format_classified,
    format_dry_run,
    format_preprocessing,
    format_published,
    format_run,
)
from store.command_line import Console, command, format_count, format_shape, new_app
from store.command_options import Without
from store.errors import EnvironmentFailure, UsageError
from store.options import Argument, Option
from store.suggestions import suggest
from store.tables import columns, facts

if TYPE_CHECKING:
    from extract.classify import Classified

app = new_app("Run a frozen network over images and store its features.")


@dataclass(frozen=True)
class StoreOptions:
    """Which networks a run computes, and the store of each.

    Raises:
        UsageError: not as many stores as networks.
    """

    out: Annotated[
        tuple[str, ...],
        Option(
            "The store's folder, or its URL (s3://, gs://, az://); one for each --backbone.",
            ("--out", "-o"),
            default=str(RunOptions.out),
            metavar="<str>",
        ),
    ] = ()
    backbone: Annotated[
        tuple[str, ...],
        Option(
            "The network: a name that `extract backbones` lists, a .onnx or .keras file, a folder in Hugging Face layout, "
            "hf:ORG/NAME or hub:PRESET; repeat it, and --out, to decode the images once for several networks.",
            default=DEFAULT_BACKBONE,
            metavar="<str>",
            complete=complete_backbone,
        ),
    ] = ()

    def __post_init__(self) -> None:
        backbones, stores = len(self.backbone or ("",)), len(self.out or ("",))
        if backbones != stores:
            raise UsageError(
                f"{format_count(backbones, 'backbone')} and {format_count(stores, 'store')}: expected one --out for each "
                "--backbone, in the same order"
            )

    def runs(self, options: RunOptions) -> list[RunOptions]:
        """One run for each network, with these options."""
        pairs = zip(self.backbone or (DEFAULT_BACKBONE,), self.out or (RunOptions.out,), strict=True)
        return [replace(options, backbone=backbone, out=out) for backbone, out in pairs]


@dataclass(frozen=True)
class JobOptions:
    """Options that change what `extract run` does."""

    dry_run: Annotated[
        bool,
        Option("Say what would be done and how long it would take, by computing a few batches; write nothing."),
    ] = False
    max_runtime: Annotated[str | None, Option("Stop after 90s, 30m, 8h or 7:30:00 with exit code 75.")] = None


@command(app, "run", StoreOptions, Without(RunOptions, ("out", "backbone")), JobOptions)
def run(stores: StoreOptions, options: RunOptions, job: JobOptions, console: Console) -> None:
    """Extract features of all images of DATA, or bring a store up to date."""
    from extract.signals import stop_after

    runs = stores.runs(options)
    if job.dry_run and options.part is not None:
        raise UsageError("--dry-run describes the whole run: leave --part out")
    if job.dry_run and len(runs) > 1:
        raise UsageError("--dry-run describes one backbone: name one --backbone and its --out at a time")
    with stop_after(parse_duration(job.max_runtime) if job.max_runtime else None):
        if job.dry_run:
            _describe_run(runs[0], console)
        elif len(runs) == 1:
            _run(runs[0], console)
        else:
            _run_together(runs, console)


def _describe_run(options: RunOptions, console: Console) -> None:
    from extract.dry_run import dry_run

    plan = dry_run(options, console.reporter)
    console.result(plan.to_dict())
    console.report(*format_dry_run(plan))


def _run(options: RunOptions, console: Console) -> None:
    from extract.run import run as run_extraction
    from extract.summary import require_few_failures

    result = run_extraction(options, console.reporter)
    console.result(result.to_dict())
    console.report(*format_run(result))
    require_few_failures(result, options.max_bad)


def _run_together(runs: list[RunOptions], console: Console) -> None:
    from extract.run import run_together
    from extract.summary import require_few_failures

    results = run_together(runs, console.reporter)
    console.result({"stores": [result.to_dict() for result in results]})
    for result in results:
        console.report(*format_run(result))
    for result in results:
        require_few_failures(result, runs[0].max_bad)


@dataclass(frozen=True)
class SearchWord:
    """Options that select networks of the table."""

    word: Annotated[str, Argument("WORD", "Only networks with this in their name.")] = ""


@command(app, "backbones", SearchWord)
def backbones(search: SearchWord, console: Console) -> None:
    """List the networks: input, output, preprocessing, where weights are; and, of folders on a hub, their licenses."""
    from extract.backbones.published import find_published
    from extract.backbones.weights import weights_on_disk

    found = {backbone: weights_on_disk(backbone) for backbone in find_backbones(search.word)}
    published = find_published(search.word)
    if not found and not published:
        listing = suggest("extract", "backbones")
        raise UsageError(f"no backbone has {search.word!r} in its name; {listing} lists all")
    listed = [{**asdict(backbone), "weights": str(path or "")} for backbone, path in found.items()]
    console.result({"backbones": listed, "published": [asdict(network) for network in published]})
    if found:
        console.output(*columns(format_backbones(found)))
        console.output("", *facts(format_preprocessing()))
    if published:
        console.output(*([""] if found else []), *facts(format_published(published)))


@dataclass(frozen=True)
class BackboneName:
    """The option that names a network of the table."""

    backbone: Annotated[str, Argument("BACKBONE", complete=complete_backbone)]


@dataclass(frozen=True)
class BackboneSpelling:
    """Options that name a network."""

    backbone: Annotated[
        str,
        Argument(
            "BACKBONE",
            "A name that `extract backbones` lists, a .onnx or .keras file, or a folder in Hugging Face layout.",
            complete=complete_backbone,
        ),
    ]


@dataclass(frozen=True)
class LayerOptions:
    """Options about the images that a network takes."""

    image_size: Annotated[str | None, Option("N or HxW in pixels.", default="the backbone's")] = None


@command(app, "layers", BackboneSpelling, LayerOptions)
def layers(which: BackboneSpelling, options: LayerOptions, console: Console) -> None:
    """List every layer that a network can be cut at, with its output shape."""
    from extract.backbones.layers import list_layers

    points = list_layers(which.backbone, parse_image_size(options.image_size), console.reporter)
    listed = [{"name": point.name, "shape": list(point.shape)} for point in points]
    console.result({"backbone": which.backbone, "layers": listed})
    console.output(*columns([[point.name, format_shape(point.shape)] for point in points]))


@dataclass(frozen=True)
class FetchOptions:
    """Options about the place of a downloaded network."""

    to: Annotated[Path | None, Option("A folder for a network of a hub, to take to another machine.")] = None


@command(app, "fetch", BackboneName, FetchOptions)
def fetch(which: BackboneName, options: FetchOptions, console: Console) -> None:
    """Download a network in advance, for offline machines, and verify it."""
    from extract.backbones.fetch import fetch_weights
    from extract.backbones.hub import fetch_hub
    from extract.backbones.hub_model import PREFIX, HubModel, is_on_hub

    if is_on_hub(which.backbone):
        folder = fetch_hub(HubModel.parse(which.backbone), options.to, console.reporter)
        console.result({"backbone": which.backbone, "path": str(folder.path), "commit": folder.commit})
        console.output(str(folder.path))
        console.report(
            f"{which.backbone}: commit {folder.commit[:12]} is here; --backbone takes that folder on any machine"
        )
        return
    if options.to is not None:
        raise UsageError(f"--to is for networks of a hub ({PREFIX}ORG/NAME); for {which.backbone}, leave it out")
    found = fetch_weights(which.backbone, console.reporter)
    if found is None:
        console.message(f"{which.backbone} has no weights: there is nothing to get")
        return
    console.result({"backbone": which.backbone, "path": str(found.path), "sha256": found.digest})
    console.output(str(found.path))
    console.report(f"{which.backbone}: ImageNet weights are here and fit, SHA-256 of the arrays {found.digest[:12]}…")


@dataclass(frozen=True)
class ClassifyOptions:
    """Options of `extract classify`: its images and its network."""

    images: Annotated[tuple[str, ...], Argument("IMAGES…", "Image files, folders, tables, or glob patterns.")]
    backbone: Annotated[str, Option("The network; `extract backbones` lists them.")] = DEFAULT_BACKBONE
    weights: Annotated[str, Option("imagenet, random[:SEED], or a weights file with the network's classifier.")] = (
        "imagenet"
    )
    top: Annotated[int, Option("How many classes to show for each image.")] = 5
    runtime: Annotated[str, Option("auto, keras or openvino: which runtime computes.")] = "auto"
    max_bad: Annotated[float, Option("The fraction of images that may fail before the exit code is 3.")] = 0.05


@command(app, "classify", ClassifyOptions)
def classify(options: ClassifyOptions, console: Console) -> None:
    """Say which of ImageNet's 1,000 classes a network sees in images."""
    from extract.classify import classify as classify_images
    from extract.classify import require_few_errors

    classified: list[Classified] = classify_images(
        options.images,
        options.backbone,
        options.weights,
        options.top,
        runtime=options.runtime,
        reporter=console.reporter,
    )
    console.result({"backbone": options.backbone, "images": [asdict(image) for image in classified]})
    console.listing(format_classified(classified))
    require_few_errors(classified, options.max_bad)


@dataclass(frozen=True)
class SampleOptions:
    """Options of `extract sample`: which images, and the folder to write."""

    name: Annotated[str, Argument("NAME", "digits, textures or photos.")]
    folder: Annotated[Path, Argument("DIR")]


@command(app, "sample", SampleOptions)
def sample(options: SampleOptions, console: Console) -> None:
    """Write sample images: handwritten digits or textures in classes, or two photographs."""
    from extract.samples import write_samples

    count = write_samples(options.name, options.folder)
    console.result({"images": count, "folder": str(options.folder)})
    console.report(f"{count:,} images in {options.folder}")


@dataclass(frozen=True)
class DoctorOptions:
    """Options of `extract doctor`."""

    out: Annotated[Path, Option("Where stores are to be written.", ("--out", "-o"))] = Path()


@command(app, "doctor", DoctorOptions)
def doctor(options: DoctorOptions, console: Console) -> None:
    """Check this machine: versions, cores, memory, GPUs, the file system, weights. Exit code 74 if a check fails."""
    from extract.doctor import check_machine

    checks = list(check_machine(options.out))
    console.result({"checks": [check.to_dict() for check in checks]})
    console.output(*format_checks(checks))
    failed = [check.name for check in checks if check.status == "FAIL"]
    if failed:
        raise EnvironmentFailure(f"failed: {', '.join(failed)}; do what the lines above say")
