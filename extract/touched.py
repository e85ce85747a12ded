"""Files touched but not changed: a memory in the cache folder, so that they are read through once, not on every run.

Nothing is to be done for such a file, so nothing is written to the store. What goes with the cache is only time.
"""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from extract.backbones.weights import cache_folder
from store.names import file_path

SEEN = pa.schema({"path": pa.string(), "time": pa.int64(), "sha256": pa.string()})
"""A file as it was once read through: its row name, modification time in ns, and the SHA-256 of its bytes."""


def memory_file(out: str | os.PathLike[str], data: str | os.PathLike[str]) -> Path:
    """Where the files of `data` that differ in time alone from what the store `out` knows are remembered."""
    key = hashlib.sha256(os.fsencode(os.path.abspath(out)) + b"\0" + os.fsencode(os.path.abspath(data)))
    return cache_folder() / "touched" / f"{key.hexdigest()}.parquet"


def hold_bytes(files: pa.Table, root: Path, memory: Path) -> npt.NDArray[np.bool_]:
    """Which of the files under `root` hold the bytes of their `sha256`; only those that are not remembered are read.

    Args:
        files: SEEN, as they should be.
        root: the folder that row names are relative to.
        memory: see `memory_file`; rewritten if more is known now.
    """
    seen = _read(memory)
    seen = seen.take(pc.index_in(files["path"], value_set=seen["path"]))
    known = pc.and_(pc.equal(files["time"], seen["time"]), pc.equal(files["sha256"], seen["sha256"]))
    same: npt.NDArray[np.bool_] = known.fill_null(False).to_numpy()
    unknown = np.flatnonzero(~same)
    for position in unknown.tolist():
        path, sha256 = files["path"][position].as_py(), files["sha256"][position].as_py()
        same[position] = file_sha256(root / file_path(path)) == sha256
    if same[unknown].any():
        _write(memory, files.filter(pa.array(same)))
    return same


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _read(memory: Path) -> pa.Table:
    try:
        return pq.read_table(memory, schema=SEEN)
    except (OSError, pa.ArrowException):
        return SEEN.empty_table()


def _write(memory: Path, seen: pa.Table) -> None:
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=memory.parent, suffix=".part", delete=False) as file:
            pq.write_table(seen, file)
        os.replace(file.name, memory)
