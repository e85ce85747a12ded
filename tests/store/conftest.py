import pytest
from hypothesis import settings

from tests.store.build import SPATIAL, VECTOR, SmallStore

settings.register_profile("stillframe", deadline=None, max_examples=50)
settings.load_profile("stillframe")


@pytest.fixture
def small(tmp_path):
    """An empty store of vectors in Parquet."""
    return SmallStore(tmp_path / "store")


@pytest.fixture(params=["hdf5", "parquet"])
def any_small(request, tmp_path):
    """An empty store: spatial in HDF5, vectors in Parquet."""
    output = SPATIAL if request.param == "hdf5" else VECTOR
    return SmallStore(tmp_path / "store", (output,), request.param)
