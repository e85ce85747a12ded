"""A shard in memory, and what every shard format does with it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from store.choices import COMPRESSIONS
from store.errors import DamagedStore, EnvironmentFailure, StillframeError, shortage
from store.recipe import Output
from store.tensors import Tensor

Source: TypeAlias = bytes | PathLike[str]
"""A shard file's content, or its path."""

_PART_BYTES = 4 * 2**20

ROW_SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "label": pa.string(),
        "split": pa.string(),
        "group": pa.string(),
        "view": pa.int16(),
        "width": pa.int32(),
        "height": pa.int32(),
        "sha256": pa.string(),
    }
)
"""The columns before the outputs: `width` and `height` in pixels are the image's own, orientation applied.

A column added to the first eight is absent from older shards. Readers give nulls for it (`absent_column`).
"""

REQUIRED_COLUMNS = frozenset(ROW_SCHEMA.names[:8])

NEVER_NULL = frozenset({"path", "view", "width", "height", "sha256"})


ZSTD, LZ4, UNCOMPRESSED = COMPRESSIONS
"""The compression of a shard's tensors."""

Packed = Sequence[bytes]
"""Rows of a tensor as a format stores them, one after the other; see `Format.pack`."""


@dataclass(frozen=True)
class Shard:
    """Rows and, for each output, one tensor of shape (rows, *output.shape).

    `packed` has the outputs whose tensors were packed as they arrived.
    """

    rows: pa.Table
    tensors: Mapping[str, Tensor]
    packed: Mapping[str, Packed] = field(default_factory=dict)


class Format(Protocol):
    """One way to store a shard in one file.

    Reading never trusts the file: every method that reads raises DamagedStore if it is not what `encode` writes, and
    OSError, with an error number, if the system cannot read it. `count` is how many rows there have to be, by the commit
    record: with it, no more memory is taken than for that many.
    """

    name: str
    suffix: str

    def encode(self, shard: Shard, outputs: Sequence[Output], fingerprint: str, compression: str = ZSTD) -> bytes:
        """The bytes of a shard file."""
        ...

    def pack(self, tensor: Tensor, compression: str) -> Packed | None:
        """Rows of a tensor compressed, read back and compared, so that a shard takes little more when it is complete.

        Returns:
            None if the format stores such a tensor only as a whole.

        Raises:
            DamagedStore: a row did not read back as it was.
        """
        ...

    def holds(self, data: bytes, output: Output, packed: Packed) -> bool:
        """Whether the shard `data` has just these rows of an output, byte for byte."""
        ...

    def rows(self, source: Source, count: int | None = None) -> pa.Table:
        """The row columns alone."""
        ...

    def tensor(
        self,
        source: Source,
        output: Output,
        positions: npt.NDArray[np.int64] | None = None,
        into: Tensor | None = None,
        count: int | None = None,
    ) -> Tensor:
        """One output's tensor, (rows, *shape), of all rows or of those at ascending `positions`.

        Args:
            source: the shard.
            output: which one.
            positions: rows of the shard.
            into: an array of the result's shape and type to write it to; a new one is made otherwise.
            count: how many rows the shard has to have.
        """
        ...

    def parts(self, source: Source, output: Output, rows: int) -> Iterator[Tensor]:
        """One output's tensor in order, `rows` rows at a time, the last part short."""
        ...


def packed_shard(shard_format: Format, shard: Shard, compression: str) -> Shard:
    """The shard with all tensors packed that can be, so that none is compared twice."""
    packed = dict(shard.packed)
    for name, tensor in shard.tensors.items():
        rows = None if name in packed else shard_format.pack(tensor, compression)
        if rows is not None:
            packed[name] = rows
    return replace(shard, packed=packed)


def check_round_trip(shard_format: Format, data: bytes, shard: Shard, outputs: Sequence[Output]) -> None:
    """Read `data` back and compare it, bit for bit, with the shard it was made of.

    Raises:
        DamagedStore: something differs; the machine's memory or a library is at fault.
    """
    same = shard_format.rows(data).equals(shard.rows)
    if not (same and all(_holds(shard_format, data, shard, output) for output in outputs)):
        raise not_read_back(shard_format.name)


def not_read_back(shard_format: str) -> DamagedStore:
    """The error for what is not as it was written when it is read back."""
    return DamagedStore(
        f"a {shard_format} shard did not read back as it was written, nothing was published: "
        "check this machine's memory, then run the same command again"
    )


def _holds(shard_format: Format, data: bytes, shard: Shard, output: Output) -> bool:
    packed = shard.packed.get(output.name)
    if packed is not None:  # its rows were compared when they were packed
        return shard_format.holds(data, output, packed)
    return _same_bits(shard_format, data, shard.tensors[output.name], output)


def _same_bits(shard_format: Format, data: bytes, tensor: Tensor, output: Output) -> bool:
    """Whether `data` holds just this tensor; in parts, for fresh memory of a shard's size costs more than decoding it."""
    step = max(1, _PART_BYTES * len(tensor) // max(1, tensor.nbytes))
    start = 0
    for part in shard_format.parts(data, output, step):
        if not np.array_equal(_bits(part), _bits(tensor[start : start + step])):
            return False
        start += len(part)
    return start == len(tensor)


def _bits(tensor: Tensor) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(tensor).view(np.uint8)


@contextmanager
def reading(kind: str) -> Iterator[None]:
    """What a library raises about the content of a shard of that format becomes DamagedStore.

    Raises:
        OSError: with an error number: the system cannot read the file.
        EnvironmentFailure: there is not enough memory.
    """
    try:
        yield
    except StillframeError:
        raise
    except MemoryError as error:
        raise EnvironmentFailure(
            f"a shard does not fit into this machine's memory ({error}): free some, or read the store in batches"
        ) from error
    except (OSError, LookupError, TypeError, ValueError, RuntimeError, OverflowError, pa.ArrowException) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise shortage(error) or DamagedStore(
            f"a shard cannot be read as {kind} ({error}): run `store repair`"
        ) from error


def require_count(found: int, expected: int | None) -> None:
    """Raise DamagedStore unless a column has as many rows as its shard has to have."""
    if expected is not None and found != expected:
        raise DamagedStore(f"a shard has {found:,} rows, its record names {expected:,}: run `store repair`")


def absent_column(field: pa.Field, rows: int) -> pa.Array:
    """What a shard of `rows` rows has in a column that it lacks: nulls, if the column was added after it was written.

    Raises:
        DamagedStore: every shard has the column.
    """
    if field.name in REQUIRED_COLUMNS:
        raise DamagedStore(f"a shard lacks the column {field.name}: run `store repair`")
    return pa.nulls(rows, field.type)


def checked_tensor(tensor: Tensor, rows: int, output: Output) -> Tensor:
    """`tensor` if it has the output's shape and type and that many rows; DamagedStore if not."""
    expected = (rows, *output.shape)
    if tensor.shape != expected or tensor.dtype != np.dtype(output.dtype):
        raise DamagedStore(
            f"column {output.name} is {tensor.dtype}{list(tensor.shape)}, "
            f"expected {output.dtype}{list(expected)}: run `store repair`"
        )
    return tensor


def placed(tensor: Tensor, into: Tensor | None) -> Tensor:
    """`tensor`, or `into` with its values."""
    if into is None:
        return tensor
    into[...] = tensor
    return into
