"""What is listed against what is stored: which images are new, changed or gone, and the plan that brings a store up to date."""

import os
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from extract.changed_files import memory_file, same_bytes
from extract.request import RunOptions
from extract.resolve import Request, ResolvedStore, require_same_recipe
from extract.sources.base import Listing
from extract.sources.reading import digests, open_images
from store.errors import UsageError
from store.files.names import is_url, row_name
from store.plan import DESCRIPTION, Plan, automatic_images_per_shard, make_plan, plan_is_current
from store.recipe import Output
from store.records import StoreInfo
from store.snapshot import Snapshot, load_snapshot
from store.writer import StoreWriter

_SECOND = 10**9  # ns


@dataclass(frozen=True)
class Changes:
    """How a listing differs from what a store holds: numbers of images."""

    new: int
    changed: int
    gone: int
    kept: int


@dataclass(frozen=True)
class Update:
    """What brings a store up to a listing.

    Attributes:
        table: the images that the store is to have (LISTING_SCHEMA), sorted by path.
        shard_keys: for each of them the shard that holds it already, null where it has to be computed.
        changes: how that differs from what is stored.
        needs_plan: whether a new plan has to be published.
    """

    table: pa.Table
    shard_keys: pa.Array
    changes: Changes
    needs_plan: bool

    @property
    def to_compute(self) -> int:
        """How many images have to be computed."""
        return int(self.shard_keys.null_count)


@dataclass(frozen=True)
class PlannedRun:
    """A store whose current plan says what this run has to do, and how the listing differed from the store before."""

    snapshot: Snapshot
    listing: Listing
    changes: Changes
    resolved: ResolvedStore


def plan_run(request: Request, listing: Listing, resolved: ResolvedStore) -> PlannedRun:
    """Create the store if there is none, and publish a plan unless the current one says all there is to do.

    Where another process publishes its plan first, the store has changed: it is compared with the listing again.

    Raises:
        UsageError: more than half of the stored images are lost, and --prune is not given.
        RecipeMismatch: another process has just created the store, with another recipe.
        EnvironmentFailure: the store cannot be written.
    """
    snapshot = resolved.snapshot or _create_store(request, resolved)
    if snapshot.info.recipe != resolved.info.recipe:
        # another process was first, and has quantized the network on its own
        resolved = ResolvedStore(snapshot.info, snapshot, None)
    while True:
        update = find_update(snapshot, listing, request)
        if not update.needs_plan:
            return PlannedRun(snapshot, listing, update.changes, resolved)
        plan = plan_for(snapshot, update, request)
        if StoreWriter(request.store, snapshot.info).publish_plan(plan, _place(request.options.data)):
            return PlannedRun(load_snapshot(request.store, plan.number), listing, update.changes, resolved)
        snapshot = load_snapshot(request.store)


def _create_store(request: Request, resolved: ResolvedStore) -> Snapshot:
    """Create the store; if another process was first, its recipe must be the same."""
    info = StoreWriter(request.store).create(resolved.info, resolved.network)
    require_same_recipe(request, info, resolved.info.recipe.weights)
    return load_snapshot(request.store)


def _place(data: str | os.PathLike[str]) -> str:
    """Where the images are, named from anywhere, as a row name: JSON cannot hold every file name."""
    return row_name(os.fspath(data) if is_url(data) else os.path.abspath(data))


def plan_for(snapshot: Snapshot, update: Update, request: Request) -> Plan:
    """The plan that comes after a store's current one. An unfinished plan hands on its own shard size."""
    if snapshot.plan is not None and snapshot.uncommitted_shards():
        images = snapshot.plan.images_per_shard
    else:
        automatic = automatic_images_per_shard(row_bytes(snapshot.info.outputs), snapshot.info.recipe.views)
        images = request.images_per_shard or automatic
    return make_plan(update.table, update.shard_keys, images, snapshot.number + 1, retry=request.options.retry_failed)


def row_bytes(outputs: tuple[Output, ...]) -> int:
    """Bytes of one row's features before compression."""
    return sum(int(np.prod(output.shape)) * np.dtype(output.dtype).itemsize for output in outputs)


def image_bytes(info: StoreInfo) -> int:
    """Bytes of the features of one image, all views, before compression."""
    return info.recipe.views * row_bytes(info.outputs)


def part_of(snapshot: Snapshot, part: tuple[int, int] | None) -> list[int]:
    """The current plan's uncommitted shards that belong to a part (i, n): every n-th from the i-th; all without one."""
    number, count = part or (0, 1)
    return [index for index in snapshot.uncommitted_shards() if index % count == number]


def find_update(snapshot: Snapshot, listing: Listing, request: Request) -> Update:
    """Compare a listing with a store; files are read only where size or time give a reason to.

    Raises:
        UsageError: more than half of the stored images are lost, and --prune is not given.
        EnvironmentFailure: such a file cannot be read now.
    """
    options, committed = request.options, snapshot.committed_images()
    unlisted = committed.filter(pc.invert(pc.is_in(committed["path"], value_set=listing.table["path"])))
    half = len(committed) // 2
    if len(unlisted) > half and not options.prune:
        lost = _lost_images(committed, unlisted, listing, half)
        if lost > half:
            raise UsageError(
                f"{lost:,} of the {len(committed):,} stored images are not in {options.data}, under any name: is it the "
                "right folder, and mounted? If they are gone, run again with --prune"
            )
    table = listing.table
    if options.limit is not None:
        table = limited(table, options.limit, committed, unlisted, snapshot.plan)
    positions = pc.index_in(table["path"], value_set=committed["path"])
    known = _known_of(committed, positions)
    changed = _changed_images(table, known, listing.root, options)
    again = changed | (_to_retry(snapshot, known, request.part) if options.retry_failed else False)
    shard_keys = committed["shard_key"].take(pc.if_else(pa.array(again), None, positions)).combine_chunks()
    new, differ = positions.null_count, int(changed.sum())
    stored = len(table) - new
    changes = Changes(new, changed=differ, gone=len(committed) - stored, kept=stored - differ)
    current = snapshot.plan is not None and plan_is_current(
        snapshot.plan, table, shard_keys, snapshot.uncommitted_shards()
    )
    return Update(table, shard_keys, changes, needs_plan=not current)


