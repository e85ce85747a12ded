"""From a run's options to values that are looked up once: files, network, recipe and what the store holds.

`resolve` is quick and loads nothing. `resolve_store` loads the network only where it must: for a new store, whose
shapes only the network knows, and where the digest of its weights is not remembered.
"""

import hashlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from extract.backbones.chosen import ChosenNetwork, Geometry, choose_network
from extract.backbones.file_backbone import FileBackbone, shown_name
from extract.backbones.weights import remembered_digest
from extract.calibration import RULE, compare_features, read_calibration, require_candidates
from extract.images.decode import decode_policy, parse_color
from extract.request import RunOptions, parse_automatic, parse_part
from extract.runtimes.base import Runtime, padded_size
from extract.runtimes.device import require_device, usable_cores
from extract.runtimes.load import NetworkSpec, load_runtime, require_int8
from extract.sources.base import Listing
from store.choices import INT8
from store.errors import RecipeMismatch, UsageError
from store.files.base import FOLDERS, Files
from store.files.names import is_url
from store.files.opening import open_files
from store.progress import SILENT, Reporter
from store.quantization import Quantization
from store.recipe import Output, Recipe, differences, stored_dtype
from store.records import StoreInfo
from store.snapshot import Snapshot, load_snapshot

if TYPE_CHECKING:
    from extract.runtimes.load_float32 import Float32Network


@dataclass(frozen=True)
class Request:
    """A run's options with every name looked up.

    Attributes:
        options: as the user gave them.
        store: the store's files; there may be none yet.
        network: the network to compute with.
        geometry: how images are fitted to its input.
        background: the color under transparency, as #rrggbb.
        decoders: decoding threads.
        images_per_shard: of a new plan; None for the automatic number.
        part: (i, n) for every n-th shard from the i-th; None for all.
    """

    options: RunOptions
    store: Files
    network: NetworkSpec
    geometry: Geometry
    background: str
    decoders: int
    images_per_shard: int | None
    part: tuple[int, int] | None


@dataclass(frozen=True)
class LoadedNetwork:
    """A network on this machine's device, and the digest of its weights."""

    runtime: Runtime
    digest: str


@dataclass(frozen=True)
class ResolvedStore:
    """What a run's store holds, or will hold.

    Attributes:
        info: of the store.
        snapshot: the store as it stands; None where there is none yet.
        loaded: the network, if it had to be loaded to know this.
        network: of a new store with the precision int8, the file of its quantized network.
    """

    info: StoreInfo
    snapshot: Snapshot | None
    loaded: LoadedNetwork | None
    network: bytes = b""


def resolve(options: RunOptions, reporter: Reporter = SILENT) -> Request:
    """Look up all that the options name; a network on a hub is downloaded, unless it was before.

    Raises:
        UsageError: an unknown backbone, weights that do not exist, no such device, or an --out that is not a store.
        EnvironmentFailure: the store's folder cannot be read, or a network cannot be downloaded.
    """
    chosen = choose_network(options, reporter)
    if options.scheduler is None:  # else it is the workers' machines that count
        require_device(options.device)
    _require_outside(options.data, options.out)
    store = open_files(options.out, options.single_writer)
    if not store.is_store():
        store.require_free(_own_files(options))
    return Request(
        options,
        store,
        _network(options, chosen),
        chosen.geometry,
        "#{:02x}{:02x}{:02x}".format(*parse_color(options.background)),
        parse_automatic("workers", options.workers) or usable_cores(),
        parse_automatic("shard_rows", options.shard_rows),
        parse_part(options.part),
    )


def limit_batch(request: Request, images: int) -> Request:
    """The same request, with no larger a batch than that number of images takes."""
    network = request.network
    if network.batch_size is None:
        return request
    return replace(request, network=replace(network, batch_size=padded_size(images, network.batch_size)))


def _network(options: RunOptions, chosen: ChosenNetwork) -> NetworkSpec:
    return NetworkSpec(
        chosen.backbone,
        chosen.weights,
        chosen.geometry.image_size,
        chosen.layers,
        options.pooling,
        options.dtype,
        options.precision,
        options.runtime,
        parse_automatic("batch_size", options.batch_size),
        device=options.device,
    )


