"""The writer of a store: every file that is published in one is published here.

The protocol, which docs/store-format.md repeats word for word:

1. A file MUST be published whole or not at all, and never over another: the first process to give a name wins.
2. `store.json` MUST be published first, then `store.copy.json` with the same bytes; the quantized network that a recipe
   names MUST be published before both. A process that finds `store.json` there MUST use the recipe that it states, and MAY
   add a missing copy. Only to repair a store MAY one that is damaged or missing be replaced by the other.
3. A plan MUST be published before the file in `view/` that names it.
4. A file in `view/` MUST be numbered one higher than the highest its writer knows. If that number is taken, the writer
   MUST read the store again and make a new plan.
5. A shard MUST be read back and compared with what was to be stored before it is published.
6. A shard, a plan and a quantized network MUST be named by the SHA-256 of their bytes. A file of such a name with other
   bytes is damaged; a writer MUST replace it.
7. A shard MUST be published before the record that names it. After publishing the record its writer MUST check whether
   the shard is still there, and publish it again if not. The same holds for a plan and the file in `view/`.
8. A record MUST list each image of its shard exactly once, as a row or as a failure.
9. A record MUST have an attempt one higher than the highest its writer knows. If that attempt is taken, the published
   record counts.
10. Two processes MAY compute the same shard at the same time: one of their records is published, and counts.
11. A shard is withdrawn by publishing a record, one attempt higher, that has a reason and no rows. Published records
    MUST NOT be changed.
12. A reader MUST trust records alone, the highest attempt of each shard: a file in `data/` that no record names does not
    exist. It MUST pass over JSON fields that it does not know, except in the recipe, where it MUST refuse them.
13. A file that `store.json`, the newest file in `view/`, its plan and that plan's records do not need MAY be deleted.
    Files MUST NOT be deleted while one of these cannot be read.
14. A process that deletes a shard, a plan or a network MUST set it aside, read the records again, and put it back if it
    is needed now. In an object store, which cannot set aside, the records MUST be read again right before the deletion.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from store.errors import EnvironmentFailure, UsageError
from store.files.base import COPY, INFO, Files
from store.formats import Shard, check_round_trip, get_format, packed_shard
from store.image_records import failure_table, row_table
from store.json_values import MOST_BYTES
from store.plan import Plan
from store.quantization import network_file
from store.records import COPIED, MOST_RECORD_BYTES, CommitRecord, CurrentPlan, ShardSlot, StoreInfo


@dataclass(frozen=True)
class ShardContent:
    """What is committed of one shard.

    `shard` has the rows and tensors, `images` (ROWS) the stored images in the same order, `failures` (FAILURES) those
    that gave no row. An image with several views has as many rows in `shard` and one in `images`. `copied` is the number of
    images whose features come from another shard, which has them under another name.
    """

    shard: Shard
    images: pa.Table
    failures: pa.Table
    copied: int = 0


class StoreWriter:
    """Publishes a store's files. Several may write to one store at once, in any processes on any machines.

    Args:
        files: the store's folder.
        info: what its store.json says, where the caller has read it.

    Raises (every method):
        EnvironmentFailure: the store cannot be written.
    """

    def __init__(self, files: Files, info: StoreInfo | None = None) -> None:
        self._files = files
        self._info = info

    @property
    def info(self) -> StoreInfo:
        """The content of store.json."""
        if self._info is None:
            self._info = StoreInfo.from_bytes(self._files.read_small(INFO, MOST_BYTES))
        return self._info

    def create(self, info: StoreInfo, network: bytes = b"") -> StoreInfo:
        """Make the folder a store; returns what its store.json says, which may be another process's.

        Args:
            info: what the store is to hold.
            network: the file of the quantized network, if the recipe has one.
        """
        if info.recipe.quantization is not None:
            self._publish_named(network_file(info.recipe.quantization.network), network)
        data = info.to_bytes()
        if not self._files.create(INFO, data):
            data = self._files.read_small(INFO, MOST_BYTES)
        self._info = StoreInfo.from_bytes(data)
        self._files.create(COPY, data)
        return self._info

    def restore(self, name: str, data: bytes) -> None:
        """Publish store.json or its copy again, where it is damaged or missing: `data` is what the other one has."""
        self._files.remove(name)
        self._files.create(name, data)
        self._info = None

    def publish_plan(self, plan: Plan, data: str) -> bool:
        """Make `plan` the current one; False if another process was first to publish one of this number.

        Args:
            plan: its number is one higher than that of the current plan.
            data: where the images are, a folder or a table.
        """
        self._add_copy()
        self._publish_named(plan.file, plan.data)
        if not self.make_current(plan.name, plan.number, data):
            return False
        self._ensure(plan.file, plan.data)
        return True

    def make_current(self, plan: str, number: int, data: str) -> bool:
        """Publish the file in view/ of that number, which names a published plan; False if another process was first."""
        current = CurrentPlan(plan, data, datetime.now(UTC).isoformat(timespec="seconds"))
        return self._files.create(CurrentPlan.file(number), current.to_bytes())

    def commit(self, slot: ShardSlot, content: ShardContent, environment: Mapping[str, str]) -> CommitRecord:
        """Publish a shard, then its record; returns the record of that slot.

        If another process has taken the slot, that is its record, and nothing of ours counts. It may be a withdrawal,
        which has neither rows nor failures: the shard is then to be computed again, at the next attempt.

        Raises:
            DamagedStore: the shard did not read back as it was written.
            UsageError: its record would be longer than readers take.
        """
        data = self.encode(content, self.info)
        record = CommitRecord(
            plan=slot.plan,
            index=slot.index,
            attempt=slot.attempt,
            fingerprint=self.info.recipe.fingerprint,
            shard=self._shard_name(data) if data else "",
            shard_bytes=len(data),
            rows=content.images,
            failures=content.failures,
            environment={**environment, **({COPIED: str(content.copied)} if content.copied else {})},
        )
        published = record.to_bytes()
        if len(published) > MOST_RECORD_BYTES:
            raise UsageError(
                f"a shard of {len(content.images):,} images has a record of {len(published):,} bytes, expected "
                f"{MOST_RECORD_BYTES:,} at most: choose a smaller --shard-rows"
            )
        if data:
            self._publish_named(f"data/{record.shard}", data)
        if not self._files.create(slot.file, published):
            return CommitRecord.from_bytes(self._files.read_small(slot.file, MOST_RECORD_BYTES))
        if data:
            self._ensure(f"data/{record.shard}", data)
        return record

    @staticmethod
    def encode(content: ShardContent, info: StoreInfo) -> bytes:
        """The bytes of the shard that `commit` would publish, read back and checked; none where there are no rows."""
        if len(content.shard.rows) == 0:
            return b""
        shard_format = get_format(info.shard_format)
        shard = packed_shard(shard_format, content.shard, info.compression)
        data = shard_format.encode(shard, info.outputs, info.recipe.fingerprint, info.compression)
        check_round_trip(shard_format, data, shard, info.outputs)
        return data

    def withdraw(self, slot: ShardSlot, reason: str) -> bool:
        """Withdraw a shard's earlier attempts, so that it is computed again; False if another process was first."""
        record = CommitRecord(
            plan=slot.plan,
            index=slot.index,
            attempt=slot.attempt,
            fingerprint=self.info.recipe.fingerprint,
            shard="",
            shard_bytes=0,
            rows=row_table([]),
            failures=failure_table([]),
            withdrawn=reason,
        )
        return self._files.create(slot.file, record.to_bytes())

    def _shard_name(self, data: bytes) -> str:
        return f"{hashlib.sha256(data).hexdigest()}.{get_format(self.info.shard_format).suffix}"

    def _publish_named(self, name: str, data: bytes) -> None:
        """Publish a file that is named by its bytes; a damaged file that has the name is replaced."""
        if self._files.create(name, data) or self._has(name, data):
            return
        self._files.remove(name)
        if not self._files.create(name, data) and not self._has(name, data):
            raise EnvironmentFailure(f"another process keeps writing {name}: run the same command again")

    def _has(self, name: str, data: bytes) -> bool:
        """Whether the file is there with these bytes."""
        try:
            return self._files.read(name) == data
        except FileNotFoundError:  # `store gc` deleted it just now
            return False

    def _ensure(self, name: str, data: bytes) -> None:
        """Publish a file again if `store gc` deleted it before it was named: an unused file of that name may have been there."""
        if self._files.status(name) is None:
            self._files.create(name, data)

    def _add_copy(self) -> None:
        """Publish the copy of store.json in a store of a version that made none."""
        if self._files.status(COPY) is None:
            self._files.create(COPY, self._files.read_small(INFO, MOST_BYTES))
