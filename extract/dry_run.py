"""What a run would do and take: listed and planned as by a run, and estimated from a sample that is computed here."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from extract.bottleneck import find_bottleneck
from extract.images.decode import without_pillow_limits
from extract.images.loader import ImageLoader
from extract.monitor import Clock, Monitor
from extract.pipeline import run_pipeline
from extract.planning import Changes, Update, find_update, image_bytes, plan_for
from extract.request import RunOptions
from extract.resolve import Request, ResolvedStore, resolve, resolve_for_estimate
from extract.run import load_checked, report_listing, shard_worker
from extract.runtimes.base import Runtime
from extract.runtimes.device import peak_memory
from extract.shard_builder import ImageGroup, unlabelled
from extract.shard_worker import ShardWorker
from extract.sources.base import Listing
from extract.sources.listing import list_data
from extract.sources.reading import digests, open_images
from extract.summary import resource_use
from store.files.base import Files
from store.formats import get_format
from store.formats.base import Packed
from store.image_records import Failure
from store.known import records_to_copy_from
from store.progress import SILENT, Reporter
from store.recipe import Output
from store.records import StoreInfo
from store.snapshot import Snapshot
from store.tensors import Tensor
from store.writer import ShardContent, StoreWriter

_IMAGES = 64
_BATCHES = 4
_SECONDS = 3.0
_DIGESTS = 1000  # files that are read to see whether the store has them under another name


@dataclass(frozen=True)
class Estimate:
    """What a sample of `images` says about the whole run.

    Attributes:
        images: in the sample; 0 if nothing is to be computed.
        images_per_second: of the sample.
        seconds: for all images to compute.
        disk_bytes: of all shards, compressed.
        peak_memory_bytes: of the process.
        bottleneck: what limited the sample.
    """

    images: int = 0
    images_per_second: float = 0.0
    seconds: float = 0.0
    disk_bytes: int = 0
    peak_memory_bytes: int = 0
    bottleneck: str = ""


@dataclass(frozen=True)
class DryRun:
    """What a run would do.

    Attributes:
        store: its folder or URL.
        images: that the store would have.
        to_compute: images that would be computed.
        to_copy: images whose features would be copied, because the store has them under another name; of many that have the
            size of a stored one, a sample is read.
        shards: that would be computed.
        changes: how the listing differs from the store.
        outputs: the columns of features.
        shard_format: of the store.
        feature_bytes: of the images to compute and to copy, before compression.
        estimate: of time, disk and memory.
    """

    store: str
    images: int
    to_compute: int
    to_copy: int
    shards: int
    changes: Changes
    outputs: tuple[Output, ...]
    shard_format: str
    feature_bytes: int
    estimate: Estimate

    def to_dict(self) -> dict[str, object]:
        """As plain JSON values."""
        values = {**asdict(self), "outputs": [output.to_dict() for output in self.outputs]}
        estimate = values.pop("estimate")
        return {**values, "trial": {**estimate, "verdict": estimate.pop("bottleneck")}}


def dry_run(options: RunOptions, reporter: Reporter = SILENT) -> DryRun:
    """What `extract.run.run` would do with these options; a few batches are computed and nothing is written.

    Raises:
        UsageError, EnvironmentFailure: as `extract.run.extract`.
    """
    request = resolve(options, reporter)
    listing = list_data(options.data, options.include, options.exclude)
    report_listing(listing, reporter)
    resolved = resolve_for_estimate(request, listing, reporter)
    current = resolved.snapshot or Snapshot(resolved.info)
    update = find_update(current, listing, request)
    plan = plan_for(current, update, request) if update.needs_plan or current.plan is None else current.plan
    to_copy = _count_copies(request.store, current, update, listing.root)
    to_compute = update.to_compute - to_copy
    estimate = Estimate()
    if to_compute:
        whole = _estimate(request, resolved, listing, update, plan.images_per_shard, reporter)
        estimate = replace(whole, seconds=round(whole.seconds * to_compute / update.to_compute, 1))
    return DryRun(
        store=str(request.store),
        images=len(update.table),
        to_compute=to_compute,
        to_copy=to_copy,
        shards=plan.shard_count if update.needs_plan else len(current.uncommitted_shards()),
        changes=update.changes,
        outputs=resolved.info.outputs,
        shard_format=resolved.info.shard_format,
        feature_bytes=update.to_compute * image_bytes(resolved.info),
        estimate=estimate,
    )


def _count_copies(store: Files, current: Snapshot, update: Update, root: str) -> int:
    """How many images the store has under another name; estimated, if many have the size of one that is stored."""
    records = current.records.values() if update.needs_plan else records_to_copy_from(store, current)
    sizes = pa.chunked_array([record.rows["size"].combine_chunks() for record in records], pa.int64())
    pending = update.table.filter(update.shard_keys.is_null())
    paths = pending.filter(pc.is_in(pending["size"], value_set=sizes))["path"]
    count = min(len(paths), _DIGESTS)
    sample = paths.take(np.arange(count) * len(paths) // max(1, count)).to_pylist()
    known = {sha256 for record in records for sha256 in record.rows["sha256"].to_pylist()}
    copies = sum(sha256 in known for sha256 in digests(open_images(root), sample))
    return copies * len(paths) // max(1, count)


@dataclass(frozen=True)
class Sample:
    """How many images were computed, how long it took, and the bytes they would take in a store."""

    images: int
    clock: Clock
    encoded: int


@dataclass(frozen=True)
class _EncodingSink:
    """Encodes shards as a store would and counts their bytes."""

    info: StoreInfo
    outputs: Sequence[Output]

    def check(self, refused: Sequence[Failure]) -> None:
        """Accepts failures: a dry run counts images, not rows."""

    def pack(self, tensor: Tensor) -> Packed | None:
        """Pack a tensor as a run does."""
        return get_format(self.info.shard_format).pack(tensor, self.info.compression)

    def finish(self, _: ImageGroup, content: ShardContent) -> int:
        """The bytes of the shard's file."""
        return len(StoreWriter.encode(content, self.info))


