"""What is asked against what is stored: which images are new, changed or gone, and where the others are kept."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from extract.changed_files import hold_bytes, memory_file
from extract.request import RunOptions
from extract.sources.listing import Listing
from extract.sources.reading import Images, images_at
from store.errors import UsageError
from store.plan import DESCRIPTION, Plan, stands
from store.snapshot import Snapshot


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

    `table` are the images it is to have (LISTING_SCHEMA, sorted by path); `holders` says for each of them the
    shard that keeps it, null where it has to be computed; `publish`: whether that takes a new plan.
    """

    table: pa.Table
    holders: pa.Array
    changes: Changes
    publish: bool

    @property
    def to_compute(self) -> int:
        """How many images have to be computed."""
        return int(self.holders.null_count)


def find_update(snapshot: Snapshot, listing: Listing, options: RunOptions) -> Update:
    """Compare a listing with a store; files are read only where size or time say to look.

    Raises:
        UsageError: more than half of the stored images are not listed, and `options.prune` is not set.
    """
    held = snapshot.held()
    unlisted = held.filter(pc.invert(pc.is_in(held["path"], value_set=listing.table["path"])))
    if len(unlisted) * 2 > len(held) and not options.prune:
        raise UsageError(
            f"{len(unlisted):,} of the {len(held):,} stored images are not in {options.data}: is it the right folder, "
            "and mounted? If they are really gone, run again with --prune"
        )
    table = listing.table
    if options.limit is not None:
        table = limited(table, options.limit, held, unlisted, snapshot.plan)
    positions = pc.index_in(table["path"], value_set=held["path"])
    known = held.select(["sha256", "size", "time", "failed"]).take(positions)
    changed = changed_images(table, known, images_at(listing.root), memory_file(options.out, options.data))
    again = changed | (known["failed"].fill_null(False).to_numpy() & options.retry_failed)
    holders = held["holder"].take(pc.if_else(pa.array(again), None, positions)).combine_chunks()
    new, differ = positions.null_count, int(changed.sum())
    stored = len(table) - new
    changes = Changes(new, changed=differ, gone=len(held) - stored, kept=stored - differ)
    publish = snapshot.plan is None or not stands(snapshot.plan, table, holders, snapshot.uncommitted_shards())
    return Update(table, holders, changes, publish)


def limited(table: pa.Table, limit: int, held: pa.Table, unlisted: pa.Table, plan: Plan | None) -> pa.Table:
    """The first `limit` images of a listing, and all that are stored already: a limit never shrinks a store.

    `held` is what is stored, `unlisted` the part of it that the listing lacks.
    """
    first = np.arange(len(table)) < limit
    part = table.filter(pc.or_(pa.array(first), pc.is_in(table["path"], value_set=held["path"])))
    if len(unlisted) == 0 or plan is None:
        return part
    stored = plan.rows.select(DESCRIPTION).take(pc.index_in(unlisted["path"], value_set=plan.rows["path"]))
    for name in ("size", "time"):
        stored = stored.append_column(name, unlisted[name])
    return pa.concat_tables([part, stored]).sort_by("path")


def changed_images(table: pa.Table, known: pa.Table, images: Images, memory: Path) -> npt.NDArray[np.bool_]:
    """Which images of `table` are stored with other bytes.

    Args:
        table: LISTING_SCHEMA.
        known: what the store knows of each image (columns of HELD), null of new ones.
        images: where they are.
        memory: where touched files are remembered.
    """
    same_size = pc.equal(table["size"], known["size"])
    untouched = pc.and_(same_size, pc.equal(table["time"], known["time"]))
    comparable = pc.and_(same_size, pc.not_equal(known["sha256"], ""))
    touched = ~untouched.fill_null(True).to_numpy()
    changed: npt.NDArray[np.bool_] = touched & ~comparable.fill_null(False).to_numpy()
    unsure = np.flatnonzero(touched & ~changed)
    if len(unsure):
        files = table.select(["path", "time"]).append_column("sha256", known["sha256"]).take(unsure)
        changed[unsure] = ~hold_bytes(files, images, memory)
    return changed
