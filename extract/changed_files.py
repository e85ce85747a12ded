"""Files touched but not changed: a memory in the cache folder, so that they are read through once, not on every run.

Nothing is to be done for such a file, so nothing is written to the store. What goes with the cache is only time.
"""

import contextlib
import hashlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from extract.sources.reading import Images, ask, sha256_of
from store.files.cache import cache_folder
from store.files.local import whole_file
from store.files.names import is_url

SEEN = pa.schema({"path": pa.string(), "time": pa.int64(), "sha256": pa.string()})
"""A file as it was once read through: its row name, modification time in ns, and the SHA-256 of its bytes."""


def memory_file(out: str | os.PathLike[str], data: str | os.PathLike[str]) -> Path:
    """Where the files of `data` that differ in time alone from what the store `out` knows are remembered."""
    places = [place if is_url(place) else os.path.abspath(place) for place in (out, data)]
    key = hashlib.sha256(b"\0".join(map(os.fsencode, places)))
    return cache_folder() / "touched" / f"{key.hexdigest()}.parquet"


def hold_bytes(files: pa.Table, images: Images, memory: Path) -> npt.NDArray[np.bool_]:
    """Which of the files hold the bytes of their `sha256`; only those that are not remembered are read.

    Args:
        files: SEEN, as they should be.
        images: where they are.
        memory: see `memory_file`; rewritten if more is known now.
    """
    seen = _read(memory)
    seen = seen.take(pc.index_in(files["path"], value_set=seen["path"]))
    known = pc.and_(pc.equal(files["time"], seen["time"]), pc.equal(files["sha256"], seen["sha256"]))
    same: npt.NDArray[np.bool_] = known.fill_null(False).to_numpy()
    unknown = np.flatnonzero(~same)
    held = ask(images, lambda path: sha256_of(images, path), files["path"].take(unknown).to_pylist())
    expected = files["sha256"].take(unknown).to_pylist()
    same[unknown] = [digest == sha256 for digest, sha256 in zip(held, expected, strict=True)]
    if same[unknown].any():
        _write(memory, files.filter(pa.array(same)))
    return same


def _read(memory: Path) -> pa.Table:
    try:
        return pq.read_table(memory, schema=SEEN)
    except (OSError, pa.ArrowException):
        return SEEN.empty_table()


def _write(memory: Path, seen: pa.Table) -> None:
    with contextlib.suppress(OSError), whole_file(memory) as part:
        pq.write_table(seen, part)
