"""Every test has a cache of its own, so that no digest remembered elsewhere changes what it sees.

Converted models are shared, for they are named by all that decides what they compute.
"""

import signal

import pytest
import s3fs

from tests.s3 import ACCESS, make_bucket, s3_server
from tests.stub import make_images

# A shell starts background jobs with SIGINT ignored, and child processes inherit that; the tests send it to them.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def conversions(tmp_path_factory):
    return tmp_path_factory.mktemp("conversions")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch, conversions):
    cache = tmp_path_factory.mktemp("cache")
    (cache / "openvino").symlink_to(conversions)
    monkeypatch.setenv("STILLFRAME_CACHE", str(cache))
    return cache


@pytest.fixture
def data(tmp_path):
    """A folder of twelve images in two classes."""
    make_images(tmp_path / "data", 12)
    return tmp_path / "data"


@pytest.fixture
def out(tmp_path):
    """Where a store may be written."""
    return tmp_path / "store"


@pytest.fixture(scope="session")
def s3_address():
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(s3_address, monkeypatch):
    """The URL of an empty bucket of a server that does what it is asked to."""
    for name, value in {**ACCESS, "AWS_ENDPOINT_URL": s3_address}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # one made before has its address and credentials from elsewhere
    return make_bucket()