def _estimate(
    request: Request,
    resolved: ResolvedStore,
    listing: Listing,
    update: Update,
    images_per_shard: int,
    reporter: Reporter,
) -> Estimate:
    """Compute some images, taken evenly from all of them, and conclude from them on the whole run."""
    worker = shard_worker(request, resolved.info, listing)
    loaded = load_checked(request, worker, resolved, reporter)
    pending = np.flatnonzero(update.shard_keys.is_null())

    def compute(count: int) -> Sample:
        paths = update.table["path"].take(pending[np.arange(count) * len(pending) // count]).to_pylist()
        return compute_sample(worker, loaded.runtime, paths, reporter)

    sample = compute(first_size(loaded.runtime, len(pending)))
    if (count := sufficient_size(sample, len(pending))) > sample.images:
        sample = compute(count)
    bottleneck = find_bottleneck(resource_use(request, sample.clock, loaded.runtime))
    return conclude(sample, bottleneck, len(pending), images_per_shard, image_bytes(worker.info))


def first_size(runtime: Runtime, images: int) -> int:
    """The number of images to compute first: a few batches."""
    return min(images, max(_IMAGES, _BATCHES * runtime.batch_size))


def sufficient_size(sample: Sample, images: int) -> int:
    """How many of the images keep the machine busy for some seconds, as a first sample predicts."""
    return min(images, max(sample.images, round(_SECONDS * sample.images / sample.clock.span)))


def compute_sample(worker: ShardWorker, runtime: Runtime, paths: Sequence[str], reporter: Reporter) -> Sample:
    """Read, decode, compute and encode these images; nothing is written."""
    info = worker.info
    loader = ImageLoader(open_images(worker.images), worker.policy, info.recipe.augment, worker.decoder_threads)
    groups = [unlabelled(paths, info.recipe.views)]
    with without_pillow_limits(), reporter.progress(len(paths)) as progress:
        monitor = Monitor(progress=progress)
        (encoded,) = run_pipeline(groups, loader, runtime, _EncodingSink(info, info.outputs), monitor)
    return Sample(len(paths), monitor.clock, encoded)


def conclude(sample: Sample, bottleneck: str, images: int, images_per_shard: int, image_bytes: int) -> Estimate:
    """What a sample says about a run over this number of images, whose features take `image_bytes` each before compression."""
    seconds = sample.clock.span
    in_shard = min(images_per_shard, images)
    shard_bytes, encoded_bytes = in_shard * image_bytes, in_shard * sample.encoded // sample.images
    return Estimate(
        images=sample.images,
        images_per_second=round(sample.images / seconds, 3),
        seconds=round(seconds / sample.images * images, 1),
        disk_bytes=sample.encoded * images // sample.images,
        # A second shard is filled while the first is encoded: see extract.pipeline.
        peak_memory_bytes=peak_memory() + 2 * (shard_bytes + encoded_bytes),
        bottleneck=bottleneck,
    )
