"""The small JSON files of a store: store.json, view/<n>.json and the commit records.

Plain frozen dataclasses with `to_bytes` and `from_bytes`; nothing here touches a disk. A store of a million
images has as many rows in its commit records: they are kept as pyarrow tables, a tenth of what Python objects take.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa

from store.errors import DamagedStore, NotAStore
from store.recipe import Output, Recipe

FORMAT = "stillframe"
VERSION = 1
_SHARD_NAME = re.compile(r"([0-9a-f]{64}\.[a-z0-9]+)?")


def _encode(values: dict[str, Any]) -> bytes:
    return _utf8(json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def _utf8(text: str) -> bytes:
    # A path that is not UTF-8 has lone surrogates in Python: JSON's own escape, \udcNN, keeps them.
    return text.encode(errors="backslashreplace")


def _decode(data: bytes, what: str) -> dict[str, Any]:
    try:
        values = json.loads(data)
    except ValueError as error:
        raise DamagedStore(
            f"{what} is not valid JSON ({error}): restore it from a backup, or extract into a new store"
        ) from error
    if not isinstance(values, dict):
        raise DamagedStore(
            f"{what} holds {type(values).__name__}, expected an object: restore it, or extract into a new store"
        )
    return values


@dataclass(frozen=True)
class StoreInfo:
    """store.json: what the store is. Created once, never changed."""

    recipe: Recipe
    outputs: tuple[Output, ...]
    shard_format: str
    compression: str = "zstd"

    def to_bytes(self) -> bytes:
        """The content of store.json."""
        return _encode(
            {
                "format": FORMAT,
                "version": VERSION,
                "fingerprint": self.recipe.fingerprint,
                "recipe": self.recipe.to_dict(),
                "outputs": [output.to_dict() for output in self.outputs],
                "shard_format": self.shard_format,
                "compression": self.compression,
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` wrote.

        Raises:
            NotAStore: another program's file, or a later version of this format.
            DamagedStore: the fingerprint is not that of the recipe.
        """
        values = _decode(data, "store.json")
        if values.get("format") != FORMAT:
            raise NotAStore(
                f"store.json has format {values.get('format')!r}, expected {FORMAT!r}: not a Stillframe store"
            )
        if values.get("version") != VERSION:
            raise NotAStore(
                f"the store has format version {values.get('version')!r}, this program reads {VERSION}: "
                "use the Stillframe version that wrote it, or a newer one"
            )
        try:
            recipe = Recipe.from_dict(values["recipe"])
            outputs = tuple(Output.from_dict(output) for output in values["outputs"])
            info = cls(recipe, outputs, values["shard_format"], values["compression"])
            fingerprint = values["fingerprint"]
        except (AttributeError, KeyError, TypeError) as error:
            raise DamagedStore(f"store.json lacks or misspells a field ({error}): restore it from a backup") from error
        if fingerprint != recipe.fingerprint:
            raise DamagedStore(
                "store.json was edited: its fingerprint is not that of its recipe; restore it from a backup"
            )
        return info


