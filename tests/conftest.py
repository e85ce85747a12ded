"""Every test has a cache of its own, so that no digest remembered elsewhere changes what it sees."""

import pytest


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("STILLFRAME_CACHE", str(tmp_path_factory.mktemp("cache")))
