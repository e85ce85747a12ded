"""One bit of a shard flipped, any bit: `verify` finds it and no reader gives a value, crashes or hangs.

A shard is named by the digest of its bytes, which is compared before a library parses the file.
"""

import os
import random

import numpy as np
import pytest

from store import open_store
from store.errors import DamagedStore
from store.export import export
from tests.store.build import make_images

IMAGES = make_images("a/1.png", "a/2.png", "b/3.png", "b/4.png", label="cat")


@pytest.fixture
def filled(any_small):
    any_small.update(IMAGES, images_per_shard=4)
    return any_small


def flipped(path, data, bit):
    """Write a file with one bit flipped; no two are of one time."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    path.write_bytes(changed)
    os.utime(path, ns=(bit + 1, bit + 1))


@pytest.mark.parametrize("bits", [80, pytest.param(None, marks=pytest.mark.slow)], ids=["some", "all"])
def test_every_flipped_bit_is_found_and_refused(filled, bits):
    path = filled.shard_file(filled.snapshot.plan, 0)
    data = path.read_bytes()
    features = open_store(filled.folder.root)
    every = range(8 * len(data))
    for bit in every if bits is None else random.Random(0).sample(every, bits):
        flipped(path, data, bit)
        with pytest.raises(DamagedStore, match="is not the bytes that gave it its name"):
            features.arrays()
        assert not features.verify().sound, bit


@pytest.mark.parametrize(
    "read",
    [
        lambda features: features.table(),
        lambda features: features.arrays(),
        lambda features: list(features.batches(2)),
        lambda features: list(features.passes(np.arange(2), 1, seed=0)),
        lambda features: features.to_dask().compute(),
        lambda features: export(features, "npy", features.folder.path("out.npy")),
    ],
    ids=["table", "arrays", "batches", "passes", "to_dask", "export"],
)
def test_every_way_to_read_checks_the_bytes_first(filled, read, monkeypatch):
    path = filled.shard_file(filled.snapshot.plan, 0)
    data = path.read_bytes()
    flipped(path, data, 8 * len(data) - 9)
    features = open_store(filled.folder.root)
    for library in ("h5py.File", "pyarrow.parquet.ParquetFile"):
        monkeypatch.setattr(library, lambda *_, **__: pytest.fail("a library was given the file"))
    with pytest.raises(DamagedStore) as caught:
        read(features)
    assert caught.value.exit_code == 4


def test_a_shard_is_read_through_once_in_a_process(filled, monkeypatch):
    features = open_store(filled.folder.root)
    features.arrays()
    monkeypatch.setattr("store.files.digest.opened_regular", lambda path: pytest.fail(f"{path} was read again"))
    features.arrays()
    list(open_store(filled.folder.root).batches(1))


def test_a_shard_that_changed_since_is_read_through_again(filled):
    features = open_store(filled.folder.root)
    features.arrays()
    path = filled.shard_file(filled.snapshot.plan, 0)
    flipped(path, path.read_bytes(), 100)
    with pytest.raises(DamagedStore):
        features.arrays()


def test_what_is_remembered_of_files_is_bounded():
    from store.files.digest import _digest

    assert _digest.cache_info().maxsize == 2**16


def test_a_file_that_is_no_shard_is_never_waited_for(filled):
    path = filled.shard_file(filled.snapshot.plan, 0)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(DamagedStore, match="is missing"):
        open_store(filled.folder.root).arrays()
    assert not open_store(filled.folder.root).verify().sound
