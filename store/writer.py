"""The writer of a store: every file that is published in one is published here.

The protocol, which docs/store-format.md repeats word for word:

1. A file MUST be published whole or not at all, and never over another: the first process to give a name wins.
2. `store.json` MUST be published first. A process that finds it there MUST use the recipe that it states.
3. A plan MUST be published before the file in `view/` that names it.
4. A file in `view/` MUST be numbered one higher than the highest its writer knows. If that number is taken, the writer
   MUST read the store again and plan anew.
5. A shard MUST be read back and compared with what was to be stored before it is published.
6. A shard MUST be named by the SHA-256 of its bytes. A file of that name with other bytes is damaged; a writer MUST
   replace it.
7. A shard MUST be published before the record that names it.
8. A record MUST list each image of its shard exactly once, as a row or as a failure.
9. A record MUST have an attempt one higher than the highest its writer knows. If that attempt is taken, the published
   record counts.
10. Two processes MAY compute the same shard at the same time: one of their records is published, and counts.
11. A shard is withdrawn by publishing a record, one attempt higher, that has a reason and no rows. Published records
    MUST NOT be changed.
12. A reader MUST trust records alone, the highest attempt of each shard: a file in `data/` that no record names does not
    exist.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from store.errors import EnvironmentFailure
from store.files.base import INFO, Files
from store.formats import Shard, check_round_trip, get_format
from store.plan import Plan
from store.records import CommitRecord, CurrentPlan, ShardSlot, StoreInfo, failure_table, row_table


@dataclass(frozen=True)
class ShardContent:
    """What is committed of one shard.

    `shard` has the rows and tensors, `images` (ROWS) the stored images in the same order, `failures` (FAILURES) those
    that gave no row. An image with several views has as many rows in `shard` and one in `images`.
    """

    shard: Shard
    images: pa.Table
    failures: pa.Table


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
        """What store.json says."""
        if self._info is None:
            self._info = StoreInfo.from_bytes(self._files.read(INFO))
        return self._info

    def create(self, info: StoreInfo) -> StoreInfo:
        """Make the folder a store; returns what its store.json says, which may be another process's."""
        data = info.to_bytes()
        if not self._files.create(INFO, data):
            data = self._files.read(INFO)
        self._info = StoreInfo.from_bytes(data)
        return self._info

    def publish_plan(self, plan: Plan, data: str) -> bool:
        """Make `plan` the current one; False if another process was first to publish one of this number.

        Args:
            plan: its number is one higher than that of the current plan.
            data: where the images are, a folder or a table.
        """
        current = CurrentPlan(plan.name, data, datetime.now(UTC).isoformat(timespec="seconds"))
        self._files.create(plan.file, plan.data)
        return self._files.create(current.file(plan.number), current.to_bytes())

    def commit(self, slot: ShardSlot, content: ShardContent, environment: Mapping[str, str]) -> CommitRecord:
        """Publish a shard, then its record; returns the record that counts, which may be another process's.

        Raises:
            DamagedStore: the shard did not read back as it was written.
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
            environment=dict(environment),
        )
        if data:
            self._publish_shard(f"data/{record.shard}", data)
        if self._files.create(slot.file, record.to_bytes()):
            return record
        return CommitRecord.from_bytes(self._files.read(slot.file))

    @staticmethod
    def encode(content: ShardContent, info: StoreInfo) -> bytes:
        """The bytes of the shard that `commit` would publish, read back and checked; none where there are no rows."""
        if len(content.shard.rows) == 0:
            return b""
        shard_format = get_format(info.shard_format)
        data = shard_format.encode(content.shard, info.outputs, info.recipe.fingerprint)
        check_round_trip(shard_format, data, content.shard, info.outputs)
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

    def _publish_shard(self, name: str, data: bytes) -> None:
        """Publish a shard file; a damaged file that has its name is replaced."""
        if self._files.create(name, data) or self._files.read(name) == data:
            return
        self._files.remove(name)
        if not self._files.create(name, data):
            raise EnvironmentFailure(f"another process keeps writing {name}: run the same command again")