def _lost_images(committed: pa.Table, unlisted: pa.Table, listing: Listing, few: int) -> int:
    """How many stored images are gone in name and content: no listed file has their bytes. Counting ends at `few`, or at
    more than that, where their sizes alone show that they are gone.

    Files are read only if enough of them could be images under new names, by their sizes.
    """
    listed, stored = listing.table, committed.filter(pc.is_in(committed["path"], value_set=listing.table["path"]))
    copies = pc.and_(pc.is_in(unlisted["sha256"], value_set=stored["sha256"]), pc.not_equal(unlisted["sha256"], ""))
    gone = unlisted.filter(pc.invert(copies))
    new = listed.filter(pc.invert(pc.is_in(listed["path"], value_set=committed["path"])))
    candidates = new.filter(pc.is_in(new["size"], value_set=gone["size"]))
    lost, by_digest = len(gone), Counter(gone["sha256"].to_pylist())
    certain: int = pc.is_in(gone["size"], value_set=candidates["size"]).to_pylist().count(False)
    if certain > few:
        return certain
    found = digests(open_images(listing.root), candidates["path"].to_pylist())
    while lost > few and (sha256 := next(found, None)) is not None:
        lost -= by_digest.pop(sha256, 0) if sha256 else 0
    return lost


def _known_of(committed: pa.Table, positions: pa.ChunkedArray) -> pa.Table:
    """What is stored of each listed image; a listing that has not changed takes no copy of it all."""
    same = positions.null_count == 0 and np.array_equal(positions.to_numpy(), np.arange(len(committed)))
    return committed if same else committed.take(positions)


def _to_retry(snapshot: Snapshot, known: pa.Table, part: tuple[int, int] | None) -> npt.NDArray[np.bool_]:
    """Which stored images failed and are to be tried again.

    A plan that was made to retry has tried its own failures once. They are not tried again while it is unfinished,
    nor by parts, which come one after the other: each would publish a plan of its own and drop the others' shards.
    """
    failed: npt.NDArray[np.bool_] = known["failed"].fill_null(False).to_numpy()
    plan = snapshot.plan
    if plan is None or not plan.retry or (part is None and not snapshot.uncommitted_shards()):
        return failed
    own = pc.starts_with(known["shard_key"].cast(pa.string()), f"{plan.name}/").fill_null(False).to_numpy()
    retried: npt.NDArray[np.bool_] = failed & ~own
    return retried


def limited(table: pa.Table, limit: int, committed: pa.Table, unlisted: pa.Table, plan: Plan | None) -> pa.Table:
    """The first `limit` images of a listing and all that are stored already: a limit never shrinks a store.

    Args:
        table: the listing.
        limit: how many of its images.
        committed: what is stored.
        unlisted: the part of it that the listing lacks.
        plan: the current one, which describes those images.
    """
    first = np.arange(len(table)) < limit
    part = table.filter(pc.or_(pa.array(first), pc.is_in(table["path"], value_set=committed["path"])))
    if len(unlisted) == 0 or plan is None:
        return part
    stored = plan.rows.select(DESCRIPTION).take(pc.index_in(unlisted["path"], value_set=plan.rows["path"]))
    for name in ("size", "time"):
        stored = stored.append_column(name, unlisted[name])
    return pa.concat_tables([part, stored]).sort_by("path")


def _changed_images(table: pa.Table, known: pa.Table, root: str, options: RunOptions) -> npt.NDArray[np.bool_]:
    """Which images of `table` are stored with other bytes; `known` is what the store knows of each, null of new ones."""
    possible, unsure = possibly_changed(table, known, whole_seconds=is_url(root))
    changed = possible & ~unsure
    doubtful = np.flatnonzero(unsure)
    if len(doubtful):
        files = table.select(["path", "time"]).append_column("sha256", known["sha256"]).take(doubtful)
        changed[doubtful] = ~same_bytes(files, open_images(root), memory_file(options.out, options.data))
    return changed


def possibly_changed(
    table: pa.Table, known: pa.Table, whole_seconds: bool
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which stored images have another size or time now, and for which of these only their bytes decide.

    Args:
        table: LISTING_SCHEMA.
        known: what the store knows of each image, null of new ones.
        whole_seconds: compare times to the second: object stores list milliseconds and answer seconds, or the reverse.
    """
    listed, stored = table["time"], known["time"]
    if whole_seconds:
        listed, stored = (pc.divide(times, pa.scalar(_SECOND, pa.int64())) for times in (listed, stored))
    same_size = pc.equal(table["size"], known["size"])
    unchanged = pc.and_(same_size, pc.equal(listed, stored))
    comparable = pc.and_(same_size, pc.not_equal(known["sha256"], ""))
    possible: npt.NDArray[np.bool_] = ~unchanged.fill_null(True).to_numpy()
    unsure: npt.NDArray[np.bool_] = possible & comparable.fill_null(False).to_numpy()
    return possible, unsure
