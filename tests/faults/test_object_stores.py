"""An object store that is slow, throttles, answers wrongly, or no longer takes the credentials, while a run uses it.

The server is a real one (moto's) in a process of its own; the network is a stub.
"""

import numpy as np
import pytest
import s3fs

from store import open_store
from store.errors import EnvironmentFailure, UsageError
from store.files import remote
from store.files.remote import RemoteFiles
from tests.faults.children import extract_here
from tests.s3 import ACCESS, make_bucket, s3_server, set_faults
from tests.stub import load_stub


@pytest.fixture(scope="module")
def address():
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(address, data, monkeypatch):
    """The URL of a bucket with the images of `data`; only we try again, not boto, and soon."""
    for name, value in {**ACCESS, "AWS_ENDPOINT_URL": address, "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "_FIRST_PAUSE", 0.01)
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setattr("extract.resolve.load_runtime", load_stub)
    s3fs.S3FileSystem.clear_instance_cache()
    set_faults(address)
    url = make_bucket()
    images = RemoteFiles(f"{url}/data", single_writer=True)
    for path in data.rglob("*.png"):
        images.create(path.relative_to(data).as_posix(), path.read_bytes())
    yield url
    set_faults(address)
    s3fs.S3FileSystem.clear_instance_cache()


def run(bucket, **options):
    return extract_here(f"{bucket}/data", f"{bucket}/store", **options)


def assert_complete(bucket, data, tmp_path):
    """What a run on a disk stores, each shard once."""
    extract_here(data, tmp_path / "plain")
    found, expected = open_store(f"{bucket}/store"), open_store(tmp_path / "plain")
    assert found.verify().sound
    assert found.table().equals(expected.table())
    np.testing.assert_array_equal(found.arrays()[0], expected.arrays()[0])
    assert len(RemoteFiles(f"{bucket}/store/commit").names(found.snapshot.plan.name)) == 3


@pytest.mark.parametrize(
    ("kinds", "fraction"),
    [
        (["throttled"], 0.2),
        (["asked to wait"], 0.2),
        (["cut"], 0.2),
        pytest.param(["slow"], 0.2, marks=pytest.mark.slow),
        (["tagged"], 1.0),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_run_completes_though_the_server(address, bucket, data, tmp_path, kinds, fraction):
    set_faults(address, fraction=fraction, kinds=kinds)
    result = run(bucket)
    assert (result.rows, result.failures) == (12, 0)
    set_faults(address)
    assert_complete(bucket, data, tmp_path)


def test_a_server_that_throttles_for_ever_ends_the_run(address, bucket, data, tmp_path):
    set_faults(address, fraction=1.0, kinds=["throttled"], after=20)
    with pytest.raises(EnvironmentFailure, match="Please reduce your request rate; check the address"):
        run(bucket)
    set_faults(address)
    run(bucket)
    assert_complete(bucket, data, tmp_path)


@pytest.mark.parametrize("kind", ["expired", "forbidden"])
@pytest.mark.parametrize(
    "after", [0, 9, 25, 44, *(pytest.param(after, marks=pytest.mark.slow) for after in range(1, 80, 3))]
)
def test_credentials_that_expire_end_the_run_and_the_next_one_completes_it(
    address, bucket, data, tmp_path, kind, after
):
    set_faults(address, fraction=1.0, kinds=[kind], after=after)
    try:
        run(bucket)
    except EnvironmentFailure as error:
        assert "The provided token has expired; check the address, the credentials" in str(error)  # noqa: PT017
    else:
        assert after > 50
    set_faults(address)
    result = run(bucket)
    assert (result.rows, result.failures, result.pending) == (12, 0, 0)
    assert_complete(bucket, data, tmp_path)


def test_a_server_that_knows_no_conditional_puts_is_refused_unless_there_is_one_writer(address, bucket, data, tmp_path):
    set_faults(address, fraction=1.0, kinds=["careless"])
    with pytest.raises(UsageError, match=r"despite If-None-Match.*--single-writer"):
        run(bucket)
    assert not RemoteFiles(f"{bucket}/store").names("")
    result = run(bucket, single_writer=True)
    assert (result.rows, result.failures) == (12, 0)
    assert_complete(bucket, data, tmp_path)


def test_a_bucket_that_may_not_be_looked_into_is_not_taken_for_a_missing_one(address, bucket, out):
    set_faults(address, fraction=1.0, kinds=["forbidden"])
    with pytest.raises(EnvironmentFailure, match="the credentials"):
        RemoteFiles(bucket).exists()
    with pytest.raises(EnvironmentFailure, match="the credentials"):
        extract_here(bucket, out)
