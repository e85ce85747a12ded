"""Shard formats, in one table: rows and tensors to bytes, and back. To add one, write a Format and list it here."""

from store.errors import UsageError
from store.formats.base import Format, Shard, check_round_trip, packed_shard
from store.formats.hdf5 import Hdf5
from store.formats.parquet import Parquet

FORMATS: dict[str, Format] = {entry.name: entry for entry in (Hdf5(), Parquet())}


def get_format(name: str) -> Format:
    """The shard format of that name.

    Raises:
        UsageError: there is no such format.
    """
    try:
        return FORMATS[name]
    except KeyError:
        raise UsageError(f"unknown shard format {name!r}: choose one of {', '.join(FORMATS)}") from None


__all__ = ["FORMATS", "Format", "Shard", "check_round_trip", "get_format", "packed_shard"]
