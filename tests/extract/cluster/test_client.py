"""Connecting to clusters that are not there."""

import pytest
from distributed import LocalCluster

import extract.cluster.client
from extract.cluster.client import connected
from store.errors import EnvironmentFailure, UsageError


@pytest.mark.parametrize(
    ("scheduler", "error", "message"),
    [
        ("local:0", UsageError, "expected tcp://HOST:PORT, file:PATH or local:N"),
        ("local:many", UsageError, "expected tcp://HOST:PORT"),
        ("localhost:8786", UsageError, "expected tcp://HOST:PORT"),
        ("file:/nowhere.json", EnvironmentFailure, "there is no such file"),
        ("tcp://127.0.0.1:9", EnvironmentFailure, "no Dask scheduler answers at tcp://127.0.0.1:9"),
    ],
)
def test_a_scheduler_that_cannot_be_reached(monkeypatch, scheduler, error, message):
    monkeypatch.setattr(extract.cluster.client, "PATIENCE", 1.0)
    with pytest.raises(error, match=message), connected(scheduler):
        pass


def test_a_cluster_without_workers(monkeypatch):
    monkeypatch.setattr(extract.cluster.client, "PATIENCE", 0.5)
    with (
        LocalCluster(n_workers=0, processes=False, protocol="tcp://", dashboard_address=":0") as cluster,
        pytest.raises(EnvironmentFailure, match=r"has no workers after 0\.5 s"),
        connected(cluster.scheduler_address),
    ):
        pass
