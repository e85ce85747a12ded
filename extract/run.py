"""`extract run`: resolve, list, plan, compute, summarize.

A run compares what is listed with what is stored, publishes a plan if the current one no longer says all there is to
do, and computes the plan's shards that are not committed yet. With nothing to compute, no network is loaded.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from extract.clock import Clock
from extract.images.decode import decode_policy
from extract.monitor import Monitor
from extract.planning import PlannedRun, part_of, plan_run
from extract.request import RunCall, RunOptions
from extract.resolve import Request, load_network, resolve, resolve_store
from extract.shard_worker import ShardTask, ShardWorker
from extract.signals import stop_on_signals, stopped_after
from extract.sources.base import Listing
from extract.sources.listing import list_data
from extract.sources.reading import open_images
from extract.status_file import followed
from extract.summary import Computed, RunResult, require_few_failures, summarize
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


def run(options: RunOptions, reporter: Reporter = SILENT) -> RunResult:
    """Do what `extract` does and report while it works; images that fail are only counted."""
    status_file = None if options.status_file is None else Path(options.status_file)
    with followed(status_file, os.fspath(options.out), reporter) as following:
        request = resolve(options, following)
        listing = list_data(options.data, options.include, options.exclude)
        report_listing(listing, following)
        planned = plan_run(request, listing, resolve_store(request, following))
        computed = compute(request, planned, following)
        return summarize(request, planned, computed)


def report_listing(listing: Listing, reporter: Reporter) -> None:
    """Say how DATA was understood, before hours go into it."""
    for note in listing.notes:
        reporter.message(f"note: {note}")
    reporter.message(count_labels(listing.table).sentence)


def compute(request: Request, planned: PlannedRun, reporter: Reporter) -> Computed:
    """Compute the plan's uncommitted shards, those of this run's part, here or on a cluster.

    Raises:
        StoppedEarly: a signal came.
        EnvironmentFailure: the store or an image cannot be reached, or the cluster's workers are gone.
    """
    snapshot = planned.snapshot
    indexes = part_of(snapshot, request.part)
    _report_idle_parts(request, snapshot, reporter)
    if not indexes or snapshot.plan is None:
        return Computed(0, 0, Clock(), None)
    worker = shard_worker(request, planned.resolved.info, planned.listing)
    worker = replace(worker, known=find_known(request.store, snapshot))
    worker.files().require_create_only()
    tasks = shard_tasks(snapshot, indexes)
    images = sum(snapshot.plan.shard_length(index) for index in indexes)
    with stop_on_signals() as stop:
        if request.options.scheduler is not None:
            from extract.cluster.client import connected
            from extract.cluster.run import run_on_cluster

            with connected(request.options.scheduler) as client, reporter.progress(images) as progress:
                monitor = Monitor(progress=progress, stop=stop)
                done, copied = run_on_cluster(client, worker, tasks, monitor, new_store=not snapshot.records)
            return Computed(done - copied, copied, monitor.clock, None)
        loaded = planned.resolved.loaded or load_network(request.network, reporter)
        worker.require_network(loaded.runtime, loaded.digest)
        _warn_of_versions(snapshot, worker.environment(loaded.runtime), reporter)
        with reporter.progress(images) as progress:
            monitor = Monitor(progress=progress, stop=stop)
            done = copied = 0
            for record in worker.run_shards(tasks, loaded.runtime, monitor, new_store=not snapshot.records):
                done += len(record.rows) + len(record.failures)
                copied += record.copied
        return Computed(done - copied, copied, monitor.clock, loaded)


def shard_worker(request: Request, info: StoreInfo, listing: Listing) -> ShardWorker:
    """What the request's shards are computed with."""
    return ShardWorker(
        info,
        request.network,
        request.store.absolute,
        open_images(listing.root).absolute,
        decode_policy(info.recipe, request.options.max_pixels),
        request.decoders,
        request.options.single_writer,
    )


def shard_tasks(snapshot: Snapshot, indexes: Sequence[int]) -> Iterator[ShardTask]:
    """The shards of the current plan with these numbers, one after the other."""
    plan = snapshot.plan
    if plan is None:
        return
    for index in indexes:
        slot = snapshot.next_slot(f"{plan.name}/{index}")
        yield ShardTask(plan.shard_paths(index), snapshot.info.recipe.views, slot=slot)


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
