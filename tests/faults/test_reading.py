"""A file system that fails while a store is read: exit code 74, never 4; and none of its locks are needed."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from store import open_store
from store.errors import DamagedStore, EnvironmentFailure
from store.files import disk
from store.maintenance import repair, verify
from tests.store.build import SPATIAL, VECTOR, SmallStore, make_images

HERE = Path(__file__).parent
IMAGES = make_images("a/1.png", "a/2.png", label="cat")
ERRORS = [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOLCK, errno.ETIMEDOUT, errno.EMFILE]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(disk, "_PAUSES", (0.0, 0.0, 0.0))


@pytest.fixture(scope="module")
def preload(tmp_path_factory):
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    library = tmp_path_factory.mktemp("preload") / "faults.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, HERE / "preload.c", "-ldl"], check=True)
    return library


def make_stores(folder):
    stores = {"hdf5": folder / "hdf5", "parquet": folder / "parquet"}
    SmallStore(stores["hdf5"], (SPATIAL,), "hdf5").update(IMAGES)
    SmallStore(stores["parquet"], (VECTOR,), "parquet").update(IMAGES)
    return stores


@pytest.mark.parametrize(
    "code",
    [errno.EIO, pytest.param(errno.ESTALE, marks=pytest.mark.slow), pytest.param(errno.EACCES, marks=pytest.mark.slow)],
)
def test_libraries_that_read_without_locks_and_on_a_failing_disk(preload, tmp_path, code):
    stores = make_stores(tmp_path)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(preload),
        "FAULT_FILE": str(tmp_path / "fault"),
        "FAULT_ERROR": str(int(code)),
    }
    printed = subprocess.run(
        [sys.executable, HERE / "read_with_faults.py", *map(str, stores.values())],
        env=environment, check=True, capture_output=True, text=True, cwd=HERE.parent.parent,
    ).stdout  # fmt: skip
    for store, (without, failing) in json.loads(printed).items():
        assert without == 2, store
        assert failing[0] == 74, store
        assert os.strerror(code) in failing[1]


@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("shard_format", ["hdf5", "parquet"])
def test_an_error_of_the_system_is_not_damage(tmp_path, monkeypatch, shard_format, code):
    store = make_stores(tmp_path)[shard_format]
    features = open_store(store)

    def failing(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("h5py.File" if shard_format == "hdf5" else "pyarrow.parquet.ParquetFile", failing)
    with pytest.raises(EnvironmentFailure, match=rf"cannot read .*data.*{os.strerror(code)}.*same command again"):
        features.arrays()


@pytest.mark.parametrize("code", ERRORS, ids=errno.errorcode.get)
@pytest.mark.parametrize("file", ["store.json", "view/1.json", "plan", "commit", "data"])
@pytest.mark.parametrize(
    "look", [lambda files: open_store(files.root).arrays(), verify, repair], ids=["read", "verify", "repair"]
)
def test_no_file_that_the_system_cannot_read_is_damage(tmp_path, monkeypatch, file, look, code):
    small = SmallStore(tmp_path / "store")
    small.update(IMAGES)
    opened, before = os.open, small.files()

    def failing(path, *arguments, **keywords):
        if str(tmp_path / "store" / file) in os.fsdecode(path):
            raise OSError(code, os.strerror(code))
        return opened(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", failing)
    with pytest.raises(EnvironmentFailure) as caught:
        look(small.folder)
    monkeypatch.undo()
    assert caught.value.exit_code == 74
    assert not isinstance(caught.value, DamagedStore)
    assert small.files() == before
    assert verify(small.folder).sound


def test_an_error_that_passes_is_never_noticed(tmp_path, monkeypatch):
    import h5py

    store = make_stores(tmp_path)["hdf5"]
    opened, left = h5py.File, [2]

    def failing(*arguments, **keywords):
        if left[0] > 0:
            left[0] -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(*arguments, **keywords)

    monkeypatch.setattr(h5py, "File", failing)
    assert len(open_store(store).arrays()[0]) == 2
