"""`extract run`: resolve, list, plan, compute, summarize.

A run compares what is listed with what is stored, publishes a plan if the current one no longer says all there is to
do, and computes the plan's shards that are not committed yet. With nothing to compute, no network is loaded; nor where
all images turn out to be renamed ones, whose features are copied.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from extract.images.decode import decode_policy
from extract.monitor import Clock, Monitor
from extract.planning import PlannedRun, part_of, plan_run
from extract.request import RunCall, RunOptions
from extract.resolve import LoadedNetwork, Request, ResolvedStore, limit_batch, load_network, resolve, resolve_store
from extract.runtimes.base import Runtime
from extract.runtimes.deferred import DeferredRuntime
from extract.shard_builder import ShardTask
from extract.shard_worker import Assignment, ShardWorker, run_assignments
from extract.signals import stop_on_signals, stopped_after
from extract.sources.base import Listing
from extract.sources.listing import list_data
from extract.sources.reading import open_images
from extract.status_file import followed
from extract.summary import RunCounts, RunResult, require_few_failures, summarize
from store.errors import UsageError
from store.files.names import is_url
from store.known import find_known
from store.labels import count_labels
from store.options import taking_fields_of
from store.progress import SILENT, Reporter, console_reporter
from store.records import StoreInfo
from store.snapshot import Snapshot

_COMPARED_VERSIONS = ("runtime", "backend", "keras", "pillow", "stillframe")


@taking_fields_of(RunCall, {"layers": "layer"})
def extract(call: RunCall) -> RunResult:
    """Extract features of all images of `data` into the store `out`, or bring that store up to date.

    The parameters are named as the options of `extract run`. With `max_runtime`, call it from the main thread.

    Raises:
        UsageError: a wrong option, no images, another recipe than the store's.
        TooManyFailures: the run is complete, but more than `max_bad` of its images failed.
        EnvironmentFailure: disk, permission or network.
        StoppedEarly: a signal came, or `max_runtime` is over; call again to continue.
    """
    with stopped_after(call.most_seconds):
        result = run(call.options(), console_reporter() if call.progress else SILENT)
    require_few_failures(result, call.max_bad)
    return result


def extract_together(runs: Sequence[RunOptions], reporter: Reporter = SILENT) -> list[RunResult]:
    """Extract features of the same images into several stores in one pass: each image is read and decoded once.

    Each store is as if it were extracted alone. Images are decoded once for all stores whose pixels are made alike.

    Args:
        runs: what would be run one after the other. All have the same `data`, `include` and `exclude`, and each an `out`.
        reporter: shows progress.

    Raises:
        UsageError, EnvironmentFailure, StoppedEarly, TooManyFailures: as `extract`.
    """
    results = run_together(runs, reporter)
    for options, result in zip(runs, results, strict=True):
        require_few_failures(result, options.max_bad)
    return results


def run(options: RunOptions, reporter: Reporter = SILENT) -> RunResult:
    """Do what `extract` does and report while it works; images that fail are only counted."""
    status_file = None if options.status_file is None else Path(options.status_file)
    with followed(status_file, os.fspath(options.out), reporter) as following:
        (result,) = _run([options], following)
        return result


def run_together(runs: Sequence[RunOptions], reporter: Reporter = SILENT) -> list[RunResult]:
    """Do what `extract_together` does; images that fail are only counted."""
    _require_together(runs)
    return _run(runs, reporter)


def _run(runs: Sequence[RunOptions], reporter: Reporter) -> list[RunResult]:
    """The five steps, for all stores of a run."""
    requests = [resolve(options, reporter) for options in runs]
    listing = list_data(runs[0].data, runs[0].include, runs[0].exclude)
    report_listing(listing, reporter)
    requests = [limit_batch(request, len(listing)) for request in requests]
    resolved = [resolve_store(request, listing, reporter) for request in requests]  # all, before anything is written
    planned = [plan_run(request, listing, store) for request, store in zip(requests, resolved, strict=True)]
    computed = compute([Job(*job) for job in zip(requests, planned, strict=True)], reporter)
    return [summarize(*each) for each in zip(requests, planned, computed, strict=True)]


def _require_together(runs: Sequence[RunOptions]) -> None:
    """Raise UsageError unless these runs can share a pass."""
    if len({(os.fspath(options.data), options.include, options.exclude) for options in runs}) != 1:
        raise UsageError("the runs of one pass must have the same images: the same DATA, --include and --exclude")
    folders: dict[str, str] = {}
    for out in (os.fspath(options.out) for options in runs):
        folder = out.rstrip("/") if is_url(out) else os.path.realpath(out)
        if folder in folders:
            named = f"{out} twice" if out == folders[folder] else f"the same store twice, {folders[folder]} and {out}"
            raise UsageError(f"--out names {named}: each backbone takes a store of its own")
        folders[folder] = out
    for options in runs:
        if options.scheduler is not None or options.status_file is not None:
            name = "--scheduler" if options.scheduler is not None else "--status-file"
            raise UsageError(f"{name} is for one backbone: leave it out, or run one backbone after the other")


def report_listing(listing: Listing, reporter: Reporter) -> None:
    """Say how DATA was understood, before hours go into it."""
    for note in listing.notes:
        reporter.message(f"note: {note}")
    reporter.message(count_labels(listing.table).sentence)


@dataclass(frozen=True)
class Job:
    """One store of a run: the request and the plan."""

    request: Request
    planned: PlannedRun

    @cached_property
    def indexes(self) -> list[int]:
        """The plan's uncommitted shards that this run computes, those of its part."""
        return part_of(self.planned.snapshot, self.request.part)

    @property
    def images(self) -> int:
        """The number of images in these shards."""
        plan = self.planned.snapshot.plan
        return sum(plan.shard_length(index) for index in self.indexes) if plan else 0

    @property
    def tasks(self) -> Iterator[ShardTask]:
        """The tasks of these shards."""
        return shard_tasks(self.planned.snapshot, self.indexes)

    @property
    def new_store(self) -> bool:
        """Whether nothing is committed yet."""
        return not self.planned.snapshot.records

    @cached_property
    def worker(self) -> ShardWorker:
        """The worker that computes these shards."""
        worker = shard_worker(self.request, self.planned.resolved.info, self.planned.listing)
        known = find_known(self.request.store, self.planned.snapshot)
        return replace(worker, known=known, may_only_copy=self._are_all_in(known["size"]))

    def _are_all_in(self, sizes: pa.ChunkedArray) -> bool:
        """Whether all images have one of these sizes."""
        plan = self.planned.snapshot.plan
        if plan is None:
            return False
        images = plan.rows.filter(pc.is_in(plan.rows["shard"], pa.array(self.indexes, pa.int32())))
        return bool(pc.all(pc.is_in(images["size"], sizes)).as_py())

    def load(self, reporter: Reporter, clock: Clock) -> Runtime:
        """The network, if it was not loaded before; checked against the store. The clock leaves out how long it takes."""
        with clock.paused():
            loaded = load_checked(self.request, self.worker, self.planned.resolved, reporter)
        _warn_of_versions(self.planned.snapshot, self.worker.environment(loaded.runtime), reporter)
        return loaded.runtime


