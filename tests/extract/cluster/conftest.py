"""Images, a store, and a Dask cluster in this process."""

import pytest
from distributed import LocalCluster

from tests.stub import make_images


@pytest.fixture
def data(tmp_path):
    make_images(tmp_path / "data", 24)
    return tmp_path / "data"


@pytest.fixture(scope="module")
def threads():
    """A cluster in this process: what the scheduler does is real, what workers do needs no second process."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp://", dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address
