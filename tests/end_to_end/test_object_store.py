"""DATA and STORE in an object store, by the real commands against a real server that fails one request in ten."""

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import s3fs

from extract import extract as extract_images
from extract.sources.listing import list_data
from store import open_store
from store.errors import EnvironmentFailure, UsageError
from store.files.remote import RemoteFiles
from tests.s3 import ACCESS, make_bucket, s3_server
from tests.stub import make_images

BIN = Path(sys.executable).parent
PIXELS = {"backbone": "pixels", "image_size": (16, 16)}


def put(folder, url):
    """Copy a folder's files to a URL."""
    remote = RemoteFiles(url, single_writer=True)
    with ThreadPoolExecutor(16) as threads:
        for path in folder.rglob("*.*"):
            threads.submit(remote.create, path.relative_to(folder).as_posix(), path.read_bytes())


def records(store):
    return [name for name, _ in RemoteFiles(f"{store}/commit").walk()]


@pytest.fixture
def data(tmp_path):
    make_images(tmp_path / "data", 24)
    return tmp_path / "data"


@pytest.fixture
def failing_bucket(monkeypatch):
    """Of a server that fails one request in ten; only we try again, not boto."""
    with s3_server(0.1) as address:
        for name, value in {**ACCESS, "AWS_ENDPOINT_URL": address, "AWS_MAX_ATTEMPTS": "1"}.items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield make_bucket()
    s3fs.S3FileSystem.clear_instance_cache()


