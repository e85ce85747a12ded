"""`extract run`: what is asked against what is stored, then the shards that are missing.

The way of a run: list DATA; compare recipe and images with the store, if there is one; publish a new plan
if the current one no longer says all there is to do; carry out its uncommitted shards; sum up. The network
is loaded only if something is to be computed or its weights' digest is not remembered.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from extract.backbones.table import Backbone, get_backbone
from extract.backbones.weights import Weights, remembered_digest, require_weights
from extract.bottleneck import ResourceUse, limiting_phase, verdict, workers_verdict
from extract.dry_run import Sample, compute_sample, first_size, telling_size
from extract.images.decode import decode_policy, parse_color
from extract.planning import Update, find_update
from extract.progress import Clock, Progress, Silence
from extract.request import RunOptions
from extract.runtimes.device import machine_has_gpu, peak_memory, processor_precisions, usable_cores
from extract.runtimes.load import NetworkSpec, load_runtime
from extract.shard_builder import ShardTask
from extract.shard_worker import ShardWorker
from extract.signals import stop_on_signals
from extract.sources.listing import Listing, list_data
from extract.sources.reading import images_at
from extract.status_file import followed
from extract.summary import DryRun, RunResult, Trial
from store.errors import RecipeMismatch, UsageError
from store.files.names import is_url, row_name
from store.files.opening import open_files
from store.plan import Plan, automatic_shard_rows, make_plan
from store.recipe import Output, Recipe, differences, stored_dtype
from store.records import StoreInfo
from store.snapshot import Snapshot, load_snapshot, with_records
from store.writer import StoreWriter

if TYPE_CHECKING:
    from extract.runtimes import Runtime


@dataclass(frozen=True)
class Reporter:
    """How a run speaks while it works: a progress display for so many images, and one line of text."""

    progress: Callable[[int], Progress] = lambda _: Silence()
    line: Callable[[str], None] = lambda _: None
    debug: bool = False


def extract(data: str | os.PathLike[str], out: str | os.PathLike[str] = "store", **options: Any) -> RunResult:
    """Extract features of all images of `data` into the store `out`, or bring that store up to date.

    Args:
        data: a folder of images, or a CSV or Parquet table that names them.
        out: the store's folder.
        options: fields of `RunOptions`, such as backbone, weights, layers, pooling, image_size.

    Raises:
        UsageError: a wrong option, no images, another recipe than the store's.
        EnvironmentFailure: disk, permission or network.
        StoppedEarly: a signal came; call again to go on.
    """
    try:
        chosen = RunOptions(data=data, out=out, **options)
    except TypeError as error:
        raise UsageError(f"{error}; the options are the fields of extract.options.RunOptions") from None
    result = run(chosen)
    assert isinstance(result, RunResult)
    return result


def run(options: RunOptions, telling: Reporter = Reporter()) -> RunResult | DryRun:
    """See `extract`; with `options.dry_run` nothing is written to the store."""
    status_file = None if options.status_file is None else Path(options.status_file)
    with followed(status_file, os.fspath(options.out), telling.progress) as progress:
        return _run(options, replace(telling, progress=progress))


def _run(options: RunOptions, telling: Reporter) -> RunResult | DryRun:
    job = _Job(options, telling)
    snapshot = job.check_store()
    listing = list_data(options.data, options.include, options.exclude)
    if options.dry_run:
        return job.dry_run(snapshot, listing)
    snapshot, update = job.planned(snapshot or job.create_store(), listing)
    job.tell_of_idle_parts(snapshot)
    if not job.shards_to_do(snapshot):
        return job.result(snapshot, update, listing, Clock(), computed=0)
    with stop_on_signals() as stop:
        clock = Clock()
        computed = job.compute(snapshot, listing, clock, stop)
    return job.result(with_records(job.folder, snapshot), update, listing, clock, computed)


class _Job:
    """One run's request, resolved as far as it has come: the store's folder, the recipe, the runtime once loaded."""

    def __init__(self, options: RunOptions, telling: Reporter) -> None:
        self.options = options
        self.telling = telling
        self.folder = open_files(options.out, options.single_writer)
        self.backbone: Backbone = get_backbone(options.backbone)
        self.weights = Weights.parse(options.weights)
        require_weights(self.backbone, self.weights)  # before anything is listed or loaded
        self.image_size = options.image_size or self.backbone.size
        self.layers = options.layers or (self.backbone.layer,)
        self.workers = options.workers or usable_cores()
        self.wanted = NetworkSpec(
            self.backbone,
            self.weights,
            self.image_size,
            self.layers,
            options.pooling,
            options.dtype,
            options.precision,
            options.runtime,
            options.batch_size,
        )
        self._loaded: tuple[Runtime, str] | None = None

    # Recipe

    def load(self) -> "tuple[Runtime, str]":
        """The runtime and the digest of its weights, loaded once."""
        if self._loaded is None:
            self.telling.line(f"loading {self.backbone.name}")
            self._loaded = load_runtime(self.wanted, self.telling.line, self.telling.debug)
        return self._loaded

    def recipe(self, dtypes: tuple[str, ...]) -> Recipe:
        """The recipe asked for; loads the network only if its weights' digest is not remembered."""
        digest = remembered_digest(self.backbone, self.weights) if self._loaded is None else self._loaded[1]
        red, green, blue = parse_color(self.options.background)
        return Recipe(
            backbone=self.backbone.name,
            weights=digest or self.load()[1],
            layers=self.layers,
            pooling=self.options.pooling,
            image_size=self.image_size,
            resize=self.options.resize,
            crop=self.options.crop,
            background=f"#{red:02x}{green:02x}{blue:02x}",
            precision=self.options.precision,
            dtypes=dtypes,
            fast_decode=self.options.fast_decode,
            augment=self.options.augmentation,
        )

    def outputs(self) -> tuple[Output, ...]:
        """The columns of features, from the loaded network."""
        runtime, _ = self.load()
        outputs = []
        for layer, shape in zip(self.layers, runtime.shapes, strict=True):
            name = layer.replace("/", ".") if len(self.layers) > 1 else "features"
            dtype = stored_dtype(self.options.dtype, spatial=len(shape) > 1)
            outputs.append(Output(name, layer, self.options.pooling, shape, dtype))
        return tuple(outputs)

    # Store

    def check_store(self) -> Snapshot | None:
        """The store as it stands, or None where there is none yet.

        Raises:
            RecipeMismatch: it was made with another recipe.
            UsageError: the folder holds something else.
        """
        if not self.folder.is_store():
            self.folder.require_free()
            return None
        snapshot = load_snapshot(self.folder)
        self._require_same(snapshot.info)
        return snapshot

    def _require_same(self, info: StoreInfo) -> None:
        same_cuts = (info.recipe.layers, info.recipe.pooling) == (self.layers, self.options.pooling)
        dtypes = (
            tuple(stored_dtype(self.options.dtype, output.spatial) for output in info.outputs)
            if same_cuts
            else info.recipe.dtypes
        )
        asked = self.recipe(dtypes)
        lines = differences(info.recipe, asked)
        if self.options.format not in ("auto", info.shard_format):
            lines.append(f"format: the store has {info.shard_format}, this run asks for {self.options.format}")
        if lines:
            raise RecipeMismatch(
                f"{self.folder} was made with another recipe; {'; '.join(lines)}. "
                "Ask for the same, or choose another --out"
            )

    def new_info(self) -> StoreInfo:
        """What store.json will say of a new store."""
        outputs = self.outputs()
        shard_format = self.options.format
        if shard_format == "auto":
            shard_format = "hdf5" if any(output.spatial for output in outputs) else "parquet"
        return StoreInfo(self.recipe(tuple(output.dtype for output in outputs)), outputs, shard_format)

    def create_store(self) -> Snapshot:
        """Publish store.json; if another process was first, its recipe must be the same."""
        self._require_same(StoreWriter(self.folder).create(self.new_info()))
        return load_snapshot(self.folder)

    def planned(self, snapshot: Snapshot, listing: Listing) -> tuple[Snapshot, Update]:
        """The store once its current plan says all there is to do for `listing`, and how the listing differed.

        Where another process publishes its plan first, what is stored has changed: it is looked at anew.
        """
        while True:
            update = find_update(snapshot, listing, self.options)
            if not update.publish:
                return snapshot, update
            plan = self._plan(snapshot, update)
            data = self.options.data if is_url(self.options.data) else os.path.abspath(self.options.data)
            if StoreWriter(self.folder, snapshot.info).publish_plan(plan, row_name(os.fspath(data))):
                return load_snapshot(self.folder, plan.number), update
            snapshot = load_snapshot(self.folder)

    def _plan(self, snapshot: Snapshot, update: Update) -> Plan:
        unfinished = snapshot.plan is not None and snapshot.uncommitted_shards()
        if snapshot.plan is not None and unfinished:
            shard_rows = snapshot.plan.shard_rows
        else:
            row_bytes, views = _row_bytes(snapshot.info.outputs), snapshot.info.recipe.views
            shard_rows = self.options.shard_rows or automatic_shard_rows(row_bytes, views)
        return make_plan(update.table, update.holders, shard_rows, snapshot.number + 1)

    # Work

    def compute(self, snapshot: Snapshot, listing: Listing, clock: Clock, stop: threading.Event) -> int:
        """Carry out the plan's uncommitted shards, those of this run's part; returns how many images that were."""
        work = self.work(snapshot.info, listing)
        self.folder.require_create_only()
        shards = self.shards_to_do(snapshot)
        images = sum(snapshot.plan.shard_length(index) for index in shards) if snapshot.plan else 0
        tasks = self._tasks(snapshot, shards)
        if self.options.scheduler is not None:
            from extract.cluster.client import connected, run_on_cluster

            with connected(self.options.scheduler) as client, self.telling.progress(images) as progress:
                return run_on_cluster(client, work, tasks, clock=clock, progress=progress, stop=stop)
        runtime, digest = self.load()
        work.require_network(runtime, digest)
        self._warn_of_versions(snapshot, work.environment(runtime))
        with self.telling.progress(images) as progress:
            records = work.run_shards(
                tasks, runtime, clock=clock, progress=progress, stop=stop, new_store=not snapshot.records
            )
            return sum(len(record.rows) + len(record.failures) for record in records)

    def work(self, info: StoreInfo, listing: Listing) -> ShardWorker:
        """What shard tasks are carried out with."""
        policy = decode_policy(info.recipe, self.options.max_pixels)
        return ShardWorker(
            info,
            self.wanted,
            self.folder.absolute,
            images_at(listing.root).absolute,
            policy,
            self.options.workers,
            self.options.single_writer,
        )

    def _warn_of_versions(self, snapshot: Snapshot, ours: Mapping[str, str]) -> None:
        """Versions are not part of the recipe, but what a store was made with should not change unnoticed."""
        for name in ("runtime", "backend", "keras", "pillow", "stillframe"):
            theirs = {record.environment.get(name, ours.get(name)) for record in snapshot.records.values()}
            others = sorted(str(value) for value in theirs - {ours.get(name)})
            if others:
                self.telling.line(
                    f"warning: the store was made with {name} {', '.join(others)}, this is {ours.get(name)}"
                )

    def shards_to_do(self, snapshot: Snapshot) -> list[int]:
        """The plan's uncommitted shards, those of this run's part."""
        number, count = self.options.part or (0, 1)
        return [index for index in snapshot.uncommitted_shards() if index % count == number]

    def tell_of_idle_parts(self, snapshot: Snapshot) -> None:
        """A line where there are fewer shards than parts."""
        shards = snapshot.plan.shard_count if snapshot.plan else 0
        if self.options.part is not None and snapshot.uncommitted_shards() and shards < self.options.part[1]:
            self.telling.line(
                f"only {shards} of the {self.options.part[1]} parts have a shard to do: "
                "a smaller --shard-rows makes more shards, of a new store or of images that are new"
            )

    def _tasks(self, snapshot: Snapshot, shards: Sequence[int]) -> Iterator[ShardTask]:
        plan = snapshot.plan
        assert plan is not None
        for index in shards:
            attempt = snapshot.next_slot(f"{plan.name}/{index}").attempt
            yield ShardTask(plan.name, index, attempt, plan.shard_paths(index), snapshot.info.recipe.views)

    # Reporter

    def result(self, snapshot: Snapshot, update: Update, listing: Listing, clock: Clock, computed: int) -> RunResult:
        """The summary of a finished run."""
        counts = snapshot.counts()
        phases = clock.phases()
        seconds = clock.span
        return RunResult(
            store=str(self.folder),
            fingerprint=snapshot.info.recipe.fingerprint,
            images=counts.images,
            rows=counts.rows,
            failures=counts.failures,
            pending=counts.pending,
            computed=computed,
            reused=counts.images - counts.pending - computed,
            seconds=round(seconds, 3),
            images_per_second=round(computed / seconds, 3) if seconds else 0.0,
            phases={name: round(value, 3) for name, value in phases.items()},
            limited_by=limiting_phase(phases),
            verdict=self._verdict(clock) if computed else "",
            changes=update.changes,
            failures_by_code=Counter(snapshot.failures()["code"].to_pylist()),
            others=listing.others,
        )

    def _verdict(self, clock: Clock) -> str:
        if self.options.scheduler is not None:
            return workers_verdict(clock.phases())
        environment = self.load()[0].environment
        return verdict(
            ResourceUse(
                seconds=clock.span,
                phases=clock.phases(),
                cores=usable_cores(),
                cores_used=clock.processor_seconds / clock.span,
                workers=self.workers,
                runtime=environment["runtime"],
                device=environment["device"],
                backend=environment["backend"],
                precision=self.options.precision,
                precisions=processor_precisions(),
                gpu_here=machine_has_gpu(),
            )
        )

    def dry_run(self, snapshot: Snapshot | None, listing: Listing) -> DryRun:
        """What `run` would do; a few batches are computed, and nothing is written."""
        info = self.new_info() if snapshot is None else snapshot.info
        current = snapshot or Snapshot(info)
        update = find_update(current, listing, self.options)
        plan = self._plan(current, update) if update.publish or current.plan is None else current.plan
        trial = self._try(info, listing, update, plan.shard_rows) if update.to_compute else Trial()
        return DryRun(
            store=str(self.folder),
            images=len(update.table),
            to_compute=update.to_compute,
            shards=plan.shard_count if update.publish else len(current.uncommitted_shards()),
            changes=update.changes,
            outputs=info.outputs,
            shard_format=info.shard_format,
            feature_bytes=update.to_compute * _image_bytes(info),
            trial=trial,
        )

    def _try(self, info: StoreInfo, listing: Listing, update: Update, shard_rows: int) -> Trial:
        """Compute a few batches, evenly from all of the images, and conclude from them on the whole run."""
        runtime, digest = self.load()
        work = self.work(info, listing)
        work.require_network(runtime, digest)
        pending = np.flatnonzero(update.holders.is_null())

        def compute(count: int) -> Sample:
            paths = update.table["path"].take(pending[np.arange(count) * len(pending) // count]).to_pylist()
            progress = self.telling.progress(count)
            return compute_sample(info, images_at(listing.root), paths, runtime, work.policy, self.workers, progress)

        sample = compute(first_size(runtime, len(pending)))
        if (count := telling_size(sample, len(pending))) > sample.images:
            sample = compute(count)
        images = min(shard_rows, len(pending))
        shard_bytes, encoded_bytes = images * _image_bytes(info), images * sample.encoded // sample.images
        seconds = sample.clock.span
        return Trial(
            images=sample.images,
            images_per_second=round(sample.images / seconds, 3),
            seconds=round(seconds / sample.images * len(pending), 1),
            disk_bytes=sample.encoded * len(pending) // sample.images,
            # A second shard is filled while the first is encoded: see extract.pipeline.
            peak_memory_bytes=peak_memory() + 2 * (shard_bytes + encoded_bytes),
            verdict=self._verdict(sample.clock),
        )


def _image_bytes(info: StoreInfo) -> int:
    return info.recipe.views * _row_bytes(info.outputs)


def _row_bytes(outputs: tuple[Output, ...]) -> int:
    return sum(int(np.prod(output.shape)) * np.dtype(output.dtype).itemsize for output in outputs)
