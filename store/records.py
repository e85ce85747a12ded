"""The small JSON files of a store: store.json, view/<n>.json and the commit records.

Plain frozen dataclasses with `to_bytes` and `from_bytes`; nothing here touches a disk. A store of a million
images has as many rows in its commit records: they are pyarrow tables, a tenth of what Python objects take.

Fields that this version does not know are passed over, for a newer one may have written them; in the recipe alone they
are refused, for there they change what a feature means. Older versions of the format are read through UPGRADES.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Annotated, Self

import numpy as np
import pyarrow as pa

from store.choices import COMPRESSIONS
from store.errors import DamagedStore, NotAStore
from store.formats import FORMATS
from store.image_records import ROWS, failures_of, rows_of
from store.json_values import JsonObject, as_list, as_object, decode, encode, utf8
from store.quantization import Agreement
from store.recipe import Output, Recipe
from store.schema import InvalidField, Like, OneOf, Range, Sha256, read_fields, shown

FORMAT = "stillframe"
VERSION = 2

UPGRADES: dict[int, Callable[[JsonObject], JsonObject]] = {
    1: lambda values: {**values, "version": 2},  # 2: `compression` may be another than zstd
}
"""For each older version of store.json, a function that makes of its object one of the next version."""

MOST_RECORD_BYTES = 2**28
"""Of a commit record, which has that of a million and a half images."""

_NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
_MOST_SHARDS = 2**31 - 1  # a plan's column of them is int32
_ShardName = Annotated[str, Like(r"([0-9a-f]{64}\.[a-z0-9]+)?", "<sha256>.<ending>")]

COPIED = "copied"
"""In a record's environment: how many of its images have features that were copied from another shard, if any have."""

SECONDS = "seconds"
"""In a record's environment: how long the run took for the shard, from the end of the one before it, or from the first
read; without loading the network. Stores of earlier versions do not say it."""