def _require_outside(data: str | os.PathLike[str], out: str | os.PathLike[str]) -> None:
    """Raise UsageError if DATA is in a folder that belongs to the store itself."""
    if is_url(data) or is_url(out):
        return
    path = os.path.relpath(os.path.realpath(data), os.path.realpath(out))
    if path.split(os.sep)[0] in FOLDERS:
        raise UsageError(
            f"{data} is inside the store {out}, where `store gc` deletes what the store does not need: move it elsewhere"
        )


def _own_files(options: RunOptions) -> tuple[str, ...]:
    """Files that this run itself puts into the store's folder, by their first name in it: the status file, maybe."""
    if options.status_file is None or is_url(options.out):
        return ()
    path = os.path.relpath(os.path.abspath(options.status_file), os.path.abspath(options.out))
    first = path.split(os.sep)[0]
    return () if first == os.pardir else (first,)


def resolve_store(request: Request, listing: Listing, reporter: Reporter) -> ResolvedStore:
    """The request's store, checked against the request's recipe.

    The network of a new store with the precision int8 is quantized here, on images of the listing.

    Raises:
        RecipeMismatch: the store was made with another recipe.
        DamagedStore: the store's small files are damaged.
        UsageError: the network cannot be computed here.
        EnvironmentFailure: weights could not be downloaded.
    """
    int8 = request.network.precision == INT8
    if not request.store.is_store():
        if int8:
            return _quantized_store(request, listing, reporter)
        loaded = load_network(request.network, reporter)
        return ResolvedStore(_new_info(request, loaded), None, loaded)
    snapshot = load_snapshot(request.store)
    digest = remembered_digest(request.network.backbone, request.network.weights)
    exact = replace(request.network, precision="float32") if int8 else request.network
    needed = None
    if digest is None:
        # What differs besides the weights is known already, before they are downloaded.
        require_same_recipe(request, snapshot.info, snapshot.info.recipe.weights)
        needed = load_network(exact, reporter)
        digest = needed.digest
    require_same_recipe(request, snapshot.info, digest)
    return ResolvedStore(snapshot.info, snapshot, None if int8 else needed)


def resolve_for_estimate(request: Request, listing: Listing, reporter: Reporter) -> ResolvedStore:
    """As `resolve_store`, but quick: of a new store with the precision int8, the network is loaded in float32 and not
    quantized.
    """
    if request.network.precision != INT8 or request.store.is_store():
        return resolve_store(request, listing, reporter)
    require_candidates(listing)
    exact = _float32_network(request, reporter)
    loaded = LoadedNetwork(exact.runtime, exact.digest)
    reporter.message("a dry run does not quantize the network: it computes the sample in float32, and int8 is faster")
    return ResolvedStore(_new_info(request, loaded), None, loaded)


def _float32_network(request: Request, reporter: Reporter) -> "Float32Network":
    """The network to quantize, where this machine can do that."""
    require_int8(request.network.runtime, request.network.device)
    from extract.runtimes.load_float32 import load_float32
    from extract.runtimes.quantized import require_nncf

    require_nncf()
    reporter.message(f"loading {shown_name(request.network.backbone.name)}")
    return load_float32(request.network, reporter)


def _quantized_store(request: Request, listing: Listing, reporter: Reporter) -> ResolvedStore:
    """A new store, and the 8-bit network that it will have."""
    exact = _float32_network(request, reporter)
    from extract.runtimes.quantized import quantize, quantized_runtime

    info = _new_info(request, LoadedNetwork(exact.runtime, exact.digest))
    with reporter.step("reading the images that calibrate int8", None):
        policy = decode_policy(info.recipe, request.options.max_pixels)
        found = read_calibration(listing, policy, request.decoders)
    with reporter.step("quantizing the network", None):
        network = quantize(exact.graph, [view.decoded.pixels for view in found.images])
        runtime = quantized_runtime(network, info.recipe, info.outputs, request.network.batch_size or 1)
    names = [output.name for output in info.outputs]
    agreements = compare_features(exact.runtime, runtime, found.held_out, names)
    quantization = Quantization(hashlib.sha256(network).hexdigest(), found.digest, len(found.images), RULE)
    reporter.message(f"quantized on {len(found.images):,} images of DATA")
    for agreement in agreements:
        reporter.message(f"int8 {agreement.output}: {agreement.sentence}")
    info = replace(info, recipe=replace(info.recipe, quantization=quantization), agreements=agreements)
    return ResolvedStore(info, None, LoadedNetwork(runtime, exact.digest), network)


