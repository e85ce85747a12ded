"""Files whose time changed but whose bytes did not: remembered in the cache folder, so that each is read only once.

Nothing has to be computed for such a file, so nothing is written to the store. Losing the cache costs only time.
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

from extract.sources.reading import digests
from store.files.base import ReadableFiles
from store.files.cache import cache_folder
from store.files.local import whole_file
from store.files.names import is_url

READ = pa.schema({"path": pa.string(), "time": pa.int64(), "sha256": pa.string()})
"""A file as it was once read: its row name, modification time in ns, and the SHA-256 of its bytes."""


def memory_file(out: str | os.PathLike[str], data: str | os.PathLike[str]) -> Path:
    """Where the files of `data` that differ in time alone from what the store `out` knows are remembered."""
    places = [place if is_url(place) else os.path.abspath(place) for place in (out, data)]
    key = hashlib.sha256(b"\0".join(map(os.fsencode, places)))
    return cache_folder() / "changed_files" / f"{key.hexdigest()}.parquet"


def same_bytes(files: pa.Table, images: ReadableFiles, memory: Path) -> npt.NDArray[np.bool_]:
    """Which files still have the bytes of their `sha256`; only files that are not remembered are read.

    Args:
        files: READ, as the store knows them.
        images: where they are.
        memory: see `memory_file`; rewritten if more is known now.

    Raises:
        EnvironmentFailure: a file cannot be read now.
    """
    remembered = _read(memory)
    remembered = remembered.take(pc.index_in(files["path"], value_set=remembered["path"]))
    known = pc.and_(pc.equal(files["time"], remembered["time"]), pc.equal(files["sha256"], remembered["sha256"]))
    same: npt.NDArray[np.bool_] = known.fill_null(False).to_numpy().copy()
    unknown = np.flatnonzero(~same)
    found = digests(images, files["path"].take(unknown).to_pylist())
    expected = files["sha256"].take(unknown).to_pylist()
    same[unknown] = [digest == sha256 for digest, sha256 in zip(found, expected, strict=True)]
    if same[unknown].any():
        _write(memory, files.filter(pa.array(same)))
    return same


def _read(memory: Path) -> pa.Table:
    try:
        return pq.read_table(memory, schema=READ)
    except (OSError, pa.ArrowException):
        return READ.empty_table()


def _write(memory: Path, files: pa.Table) -> None:
    with contextlib.suppress(OSError), whole_file(memory) as part, part.open("wb") as file:
        pq.write_table(files, file)