def compute(jobs: Sequence[Job], reporter: Reporter) -> list[RunCounts]:
    """Compute what is left to compute of each store: here, all in one pass, or that of one store on a cluster.

    Raises:
        StoppedEarly: a signal came.
        EnvironmentFailure: the store or an image cannot be reached, or the cluster's workers are gone.
    """
    for job in jobs:
        _report_idle_parts(job.request, job.planned.snapshot, reporter)
    computed = dict.fromkeys(range(len(jobs)), RunCounts(0, 0, Clock(), None))
    numbers = [number for number, job in enumerate(jobs) if job.indexes]
    todo = [jobs[number] for number in numbers]
    if todo:
        for job in todo:
            job.worker.files().require_create_only()
        on_cluster = todo[0].request.options.scheduler is not None
        found = [_compute_on_cluster(todo[0], reporter)] if on_cluster else _compute_here(todo, reporter)
        computed |= dict(zip(numbers, found, strict=True))
    return list(computed.values())


def _compute_on_cluster(job: Job, reporter: Reporter) -> RunCounts:
    from extract.cluster.client import connected
    from extract.cluster.run import run_on_cluster

    scheduler = str(job.request.options.scheduler)
    with stop_on_signals() as stop, connected(scheduler) as client, reporter.progress(job.images) as progress:
        monitor = Monitor(progress=progress, stop=stop)
        done, copied = run_on_cluster(client, job.worker, job.tasks, monitor, job.new_store)
    return RunCounts(done - copied, copied, monitor.clock, None)


