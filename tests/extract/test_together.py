"""Several networks in one pass: each store is as if it were extracted alone, and each image is read once."""

import json
import threading
from collections import Counter

import numpy as np
import pytest

import cli
import extract.images.loader
import extract.resolve
from extract.request import RunOptions
from extract.run import extract_together, run
from extract.sources.reading import read_image
from store import open_store
from store.errors import EnvironmentFailure, RecipeMismatch, StoppedEarly, UsageError
from store.files.local import LocalFiles
from store.snapshot import load_snapshot
from store.writer import StoreWriter
from tests.stub import StubRuntime, load_stub, make_images, touch_later

NETWORKS = ("mobilenet_v2", "resnet50", "vgg16")


class Negative(StubRuntime):
    """Another network: other features of the same pixels, in batches of another size."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.batch_size = 5

    def compute(self, pixels):
        return -super().compute(pixels)


@pytest.fixture(autouse=True)
def reads(monkeypatch):
    """Stubs in place of the networks; counts how often each file is read, and how often it is decoded."""

    def load(spec, reporter=None):
        runtime, digest = load_stub(spec, reporter)
        return (Negative(spec.dtype) if spec.backbone.name == "resnet50" else runtime), digest

    counts = {"read": Counter(), "decode": Counter()}

    def reading(files, path):
        counts["read"][path] += 1
        return read_image(files, path)

    def decoding(data, *rest):
        counts["decode"][hash(data)] += 1
        return decode(data, *rest)

    decode = extract.images.loader.decode
    monkeypatch.setattr(extract.resolve, "load_runtime", load)
    monkeypatch.setattr(extract.images.loader, "read_image", reading)
    monkeypatch.setattr(extract.images.loader, "decode", decoding)
    return counts


def options(data, out, backbone="mobilenet_v2", **changed):
    return RunOptions(data, out, backbone, "random", **{"image_size": (16, 16), "max_bad": 1.0, **changed})


def contents(out):
    """What a store holds, but for times: plan, shard files and records."""
    snapshot = load_snapshot(LocalFiles(out))
    records = {
        key: (record.shard, record.rows.to_pylist(), record.failures.to_pylist(), _without_seconds(record))
        for key, record in snapshot.records.items()
    }
    return snapshot.plan.name, snapshot.info, records


def _without_seconds(record):
    return {name: value for name, value in record.environment.items() if name != "seconds"}


@pytest.fixture
def mixed(data):
    """Images, among them one that cannot be decoded and one that is empty."""
    (data / "cat" / "zzz.png").write_bytes(b"no image")
    (data / "dog" / "empty.png").write_bytes(b"")
    return data


@pytest.mark.parametrize("sizes", [((16, 16), (16, 16), (16, 16)), ((16, 16), (32, 16), (16, 16))])
def test_each_store_is_as_if_extracted_alone_and_each_image_is_read_once(mixed, tmp_path, reads, sizes):
    runs = [
        options(mixed, tmp_path / name, name, image_size=size, shard_rows=rows)
        for name, size, rows in zip(NETWORKS, sizes, (3, 5, 100), strict=True)
    ]
    results = extract_together(runs)
    assert set(reads["read"].values()) == {1}
    assert set(reads["decode"].values()) == {len(set(sizes))}
    for one, result in zip(runs, results, strict=True):
        alone = tmp_path / f"alone-{one.backbone}"
        assert run(RunOptions(**{**vars(one), "out": alone})).rows == result.rows == 12
        assert contents(alone) == contents(one.out)
        assert [failure["code"] for failure in open_store(one.out).snapshot.failures().to_pylist()] == [
            "not_an_image",
            "empty",
        ]
        assert open_store(one.out).verify().sound


def test_stores_that_need_different_images_share_those_that_both_need(data, tmp_path, reads):
    first = options(data, tmp_path / "first", shard_rows=4)
    second = options(data, tmp_path / "second", "resnet50", shard_rows=5)
    run(first)
    changed, *_ = make_images(data, 20, start=6)
    touch_later(changed)
    reads["read"].clear()
    results = extract_together([first, second])
    assert [result.computed for result in results] == [14, 26]
    assert max(reads["read"].values()) <= 2  # a file with another time is read before, to see whether it changed
    (positive, rows), (negative, same_rows) = (open_store(one.out).arrays() for one in (first, second))
    assert len(rows) == 26
    assert rows.equals(same_rows)
    assert np.array_equal(positive, -negative)


def test_what_is_complete_loads_no_network(data, tmp_path, monkeypatch):
    first, second = options(data, tmp_path / "first"), options(data, tmp_path / "second", "resnet50")
    run(first)
    loaded = []
    load = extract.resolve.load_runtime
    monkeypatch.setattr(extract.resolve, "load_runtime", lambda spec, *rest: (loaded.append(spec), load(spec))[1])
    assert [result.computed for result in extract_together([first, second])] == [0, 12]
    assert [spec.backbone.name for spec in loaded] == ["resnet50"]


@pytest.mark.parametrize("failing", ["first", "second"])
def test_when_one_store_cannot_be_written_both_keep_what_is_committed(data, tmp_path, monkeypatch, failing):
    runs = [
        options(data, tmp_path / "first", shard_rows=2),
        options(data, tmp_path / "second", "resnet50", shard_rows=3),
    ]
    commit = StoreWriter.commit

    def full(self, slot, content, environment):
        if failing in str(self._files) and slot.index == 2:
            raise EnvironmentFailure("the disk is full")
        return commit(self, slot, content, environment)

    monkeypatch.setattr(StoreWriter, "commit", full)
    with pytest.raises(EnvironmentFailure, match="the disk is full"):
        extract_together(runs)
    monkeypatch.setattr(StoreWriter, "commit", commit)
    kept = [open_store(one.out).snapshot.counts().rows for one in runs]
    assert min(kept) >= 2
    results = extract_together(runs)
    assert [result.reused for result in results] == kept
    assert all(open_store(one.out).verify().sound for one in runs)


def test_a_stop_keeps_finished_shards_of_both_stores(data, tmp_path, monkeypatch):
    make_images(data, 100, start=12)
    runs = [
        options(data, tmp_path / "first", shard_rows=5),
        options(data, tmp_path / "second", "resnet50", shard_rows=7),
    ]
    stop = threading.Event()

    class Stopping:
        def __enter__(self):
            return stop

        def __exit__(self, *_):
            pass

    commit = StoreWriter.commit

    def stopping(self, slot, *rest):
        record = commit(self, slot, *rest)
        if slot.index == 3:
            stop.set()
        return record

    monkeypatch.setattr("extract.run.stop_on_signals", Stopping)
    monkeypatch.setattr(StoreWriter, "commit", stopping)
    with pytest.raises(StoppedEarly):
        extract_together(runs)
    kept = [open_store(one.out).snapshot.counts().rows for one in runs]
    assert min(kept) > 0
    assert max(kept) < 112
    stop.clear()
    monkeypatch.setattr(StoreWriter, "commit", commit)
    assert [result.reused for result in extract_together(runs)] == kept


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"out": "first"}, "--out names first twice"),
        ({"out": "./first/"}, "the same store twice, first and ./first/"),
        ({"out": "link/../first"}, "the same store twice, first and link/../first"),
        ({"data": "elsewhere"}, "the same DATA"),
        ({"exclude": ("*.gif",)}, "the same DATA"),
        ({"scheduler": "local:2"}, "--scheduler is for one backbone"),
        ({"status_file": "status.json"}, "--status-file is for one backbone"),
    ],
)
def test_runs_that_cannot_share_a_pass_are_refused(data, tmp_path, monkeypatch, changed, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path / "data")
    second = {"data": data, "out": "second", **changed}
    with pytest.raises(UsageError, match=message):
        extract_together([options(data, "first"), options(**second)])
    assert not (tmp_path / "first").exists()


def test_where_one_store_has_another_recipe_none_is_written(data, tmp_path):
    runs = [options(data, tmp_path / "new"), options(data, tmp_path / "taken", "resnet50")]
    run(options(data, tmp_path / "taken", "vgg16"))
    with pytest.raises(RecipeMismatch, match="the store has vgg16, this run asks for resnet50"):
        extract_together(runs)
    assert not (tmp_path / "new").exists()


def test_the_command_line_names_a_store_for_each_backbone(data, tmp_path, capsys, monkeypatch):
    words = ["run", str(data), "--weights", "random", "--image-size", "16", "--json"]
    pairs = [word for name in NETWORKS[:2] for word in ("--backbone", name, "--out", str(tmp_path / name))]
    monkeypatch.setattr("sys.argv", ["extract", *words, *pairs])
    assert cli.run_app(cli.extract_app, "extract") == 0
    printed = json.loads(capsys.readouterr().out)
    assert [store["rows"] for store in printed["stores"]] == [12, 12]
    assert [store["store"] for store in printed["stores"]] == [str(tmp_path / name) for name in NETWORKS[:2]]


@pytest.mark.parametrize(
    ("words", "numbers"),
    [
        (["--backbone", "vgg16", "--backbone", "resnet50"], "2 backbones and 1 store"),
        (["--out", "first", "--out", "second"], "1 backbone and 2 stores"),
    ],
)
def test_backbones_and_stores_must_be_as_many(data, capsys, monkeypatch, words, numbers):
    monkeypatch.setattr("sys.argv", ["extract", "run", str(data), *words])
    assert cli.run_app(cli.extract_app, "extract") == 2
    assert f"{numbers}: expected one --out for each --backbone" in capsys.readouterr().err


def test_seconds_are_noted_where_one_store_is_filled_alone(data, tmp_path):
    together = [options(data, tmp_path / name, name) for name in NETWORKS[:2]]
    extract_together(together)
    run(options(data, tmp_path / "alone", "vgg16"))

    def seconds(name):
        return [record.seconds for record in load_snapshot(LocalFiles(tmp_path / name)).records.values()]

    assert seconds(NETWORKS[0]) == seconds(NETWORKS[1]) == [None]
    assert seconds("alone")[0] > 0