@dataclass(frozen=True)
class StoreInfo:
    """store.json: what the store is. Created once, never changed. `agreements` are those of precision int8, by output."""

    recipe: Recipe
    outputs: tuple[Output, ...]
    shard_format: Annotated[str, OneOf(tuple(FORMATS))]
    compression: Annotated[str, OneOf(COMPRESSIONS)] = "zstd"
    agreements: tuple[Agreement, ...] = ()

    def to_bytes(self) -> bytes:
        """The content of store.json. What version 1 can say is written as version 1, for the programs that read that."""
        values: JsonObject = {
            "format": FORMAT,
            "version": 1 if self.compression == "zstd" else VERSION,
            "fingerprint": self.recipe.fingerprint,
            "recipe": self.recipe.to_dict(),
            "outputs": [output.to_dict() for output in self.outputs],
            "shard_format": self.shard_format,
            "compression": self.compression,
            **({"agreements": [asdict(agreement) for agreement in self.agreements]} if self.agreements else {}),
        }
        return encode({**values, "digest": _digest(values)})

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` wrote, in this version or an older one.

        Raises:
            NotAStore: another program's file, or a later version of this format.
            DamagedStore: it is not what was written.
        """
        values = decode(data, "store.json")
        if values.get("format") != FORMAT:
            raise NotAStore(
                f"store.json has format {shown(values.get('format'))}, expected {FORMAT!r}: not a Stillframe store"
            )
        _require_version(values)
        written = {name: value for name, value in values.items() if name != "digest"}
        if "digest" in values and values["digest"] != _digest(written):  # 0.5.0 wrote none
            raise DamagedStore("store.json was edited: its digest is not that of its content; run `store repair`")
        return cls._from_current(_upgraded(values))

    @classmethod
    def _from_current(cls, values: JsonObject) -> Self:
        try:
            recipe = Recipe.from_dict(as_object(values.get("recipe"), "recipe"), "recipe.")
            outputs = tuple(
                Output.from_dict(as_object(output, f"outputs[{number}]"), f"outputs[{number}].")
                for number, output in enumerate(as_list(values.get("outputs"), "outputs"))
            )
            agreements = tuple(
                read_fields(Agreement, as_object(one, f"agreements[{number}]"), within=f"agreements[{number}].")
                for number, one in enumerate(as_list(values.get("agreements", []), "agreements"))
            )
            if "compression" not in values:
                raise InvalidField("compression is missing: expected text")
            info = read_fields(cls, values, {"recipe": recipe, "outputs": outputs, "agreements": agreements})
        except InvalidField as error:
            raise DamagedStore(f"store.json has a missing or invalid field ({error}): run `store repair`") from error
        if values.get("fingerprint") != recipe.fingerprint:
            raise DamagedStore("store.json was edited: its fingerprint is not that of its recipe; run `store repair`")
        if problem := info._inconsistency():
            raise DamagedStore(f"store.json was edited: {problem}; run `store repair`")
        return info

    def _inconsistency(self) -> str:
        """What in the outputs contradicts the recipe; empty if nothing does."""
        recipe, outputs = self.recipe, self.outputs
        if (recipe.layers, recipe.dtypes) != (
            tuple(output.layer for output in outputs),
            tuple(output.dtype for output in outputs),
        ):
            return "its outputs are not the layers and dtypes of its recipe"
        if len({output.name for output in outputs}) != len(outputs):
            return "two of its outputs have one name"
        for output in outputs:
            if output.pooling != recipe.pooling:
                return f"output {output.name} has pooling {output.pooling}, its recipe {recipe.pooling}"
            if len(output.shape) == 3 and recipe.pooling != "none":
                return f"output {output.name} has the shape {list(output.shape)}, with pooling {recipe.pooling}"
        return ""


def _digest(values: JsonObject) -> str:
    """SHA-256 of an object as JSON with sorted keys and no spaces."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _require_version(values: JsonObject) -> None:
    """Raise NotAStore unless store.json is of this version or of one that can be upgraded."""
    version = values.get("version")
    if type(version) is not int or (version != VERSION and version not in UPGRADES):
        raise NotAStore(
            f"the store has format version {shown(version)}, this program reads {VERSION}: "
            "use the Stillframe version that wrote it, or a newer one"
        )


def _upgraded(values: JsonObject) -> JsonObject:
    """The object of store.json as the present version has it."""
    while values["version"] != VERSION:
        values = UPGRADES[int(str(values["version"]))](values)
    return values


@dataclass(frozen=True)
class CurrentPlan:
    """view/<n>.json: names the plan that is the current one, and where its images were found."""

    plan: Sha256
    data: str
    created: str

    @staticmethod
    def file(number: int) -> str:
        """The name of the n-th such file; the highest number counts."""
        return f"view/{number}.json"

    def to_bytes(self) -> bytes:
        """The content of such a file."""
        return encode(asdict(self))

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote, a file of view/.

        Raises:
            DamagedStore: a field is missing or not valid.
        """
        values = decode(data, "the newest file in view/")
        try:
            return read_fields(cls, values)
        except InvalidField as error:
            raise DamagedStore(
                f"the newest file in view/ has a missing or invalid field ({error}): run `store repair`"
            ) from error


@dataclass(frozen=True)
class ShardSlot:
    """What one record is published for: shard `index` of the plan of that name; `attempt` counts from 1."""

    plan: str
    index: int
    attempt: int

    @property
    def key(self) -> str:
        """The shard's key, `<plan>/<index>`."""
        return f"{self.plan}/{self.index}"

    @property
    def file(self) -> str:
        """The record's file name within the store."""
        return f"commit/{self.plan}/{self.index:06d}.{self.attempt}.json"


@dataclass(frozen=True)
class CommitRecord:
    """commit/<plan>/<shard>.<attempt>.json: a shard exists if and only if this does.

    `shard` is the name of the file in data/ (empty when every image failed), `shard_bytes` its length.
    `rows` has the columns ROWS, position in it is position in the shard; `failures` has FAILURES.
    A record with `withdrawn` withdraws an earlier attempt: the shard has to be computed again.
    """

    plan: Sha256
    index: Annotated[int, Range(0, _MOST_SHARDS)]
    attempt: Annotated[int, Range(1)]
    fingerprint: str
    shard: _ShardName
    shard_bytes: Annotated[int, Range(0)]
    rows: pa.Table
    failures: pa.Table
    environment: Mapping[str, str] = field(default_factory=dict)
    withdrawn: str = ""

    @property
    def slot(self) -> ShardSlot:
        """What the record was published for."""
        return ShardSlot(self.plan, self.index, self.attempt)

    @property
    def copied(self) -> int:
        """How many of its images have features that were copied from another shard."""
        return int(self.environment.get(COPIED, 0))

    @property
    def seconds(self) -> float | None:
        """How long the run took for the shard; None where an earlier version did not note it."""
        noted = self.environment.get(SECONDS)
        return float(noted) if noted and _NUMBER.fullmatch(noted) else None

    @property
    def images(self) -> pa.Table:
        """Every image of the shard, its rows and then its failures: the columns ROWS, and which `failed`."""
        failed = np.arange(len(self.rows) + len(self.failures)) >= len(self.rows)
        images = pa.concat_tables([self.rows, self.failures.select(ROWS.names)])
        return images.append_column("failed", pa.array(failed)).combine_chunks()

    def expected_rows(self, views: int) -> pa.Table:
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
            "environment": dict(self.environment),
            "withdrawn": self.withdrawn,
            "row_fields": ROWS.names,
        }
        columns = (self.rows[name].to_pylist() for name in ROWS.names)
        rows = ",\n".join(map(json.JSONEncoder(ensure_ascii=False).encode, zip(*columns, strict=True)))
        failures = json.dumps(self.failures.to_pylist(), ensure_ascii=False, indent=1)
        return utf8(f'{json.dumps(head, indent=1)[:-2]},\n "rows": [\n{rows}\n],\n "failures": {failures}\n}}\n')

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What `to_bytes` wrote.

        Raises:
            DamagedStore: it is not, or its shard could lie outside data/.
        """
        values = decode(data, "a commit record", MOST_RECORD_BYTES)
        try:
            made = {"rows": rows_of(values), "failures": failures_of(values)}
            return read_fields(cls, values, made)
        except InvalidField as error:
            raise DamagedStore(
                f"a commit record has a missing or invalid field ({error}): run `store repair`"
            ) from error