def _compute_here(jobs: Sequence[Job], reporter: Reporter) -> list[RunCounts]:
    done, copied = [0] * len(jobs), [0] * len(jobs)
    with stop_on_signals() as stop:
        clock = Clock()
        runtimes = [DeferredRuntime(partial(job.load, reporter, clock)) for job in jobs]
        for job, runtime in zip(jobs, runtimes, strict=True):
            if not job.worker.may_only_copy:
                runtime.load()
        with reporter.progress(sum(job.images for job in jobs)) as progress:
            monitor = Monitor(clock, progress, stop)
            assignments = [
                Assignment(job.worker, job.tasks, runtime, job.new_store)
                for job, runtime in zip(jobs, runtimes, strict=True)
            ]
            for number, record in run_assignments(assignments, monitor):
                done[number] += len(record.rows) + len(record.failures)
                copied[number] += record.copied
    counts = zip(done, copied, runtimes, strict=True)
    return [RunCounts(images - known, known, clock, runtime.loaded) for images, known, runtime in counts]


def shard_worker(request: Request, info: StoreInfo, listing: Listing) -> ShardWorker:
    """The worker for the request's shards."""
    return ShardWorker(
        info,
        request.network,
        request.store.absolute,
        open_images(listing.root).absolute,
        decode_policy(info.recipe, request.options.max_pixels),
        request.decoders,
        request.options.single_writer,
    )


def load_checked(request: Request, worker: ShardWorker, resolved: ResolvedStore, reporter: Reporter) -> LoadedNetwork:
    """The network, if it was not loaded before; checked against the store, which has it itself if its precision is int8."""
    if resolved.loaded is None and worker.info.recipe.quantization is not None:
        return LoadedNetwork(worker.load(reporter), worker.info.recipe.weights)
    loaded = resolved.loaded or load_network(request.network, reporter)
    worker.require_network(loaded.runtime, loaded.digest)
    return loaded


def shard_tasks(snapshot: Snapshot, indexes: Sequence[int]) -> Iterator[ShardTask]:
    """The shards of the current plan with these numbers, one after the other."""
    plan = snapshot.plan
    if plan is None:
        return
    for index in indexes:
        slot = snapshot.next_slot(f"{plan.name}/{index}")
        yield ShardTask(plan.shard_images(index), snapshot.info.recipe.views, slot=slot)


def _report_idle_parts(request: Request, snapshot: Snapshot, reporter: Reporter) -> None:
    """Say so where there are fewer shards than parts."""
    part = request.part
    shards = snapshot.plan.shard_count if snapshot.plan else 0
    if part is not None and snapshot.uncommitted_shards() and shards < part[1]:
        reporter.message(
            f"only {shards} of the {part[1]} parts have a shard to compute: "
            "a smaller --shard-rows makes more shards, in a new store or of new images"
        )


def _warn_of_versions(snapshot: Snapshot, ours: Mapping[str, str], reporter: Reporter) -> None:
    """Versions are not part of the recipe, but a change of them should be noticed."""
    for name in _COMPARED_VERSIONS:
        theirs = {record.environment.get(name, ours.get(name)) for record in snapshot.records.values()}
        others = sorted(str(value) for value in theirs - {ours.get(name)})
        if others:
            reporter.message(f"warning: the store was made with {name} {', '.join(others)}, this is {ours.get(name)}")
