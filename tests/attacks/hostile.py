"""Shards that someone who means harm has made: right digest, right record, wrong inside."""

import contextlib
import hashlib
import io
import re
from pathlib import Path

import h5py

from store.errors import StillframeError
from tests.store.build import edit_json


def put_shard(small, data, index=0):
    """Put other bytes in the place of a shard, digest and length in its record included."""
    plan = small.snapshot.plan
    name = f"{hashlib.sha256(data).hexdigest()}.{small.shard_file(plan, index).suffix[1:]}"
    small.folder.create(f"data/{name}", data)
    edit_json(small.record_file(plan, index), shard=name, shard_bytes=len(data))


def edit_hdf5(small, change, index=0):
    """Change an HDF5 shard by `change(file)`, and put it in its place."""
    sink = io.BytesIO(small.shard_file(small.snapshot.plan, index).read_bytes())
    with h5py.File(sink, "r+") as file:
        change(file)
    put_shard(small, sink.getvalue(), index)


@contextlib.contextmanager
def little_memory(most=300 * 10**6):
    """Fails if the block takes more than `most` bytes of memory beyond what the process has."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured from now on
    before = _status("VmHWM")
    yield
    assert _status("VmHWM") - before < most


def _status(name):
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024


def raised(look):
    """The error of ours that calling `look` raises, or None."""
    try:
        look()
    except StillframeError as error:
        return error
    return None