def command(program, *arguments, **options):
    return subprocess.Popen(
        [BIN / program, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def run(program, *arguments):
    process = command(program, *arguments)
    printed, complaints = process.communicate(timeout=300)
    return process.returncode, printed, complaints


def test_a_store_in_an_object_store_is_the_store_on_a_disk(bucket, data, tmp_path):
    put(data, f"{bucket}/data")
    result = extract_images(f"{bucket}/data", f"{bucket}/store", shard_rows=5, **PIXELS)
    plain = extract_images(data, tmp_path / "store", shard_rows=5, **PIXELS)
    assert (result.rows, result.failures) == (24, 0)
    assert result.fingerprint == plain.fingerprint
    features, rows = open_store(f"{bucket}/store").arrays()
    expected, expected_rows = open_store(tmp_path / "store").arrays()
    assert rows.equals(expected_rows)
    np.testing.assert_array_equal(features, expected)
    assert extract_images(data, f"{bucket}/store", **PIXELS).changes.changed == 0  # other times, the same bytes


def test_what_changes_is_computed_again(bucket, data):
    put(data, f"{bucket}/data")
    extract_images(f"{bucket}/data", f"{bucket}/store", **PIXELS)
    system = s3fs.S3FileSystem(use_listings_cache=False)
    system.pipe_file(f"{bucket}/data/cat/00000.png", (data / "cat" / "00002.png").read_bytes() + b"more")
    system.rm_file(f"{bucket}/data/dog/00001.png")
    system.pipe_file(f"{bucket}/data/cat/new.png", b"no image")
    result = extract_images(f"{bucket}/data", f"{bucket}/store", **PIXELS)
    changes = result.changes
    assert (changes.new, changes.changed, changes.gone, result.failures) == (1, 1, 1, 1)
    assert open_store(f"{bucket}/store").verify().sound


def test_objects_are_listed_as_files_are(bucket, data):
    put(data, f"{bucket}/data")
    system = s3fs.S3FileSystem(use_listings_cache=False)
    for name in (".hidden/a.png", "cat/.b.png", "notes.txt", "cat/", "hôtel Ω/e \\ f#?.png"):
        system.pipe_file(f"{bucket}/data/{name}", b"x")
    listing, expected = list_data(f"{bucket}/data"), list_data(data)
    ours = listing.table.filter([path.endswith("f#?.png") is False for path in listing.table["path"].to_pylist()])
    assert ours.select(["path", "label", "size"]).equals(expected.table.select(["path", "label", "size"]))
    assert listing.others == 1
    assert "hôtel Ω/e \\\\ f#?.png" in listing.table["path"].to_pylist()


def test_a_table_of_objects(bucket, data):
    put(data, f"{bucket}/data")
    system = s3fs.S3FileSystem(use_listings_cache=False)
    table = "path,label,split\ncat/00000.png,a,train\n./dog/00001.png,b,test\nnone.png,b,train\n"
    system.pipe_file(f"{bucket}/data/table.csv", table.encode())
    result = extract_images(f"{bucket}/data/table.csv", f"{bucket}/store", max_bad=1.0, **PIXELS)
    assert (result.rows, result.failures_by_code) == (2, {"missing": 1})
    assert open_store(f"{bucket}/store").table()["label"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize("name", ["nothing", "data/cat/00000.png"])
def test_what_is_no_folder_and_no_table_is_refused(bucket, data, name):
    put(data, f"{bucket}/data")
    with pytest.raises(UsageError, match="expected a folder of images, or a"):
        list_data(f"{bucket}/{name}")


@pytest.mark.slow
def test_a_run_is_killed_and_goes_on_though_the_server_fails_one_request_in_ten(failing_bucket, data, tmp_path):
    make_images(data, 100, start=100)
    put(data, f"{failing_bucket}/data")
    store = f"{failing_bucket}/store"
    pixels = ("--backbone", "pixels", "--image-size", 16, "--shard-rows", 4)
    again = ("run", f"{failing_bucket}/data", "--out", store, *pixels)
    process = command("extract", *again)
    while len(committed := records(store)) < 3:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    code, printed, complaints = run("extract", *again, "--json")
    assert code == 0, complaints
    result = json.loads(printed)
    assert (result["images"], result["rows"], result["failures"]) == (124, 124, 0)
    assert 0 < result["computed"] <= 124 - 4 * len(committed)
    assert run("store", "verify", store)[0] == 0
    assert len(records(store)) == 31
    code, _, complaints = run("fit", "head", "--features", store, "--out", tmp_path / "head")
    assert code == 0, complaints
    assert (tmp_path / "head" / "metrics.json").is_file()
    images = [f"{failing_bucket}/data/cat/00000.png", f"{failing_bucket}/data/dog"]
    code, printed, complaints = run("fit", "predict", tmp_path / "head", *images, "--out", tmp_path / "predicted.csv")
    assert code == 0, complaints
    assert len((tmp_path / "predicted.csv").read_text().splitlines()) == 1 + 1 + 62


def test_a_server_that_is_not_there_is_the_environments_fault(data, tmp_path, monkeypatch):
    for name, value in {**ACCESS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}.items():
        monkeypatch.setenv(name, value)
    code, printed, complaints = run("extract", "run", data, "--out", "s3://bucket/store", "--backbone", "pixels")
    assert (code, printed) == (74, "")
    assert complaints.count("\n") == 1
    assert complaints.startswith("error: cannot look at s3://bucket/store/store.json: ")
    assert "check the address, the credentials and the network" in complaints


def test_a_bucket_that_is_not_there_is_named(bucket, data):
    with pytest.raises(
        EnvironmentFailure, match=r"cannot write s3://no-such-bucket/store/\S+ .* does not exist; create"
    ):
        extract_images(data, "s3://no-such-bucket/store", **PIXELS)


def test_an_object_that_may_not_be_read_ends_the_run(bucket, data, monkeypatch):
    put(data, f"{bucket}/data")
    plain = s3fs.S3FileSystem._cat_file

    async def cat_file(self, path, *arguments, **options):
        if path.endswith("cat/00002.png"):
            raise PermissionError("Forbidden")
        return await plain(self, path, *arguments, **options)

    monkeypatch.setattr(s3fs.S3FileSystem, "_cat_file", cat_file)
    s3fs.S3FileSystem.clear_instance_cache()
    with pytest.raises(EnvironmentFailure, match=r"cannot read .*cat/00002\.png: Forbidden"):
        extract_images(f"{bucket}/data", f"{bucket}/store", **PIXELS)