def load_network(network: NetworkSpec, reporter: Reporter) -> LoadedNetwork:
    """Load a network; takes seconds.

    Raises:
        UsageError: it cannot be computed here.
        EnvironmentFailure: weights could not be downloaded.
    """
    reporter.message(f"loading {shown_name(network.backbone.name)}")
    return LoadedNetwork(*load_runtime(network, reporter))


def require_same_recipe(request: Request, info: StoreInfo, digest: str) -> None:
    """Raise RecipeMismatch, naming each field that differs, unless the store has the request's recipe.

    Args:
        request: what is asked for.
        info: what the store holds.
        digest: of the request's weights.
    """
    options, network = request.options, request.network
    same_cuts = (info.recipe.layers, info.recipe.pooling) == (network.layers, network.pooling)
    dtypes = (
        tuple(stored_dtype(options.dtype, output.spatial) for output in info.outputs)
        if same_cuts
        else info.recipe.dtypes
    )
    asked = replace(_recipe(request, digest, dtypes), quantization=info.recipe.quantization)  # made once, for good
    lines = differences(info.recipe, asked)
    for name, wish, has in (
        ("format", options.format, info.shard_format),
        ("compression", options.compression, info.compression),
    ):
        if wish not in ("auto", has):
            lines.append(f"{name}: the store has {has}, this run asks for {wish}")
    if lines:
        raise RecipeMismatch(
            f"{request.store} was made with another recipe; {'; '.join(lines)}. "
            "Ask for the same, or choose another --out"
        )


def _recipe(request: Request, digest: str, dtypes: tuple[str, ...]) -> Recipe:
    options, network, geometry = request.options, request.network, request.geometry
    recipe = Recipe(
        backbone=network.backbone.name,
        weights=digest,
        layers=network.layers,
        pooling=network.pooling,
        image_size=network.image_size,
        resize=geometry.resize,
        crop=geometry.crop,
        background=request.background,
        precision=network.precision,
        dtypes=dtypes,
        fast_decode=options.fast_decode,
        augment=options.augmentation,
        resize_to=geometry.resize_to,
    )
    backbone = network.backbone
    if isinstance(backbone, FileBackbone):
        return replace(recipe, preprocessing=backbone.preprocessing, prefix_tokens=backbone.prefix_tokens)
    return recipe


def _new_info(request: Request, loaded: LoadedNetwork) -> StoreInfo:
    """What store.json will say in a new store."""
    outputs = _outputs(request, loaded)
    shard_format = request.options.format
    if shard_format == "auto":
        shard_format = "hdf5" if any(output.spatial for output in outputs) else "parquet"
    compression = "zstd" if request.options.compression == "auto" else request.options.compression
    recipe = _recipe(request, loaded.digest, tuple(output.dtype for output in outputs))
    return StoreInfo(recipe, outputs, shard_format, compression)


def _outputs(request: Request, loaded: LoadedNetwork) -> tuple[Output, ...]:
    """The columns of features, one for each layer."""
    layers = request.network.layers
    outputs = []
    for layer, shape in zip(layers, loaded.runtime.shapes, strict=True):
        name = layer.replace("/", ".") if len(layers) > 1 else "features"
        dtype = stored_dtype(request.options.dtype, spatial=len(shape) > 1)
        outputs.append(Output(name, layer, request.network.pooling, tuple(shape), dtype))
    return tuple(outputs)
