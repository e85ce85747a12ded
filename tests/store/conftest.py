import os

import pytest
from hypothesis import settings

from tests.store.build import SPATIAL, VECTOR, SmallStore

settings.register_profile("stillframe", deadline=None, max_examples=50)
settings.load_profile("stillframe")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Hundreds of small stores are made: what a power cut would lose of them is nobody's loss."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture
def small(tmp_path):
    """An empty store of vectors in Parquet."""
    return SmallStore(tmp_path / "store")


@pytest.fixture(params=["hdf5", "parquet"])
def any_small(request, tmp_path):
    """An empty store: spatial in HDF5, vectors in Parquet."""
    output = SPATIAL if request.param == "hdf5" else VECTOR
    return SmallStore(tmp_path / "store", (output,), request.param)