@dataclass(frozen=True)
class CurrentPlan:
    """view/<n>.json: names the plan that is the current one, and where its images were found."""

    plan: str
    data: str
    created: str

    @staticmethod
    def file(number: int) -> str:
        """The name of the n-th such file; the highest number counts."""
        return f"view/{number}.json"

    def to_bytes(self) -> bytes:
        """The content of a view file."""
        return _encode(asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` wrote."""
        values = _decode(data, "a view file")
        try:
            return cls(**values)
        except TypeError as error:
            raise DamagedStore(f"a view file lacks or misspells a field ({error}): restore it from a backup") from error


@dataclass(frozen=True)
class ShardSlot:
    """What one record is published for: shard `index` of the plan of that name; `attempt` counts from 1."""

    plan: str
    index: int
    attempt: int

    @property
    def file(self) -> str:
        """The record's name within the store."""
        return f"commit/{self.plan}/{self.index:06d}.{self.attempt}.json"


@dataclass(frozen=True, slots=True)
class Row:
    """One stored row, as its commit record knows it.

    `sha256` is of the source bytes; `size` (bytes) and `time` (modification, ns) are hints for when to look again.
    """

    path: str
    sha256: str
    size: int
    time: int


@dataclass(frozen=True, slots=True)
class Failure:
    """One image that gave no row, why, and what the file looked like then (a missing file has size -1)."""

    path: str
    code: str
    message: str
    sha256: str = ""
    size: int = -1
    time: int = 0


ROWS = pa.schema({"path": pa.string(), "sha256": pa.string(), "size": pa.int64(), "time": pa.int64()})
"""The fields of `Row` as columns."""

FAILURES = pa.schema([ROWS.field("path"), ("code", pa.string()), ("message", pa.string()), *list(ROWS)[1:]])
"""The fields of `Failure` as columns."""


def row_table(rows: Sequence[Row]) -> pa.Table:
    """Rows as columns (ROWS)."""
    return pa.table({name: [getattr(row, name) for row in rows] for name in ROWS.names}, schema=ROWS)


def failure_table(failures: Sequence[Failure]) -> pa.Table:
    """Failures as columns (FAILURES)."""
    columns = {name: [getattr(failure, name) for failure in failures] for name in FAILURES.names}
    # Some are a decoder's own words: a lone surrogate in them would fit into no column.
    columns["message"] = [_utf8(message).decode() for message in columns["message"]]
    return pa.table(columns, schema=FAILURES)


@dataclass(frozen=True)
class CommitRecord:
    """commit/<plan>/<shard>.<attempt>.json: a shard exists if and only if this does.

    `shard` is the name of the file in data/ (empty when every image failed), `shard_bytes` its length.
    `rows` has the columns ROWS, position in it is position in the shard; `failures` has FAILURES.
    A record with `withdrawn` takes an earlier attempt back: the shard has to be computed again.
    """

    plan: str
    index: int
    attempt: int
    fingerprint: str
    shard: str
    shard_bytes: int
    rows: pa.Table
    failures: pa.Table
    environment: dict[str, str] = field(default_factory=dict)
    withdrawn: str = ""

    @property
    def images(self) -> pa.Table:
        """Every image of the shard, its rows and then its failures: the columns ROWS, and which `failed`."""
        failed = np.arange(len(self.rows) + len(self.failures)) >= len(self.rows)
        images = pa.concat_tables([self.rows, self.failures.select(ROWS.names)])
        return images.append_column("failed", pa.array(failed)).combine_chunks()

    def shard_rows(self, views: int) -> pa.Table:
        """Path, view and sha256 of the shard's rows: each image's views one after the other, the unaltered one first."""
        rows = self.rows.select(["path", "sha256"]).take(np.repeat(np.arange(len(self.rows)), views))
        return rows.add_column(1, "view", [np.tile(np.arange(views, dtype=np.int16), len(self.rows))])

    def to_bytes(self) -> bytes:
        """The content of a commit record: rows as lists, to keep large records small."""
        head = {
            "plan": self.plan,
            "index": self.index,
            "attempt": self.attempt,
            "fingerprint": self.fingerprint,
            "shard": self.shard,
            "shard_bytes": self.shard_bytes,
            "environment": self.environment,
            "withdrawn": self.withdrawn,
            "row_fields": ROWS.names,
        }
        columns = (self.rows[name].to_pylist() for name in ROWS.names)
        rows = ",\n".join(map(json.JSONEncoder(ensure_ascii=False).encode, zip(*columns, strict=True)))
        failures = json.dumps(self.failures.to_pylist(), ensure_ascii=False, indent=1)
        return _utf8(f'{json.dumps(head, indent=1)[:-2]},\n "rows": [\n{rows}\n],\n "failures": {failures}\n}}\n')

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` wrote.

        Raises:
            DamagedStore: it is not, or its shard could lie outside data/.
        """
        values = _decode(data, "a commit record")
        try:
            del values["row_fields"]
            values["rows"] = row_table([Row(*row) for row in values["rows"]])
            values["failures"] = failure_table([Failure(**failure) for failure in values["failures"]])
            record = cls(**values)
            plain = _SHARD_NAME.fullmatch(record.shard)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise DamagedStore(f"a commit record lacks or misspells a field ({error}): run `store repair`") from error
        if any(column.null_count for column in [*record.rows.columns, *record.failures.columns]):
            raise DamagedStore("a commit record has null where a row or failure needs a value: run `store repair`")
        if not plain:
            raise DamagedStore(
                f"a commit record names the shard {record.shard!r}, expected <sha256>.<ending>: run `store repair`"
            )
        return record
