"""Every test has a cache of its own, so that no digest remembered elsewhere changes what it sees.

Converted models are shared, for they are named by all that decides what they compute.
"""

import pytest


@pytest.fixture(scope="session")
def conversions(tmp_path_factory):
    return tmp_path_factory.mktemp("conversions")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch, conversions):
    cache = tmp_path_factory.mktemp("cache")
    (cache / "openvino").symlink_to(conversions)
    monkeypatch.setenv("STILLFRAME_CACHE", str(cache))
    return cache
