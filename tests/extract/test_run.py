"""Runs against a stub network: what is computed, kept, refused and printed."""

import dataclasses
import errno
import json
import os
import signal
import threading

import numpy as np
import pytest

import extract.changed_files
import extract.resolve
from extract import extract as extract_images
from extract.dry_run import dry_run
from extract.request import RunOptions
from extract.run import run
from extract.runtimes.base import padded_size
from extract.signals import stop_on_signals
from extract.sources.reading import digests
from store import open_store
from store.errors import EnvironmentFailure, RecipeMismatch, StoppedEarly, TooManyFailures, UsageError
from store.files.local import LocalFiles
from store.progress import Reporter, Silence
from store.writer import StoreWriter
from tests.stub import StubRuntime, load_stub, make_images, touch_later

STUB = {"backbone": "mobilenet_v2", "weights": "random", "image_size": (16, 16), "max_bad": 1}


@pytest.fixture(autouse=True)
def loads(monkeypatch):
    """The stub in place of the network; the list has one entry for each time it was loaded."""
    calls = []

    def load(*arguments):
        calls.append(arguments)
        return load_stub(*arguments)

    monkeypatch.setattr(extract.resolve, "load_runtime", load)
    return calls


def files_of(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}


def expected_features(data, paths):
    from PIL import Image

    pixels = np.stack([np.asarray(Image.open(data / path)) for path in paths])
    return StubRuntime().compute(pixels).astype(np.float16)


def test_every_image_becomes_the_row_that_its_own_pixels_give(data, out):
    result = extract_images(data, out, shard_rows=5, batch_size=4, **STUB)
    assert (result.images, result.rows, result.failures, result.computed, result.reused) == (12, 12, 0, 12, 0)
    features, rows = open_store(out).arrays()
    assert np.array_equal(features, expected_features(data, rows["path"].to_pylist()))
    assert rows["label"].to_pylist() == [path.split("/")[0] for path in rows["path"].to_pylist()]
    assert rows["path"].to_pylist() == sorted(rows["path"].to_pylist())


@pytest.mark.parametrize(("batch_size", "shard_rows", "workers"), [(1, 1, 1), (3, 5, 2), (64, 100, 8)])
def test_values_depend_on_no_batch_shard_or_thread(data, out, tmp_path, batch_size, shard_rows, workers):
    extract_images(data, out, **STUB)
    other = tmp_path / "other"
    extract_images(data, other, batch_size=batch_size, shard_rows=shard_rows, workers=workers, **STUB)
    assert np.array_equal(open_store(out).arrays()[0], open_store(other).arrays()[0])


def test_nothing_to_do_loads_nothing_and_writes_nothing(data, out, loads):
    extract_images(data, out, **STUB)
    before = files_of(out)
    loads.clear()
    result = extract_images(data, out, **STUB)
    assert (result.computed, result.reused) == (0, 12)
    assert files_of(out) == before
    assert loads == []


def test_new_images_alone_are_computed(data, out):
    extract_images(data, out, **STUB)
    make_images(data, 10, start=12)
    result = extract_images(data, out, **STUB)
    assert (result.images, result.computed, result.changes.new) == (22, 10, 10)
    features, rows = open_store(out).arrays()
    assert np.array_equal(features, expected_features(data, rows["path"].to_pylist()))


def test_a_changed_image_alone_is_computed_again(data, out):
    paths = make_images(data, 12)
    extract_images(data, out, **STUB)
    (changed,) = make_images(data.parent / "other", 1, start=99)
    paths[3].write_bytes(changed.read_bytes())
    touch_later(paths[3])
    result = extract_images(data, out, **STUB)
    assert (result.computed, result.changes.changed) == (1, 1)
    features, rows = open_store(out).arrays()
    assert np.array_equal(features, expected_features(data, rows["path"].to_pylist()))


def test_all_images_changed_are_all_computed_again(data, out):
    """The new plan has the same rows as the old one, yet it must not be taken for it."""
    extract_images(data, out, **STUB)
    for number, path in enumerate(sorted(data.rglob("*.png"))):
        size = path.stat().st_size
        make_images(data.parent / "other", 1, start=100 + number, classes=("x",))
        path.write_bytes((data.parent / "other" / "x" / f"{100 + number:05d}.png").read_bytes())
        assert path.stat().st_size == size
        touch_later(path)
    result = extract_images(data, out, **STUB)
    assert (result.computed, result.changes.changed) == (12, 12)
    features, rows = open_store(out).arrays()
    assert np.array_equal(features, expected_features(data, rows["path"].to_pylist()))


def test_an_image_whose_time_alone_changed_is_not_computed_again(data, out, loads):
    extract_images(data, out, **STUB)
    touch_later(next(data.rglob("*.png")))
    before = files_of(out)
    loads.clear()
    assert extract_images(data, out, **STUB).computed == 0
    assert files_of(out) == before
    assert loads == []


def test_images_whose_time_alone_changed_are_read_once(data, out, monkeypatch):
    read = []

    def counted(files, names):
        read.extend(data / name for name in names)
        return digests(files, names)

    monkeypatch.setattr(extract.changed_files, "digests", counted)
    extract_images(data, out, **STUB)
    first, second, *_ = sorted(data.rglob("*.png"))
    touch_later(first)
    for _ in range(2):
        assert extract_images(data, out, **STUB).computed == 0
    assert read == [first]
    touch_later(second)
    assert extract_images(data, out, **STUB).computed == 0
    assert read == [first, second]
    content = bytearray(first.read_bytes())
    content[-20] ^= 1
    first.write_bytes(content)
    touch_later(first)
    assert extract_images(data, out, **STUB).computed == 1
    assert read == [first, second, first]


def test_an_image_that_is_gone_leaves_the_view(data, out, loads):
    extract_images(data, out, **STUB)
    gone = next(data.rglob("*.png"))
    gone.unlink()
    loads.clear()
    result = extract_images(data, out, **STUB)
    assert (result.images, result.computed, result.changes.gone) == (11, 0, 1)
    assert gone.relative_to(data).as_posix() not in open_store(out).table()["path"].to_pylist()
    assert loads == []
    assert open_store(out).verify().sound


def test_relabelling_computes_nothing(data, out, loads, tmp_path):
    paths = sorted(path.relative_to(tmp_path).as_posix() for path in data.rglob("*.png"))
    table = tmp_path / "table.csv"
    table.write_text("path,label\n" + "".join(f"{path},old\n" for path in paths))
    extract_images(table, out, **STUB)
    loads.clear()
    table.write_text("path,label,split,group\n" + "".join(f"{path},new,train,g\n" for path in paths))
    assert extract_images(table, out, **STUB).computed == 0
    assert loads == []
    rows = open_store(out).table()
    assert set(rows["label"].to_pylist()) == {"new"}
    assert set(rows["split"].to_pylist()) == {"train"}
    assert set(rows["group"].to_pylist()) == {"g"}


def test_half_of_the_images_missing_is_refused_unless_pruned(data, out):
    extract_images(data, out, **STUB)
    for path in sorted(data.rglob("*.png"))[:7]:
        path.unlink()
    with pytest.raises(UsageError, match=r"7 of the 12 stored images are not in .*--prune"):
        extract_images(data, out, **STUB)
    assert len(open_store(out)) == 12
    assert extract_images(data, out, prune=True, **STUB).images == 5


def test_a_limit_takes_the_first_images_and_never_shrinks_a_store(data, out):
    assert extract_images(data, out, limit=4, **STUB).images == 4
    assert open_store(out).table()["path"].to_pylist() == sorted(open_store(out).table()["path"].to_pylist())
    assert extract_images(data, out, limit=6, **STUB).computed == 2
    assert extract_images(data, out, **STUB).computed == 6
    next(data.rglob("*.png")).unlink()
    assert extract_images(data, out, limit=1, **STUB).images == 12


def test_a_limit_does_not_hide_that_the_folder_is_another_one(data, out, tmp_path):
    extract_images(data, out, **STUB)
    make_images(tmp_path / "other", 12, start=100)
    with pytest.raises(UsageError, match=r"12 of the 12 stored images are not in .*other"):
        extract_images(tmp_path / "other", out, limit=3, **STUB)
    assert extract_images(tmp_path / "other", out, limit=3, prune=True, **STUB).images == 15


def test_another_recipe_is_refused_naming_every_field_that_differs(data, out):
    extract_images(data, out, **STUB)
    before = files_of(out)
    with pytest.raises(RecipeMismatch) as caught:
        extract_images(data, out, backbone="mobilenet", weights="random", image_size=(32, 32), resize="nearest",
                       crop="pad", background="black", pooling="avg", format="parquet")  # fmt: skip
    for field in ("backbone", "layers", "pooling", "image_size", "resize", "crop", "background", "format"):
        assert f"{field}: the store has" in str(caught.value)
    assert files_of(out) == before


def test_another_recipe_is_refused_before_its_network_is_downloaded(data, out, monkeypatch):
    extract_images(data, out, **STUB)
    monkeypatch.setattr(extract.resolve, "load_network", lambda *_: pytest.fail("loaded"))
    with pytest.raises(RecipeMismatch, match="backbone: the store has"):
        extract_images(data, out, backbone="resnet50", image_size=(32, 32))


def test_the_same_recipe_in_other_words_is_the_same(data, out):
    extract_images(data, out, **STUB)
    result = extract_images(data, out, layer=("out_relu",), background="#fff", dtype="float16", format="hdf5", **STUB)
    assert result.computed == 0


def test_a_folder_that_is_no_store_is_never_written_into(data, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("dear")
    with pytest.raises(UsageError, match="not empty and not a store"):
        extract_images(data, folder, **STUB)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_bad_images_are_failures_and_their_batch_is_untouched(data, out):
    paths = sorted(data.rglob("*.png"))
    paths[2].write_bytes(b"")
    paths[7].write_text("hello")
    result = extract_images(data, out, batch_size=4, **STUB)
    assert (result.images, result.rows, result.failures) == (12, 10, 2)
    assert result.failures_by_code == {"empty": 1, "not_an_image": 1}
    features, rows = open_store(out).arrays()
    assert np.array_equal(features, expected_features(data, rows["path"].to_pylist()))
    failed = open_store(out).snapshot.failures()["path"].to_pylist()
    assert failed == [paths[number].relative_to(data).as_posix() for number in (2, 7)]


def test_failures_are_tried_again_only_when_asked_or_changed(data, out):
    paths = sorted(data.rglob("*.png"))
    whole = paths[2].read_bytes()
    status = paths[2].stat()
    paths[2].write_bytes(b"\0" * len(whole))
    os.utime(paths[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert extract_images(data, out, **STUB).failures == 1
    paths[2].write_bytes(whole)
    os.utime(paths[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    assert extract_images(data, out, **STUB).computed == 0
    result = extract_images(data, out, retry_failed=True, **STUB)
    assert (result.computed, result.failures) == (1, 0)
    assert open_store(out).verify().sound
    paths[3].write_bytes(b"")
    assert extract_images(data, out, **STUB).failures == 1
    paths[3].write_bytes(whole)
    assert extract_images(data, out, **STUB).failures == 0


def test_a_shard_where_every_image_fails_has_a_record_and_no_file(data, out):
    for path in data.rglob("*.png"):
        path.write_text("no")
    result = extract_images(data, out, **STUB)
    assert (result.rows, result.failures) == (0, 12)
    assert open_store(out).verify().sound
    assert open_store(out).arrays()[0].shape == (0, 4, 4, 3)


def failing_at_the_third(out):
    """In place of `StoreWriter.commit`: the disk is full once two shards are committed."""
    commit = StoreWriter.commit

    def fail_third(writer, *arguments):
        if len(list(out.glob("commit/*/*.json"))) == 2:
            raise EnvironmentFailure("disk full")
        return commit(writer, *arguments)

    return fail_third


def test_an_unfinished_plan_goes_on_with_its_own_shard_size(data, out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "commit", failing_at_the_third(out))
        with pytest.raises(EnvironmentFailure):
            extract_images(data, out, shard_rows=3, **STUB)
    assert open_store(out).verify().pending == 6
    result = extract_images(data, out, shard_rows=1000, **STUB)
    assert (result.computed, result.reused) == (6, 6)
    assert open_store(out).snapshot.plan.images_per_shard == 3
    assert len(list(out.glob("commit/*/*.json"))) == 4


def test_new_images_join_an_unfinished_plan_without_losing_what_is_committed(data, out, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "commit", failing_at_the_third(out))
        with pytest.raises(EnvironmentFailure):
            extract_images(data, out, shard_rows=3, **STUB)
    make_images(data, 3, start=12)
    result = extract_images(data, out, **STUB)
    assert (result.images, result.computed, result.reused) == (15, 9, 6)
    features, rows = open_store(out).arrays()
    assert np.array_equal(features, expected_features(data, rows["path"].to_pylist()))
    assert open_store(out).verify().sound


def test_a_damaged_shard_is_withdrawn_and_computed_again(data, out):
    extract_images(data, out, shard_rows=4, **STUB)
    shard = next(iter((out / "data").iterdir()))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    assert not open_store(out).verify().sound
    from store.maintenance import repair

    assert len(repair(LocalFiles(out)).withdrawn) == 1
    result = extract_images(data, out, **STUB)
    assert (result.computed, result.reused) == (4, 8)
    assert open_store(out).verify().sound
    features, rows = open_store(out).arrays()
    assert np.array_equal(features, expected_features(data, rows["path"].to_pylist()))


def withdraw_after_commit(writer, slot, *arguments, commit=StoreWriter.commit):
    record = commit(writer, slot, *arguments)
    assert writer.withdraw(dataclasses.replace(slot, attempt=slot.attempt + 1), "its file is damaged")
    return record


def withdraw_before_commit(writer, slot, *arguments, commit=StoreWriter.commit):
    writer.withdraw(slot, "its record is damaged")
    record = commit(writer, slot, *arguments)
    assert record.withdrawn
    return record


def delete_after_commit(writer, slot, *arguments, commit=StoreWriter.commit):
    record = commit(writer, slot, *arguments)
    writer._files.remove(slot.file)
    return record


@pytest.mark.parametrize(
    ("commit", "error", "message"),
    [
        (withdraw_after_commit, StoppedEarly, r"`store repair` withdrew shards .* \(3\)"),
        (withdraw_before_commit, StoppedEarly, r"`store repair` withdrew shards .* \(3\)"),
        (delete_after_commit, EnvironmentFailure, "was deleted, in whole or in part"),
    ],
)
def test_shards_that_are_withdrawn_or_deleted_during_a_run_are_computed_again(
    data, out, monkeypatch, commit, error, message
):
    with monkeypatch.context() as patch:
        patch.setattr(StoreWriter, "commit", commit)
        with pytest.raises(error, match=message):
            extract_images(data, out, shard_rows=4, **STUB)
    assert extract_images(data, out, **STUB).computed == 12
    assert open_store(out).verify().sound


def test_a_value_beyond_float16_in_the_first_batch_is_refused(data, out, monkeypatch):
    monkeypatch.setattr(
        StubRuntime, "compute", lambda self, pixels: np.full((len(pixels), 4, 4, 3), 70000.0, np.float32)
    )
    with pytest.raises(UsageError, match="--dtype float32"):
        extract_images(data, out, **STUB)


def test_a_value_beyond_float16_later_is_a_failure_and_never_infinity(data, out, monkeypatch):
    plain = StubRuntime.compute
    calls = []

    def exploding(self, pixels):
        calls.append(1)
        tensor = plain(self, pixels)
        if len(calls) == 2:
            tensor[1, 0, 0, 0] = 70000.0
            tensor[2, 0, 0, 0] = np.nan
        return tensor

    monkeypatch.setattr(StubRuntime, "compute", exploding)
    result = extract_images(data, out, batch_size=4, **STUB)
    assert result.failures_by_code == {"float16_range": 1, "not_finite": 1}
    assert np.isfinite(open_store(out).arrays()[0].astype(np.float32)).all()


def test_an_empty_store_that_was_killed_before_its_info_is_taken_over(data, out):
    (out / "tmp").mkdir(parents=True)
    (out / "tmp" / "0123.part").write_bytes(b"{")
    assert extract_images(data, out, **STUB).rows == 12


def test_a_dry_run_writes_nothing(data, out):
    plan = dry_run(RunOptions(data=data, out=out, shard_rows=5, **STUB))
    assert (plan.images, plan.to_compute, plan.shards, plan.feature_bytes) == (12, 12, 3, 12 * 48 * 2)
    assert not out.exists()
    json.dumps(plan.to_dict())


def test_the_result_has_the_keys_that_json_promises(data, out):
    result = extract_images(data, out, **STUB)
    assert list(result.to_dict()) == (
        "store fingerprint images rows failures pending computed reused copied seconds images_per_second phases "
        "limited_by computed_by".split()
    )
    assert set(result.phases) == {"read", "decode", "compute", "write"}
    assert result.limited_by in result.phases


def test_an_unknown_option_is_wrong_use(data, out):
    with pytest.raises(UsageError, match="poolings"):
        extract_images(data, out, poolings="avg")


def test_a_signal_stops_after_the_batch_in_hand_and_the_next_run_goes_on(data, out, monkeypatch):
    plain = StubRuntime.compute

    def signalling(self, pixels):
        if len(list(out.glob("commit/*/*.json"))) >= 1:
            signal.raise_signal(signal.SIGTERM)  # to this thread: another might take it later
        return plain(self, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(StubRuntime, "compute", signalling)
        with pytest.raises(StoppedEarly):
            extract_images(data, out, shard_rows=2, batch_size=1, **STUB)
    done = len(open_store(out))
    assert 0 < done < 12
    assert extract_images(data, out, **STUB).computed == 12 - done


def test_parts_do_all_shards_between_them_in_any_order(data, out):
    results = [extract_images(data, out, shard_rows=2, part=(number, 4), **STUB) for number in (2, 0, 3, 1)]
    assert [result.computed for result in results] == [2, 4, 2, 4]
    assert [result.pending for result in results] == [10, 6, 4, 0]
    assert all(result.images == result.rows + result.failures + result.pending for result in results)
    assert len(list(out.glob("commit/*/*.json"))) == 6
    assert open_store(out).verify().sound
    again = extract_images(data, out, part=(1, 4), **STUB)
    assert (again.computed, again.pending) == (0, 0)


def test_a_part_that_has_nothing_to_do_is_done_and_says_why(data, out):
    lines = []
    options = RunOptions(data=data, out=out, shard_rows=12, part=(3, 4), **STUB)
    result = run(options, Reporter(message=lines.append))
    assert (result.computed, result.pending) == (0, 12)
    assert lines[-1].startswith(
        "only 1 of the 4 parts have a shard to compute: a smaller --shard-rows makes more shards"
    )


def test_signal_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        assert isinstance(stop, threading.Event)
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_store_that_another_run_makes_in_the_same_instant_is_joined(data, out, monkeypatch):
    require_free = LocalFiles.require_free

    def overtaken(files, *own):
        monkeypatch.setattr(LocalFiles, "require_free", require_free)
        extract_images(data, out, **STUB)
        files.require_free(*own)

    monkeypatch.setattr(LocalFiles, "require_free", overtaken)
    assert extract_images(data, out, **STUB).reused == 12


def test_two_runs_at_once_leave_each_row_once(data, out):
    errors = []

    def work():
        try:
            extract_images(data, out, shard_rows=2, **STUB)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = open_store(out).verify()
    assert (found.rows, found.damage) == (12, ())


def test_shards_that_another_run_commits_just_before_this_one_begins_have_one_record(data, out):
    done_by_another = []

    def overtaken(_):
        done_by_another.append(extract_images(data, out, shard_rows=2, **STUB).computed)
        return Silence()

    run(RunOptions(data=data, out=out, shard_rows=2, **STUB), Reporter(progress=overtaken))
    assert done_by_another == [12]
    assert sorted(path.name for path in out.glob("commit/*/*")) == [f"{index:06d}.1.json" for index in range(6)]
    assert open_store(out).verify().sound


def test_a_plan_that_another_run_publishes_first_is_not_undone(data, out, monkeypatch):
    create = LocalFiles.create

    def overtaken(folder, name, content):
        if name == "view/1.json":
            monkeypatch.setattr(LocalFiles, "create", create)
            assert extract_images(data, out, limit=6, **STUB).computed == 6
        return create(folder, name, content)

    monkeypatch.setattr(LocalFiles, "create", overtaken)
    result = extract_images(data, out, limit=4, **STUB)
    assert (result.images, result.computed, result.reused) == (6, 0, 6)
    assert [path.name for path in (out / "view").iterdir()] == ["1.json"]


def test_a_run_sums_up_its_own_plan_and_not_a_later_one(data, out, monkeypatch):
    plain = StubRuntime.compute

    def overtaken(self, pixels):
        monkeypatch.setattr(StubRuntime, "compute", plain)
        assert extract_images(data, out, **STUB).computed == 12
        return plain(self, pixels)

    monkeypatch.setattr(StubRuntime, "compute", overtaken)
    result = extract_images(data, out, limit=4, **STUB)
    assert (result.images, result.rows, result.computed, result.reused) == (4, 4, 4, 0)
    assert len(open_store(out)) == 12
    assert open_store(out).verify().sound


def test_other_versions_than_the_stores_are_warned_of(data, out, monkeypatch):
    lines = []
    reporter = Reporter(message=lines.append)
    run(RunOptions(data=data, out=out, **STUB), reporter)
    make_images(data, 1, start=12)
    run(RunOptions(data=data, out=out, **STUB), reporter)
    assert set(lines) - {"2 classes: cat 6, dog 6; splits: none", "2 classes: cat 7, dog 6; splits: none"} == {
        "loading mobilenet_v2"
    }
    make_images(data, 1, start=13)
    monkeypatch.setattr("tests.stub.KERAS", "100")
    run(RunOptions(data=data, out=out, **STUB), reporter)
    assert lines[-1] == "warning: the store was made with keras 99, this is 100"


def test_a_call_with_a_time_limit_stops_and_leaves_signals_as_they_were(data, out):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(StoppedEarly):
        extract_images(data, out, max_runtime=0.000001, **STUB)
    assert signal.getsignal(signal.SIGTERM) == before
    with pytest.raises(UsageError, match="--max-runtime is 'soon'"):
        extract_images(data, out, max_runtime="soon", **STUB)
    assert extract_images(data, out, max_runtime="1h", **STUB).images == 12


def test_a_call_shows_progress_if_asked(data, out, capsys):
    extract_images(data, out, progress=True, layer="out_relu", **STUB)
    assert "loading mobilenet_v2" in capsys.readouterr().err


def test_options_are_frozen_and_checked():
    options = RunOptions(data="x")
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.data = "y"
    for wrong in ({"pooling": "mean"}, {"resize": "cubic"}, {"batch_size": 0}, {"max_bad": 2}, {"background": "no"}):
        with pytest.raises(UsageError):
            RunOptions(data="x", **wrong)


AUGMENT = {**STUB, "augment": 3, "brightness": 0.2}


@pytest.mark.parametrize(("batch_size", "shard_rows", "workers"), [(1, 1, 1), (3, 5, 2), (64, 100, 8)])
def test_altered_views_depend_on_no_batch_shard_or_thread(data, out, tmp_path, batch_size, shard_rows, workers):
    extract_images(data, out, **AUGMENT)
    other = tmp_path / "other"
    extract_images(data, other, batch_size=batch_size, shard_rows=shard_rows, workers=workers, **AUGMENT)
    first, second = open_store(out).arrays(), open_store(other).arrays()
    assert np.array_equal(first[0], second[0])
    assert first[1].equals(second[1])
    assert open_store(other).verify().sound


def test_altered_views_stand_beside_the_unaltered_one(data, out, tmp_path):
    result = extract_images(data, out, **AUGMENT)
    assert (result.images, result.rows, result.computed, result.reused) == (12, 48, 12, 0)
    store = open_store(out)
    features, rows = store.arrays()
    assert rows["view"].to_pylist() == [0, 1, 2, 3] * 12
    assert rows["path"].to_pylist() == [path for path in store.images()["path"].to_pylist() for _ in range(4)]
    assert np.array_equal(features[::4], expected_features(data, store.images()["path"].to_pylist()))
    assert len({row.tobytes() for row in features}) == 48
    found = store.verify()
    assert (found.images, found.rows, found.views, found.sound) == (12, 48, 4, True)
    other = tmp_path / "other"
    extract_images(data, other, **{**AUGMENT, "seed": 1})
    others = open_store(other).arrays()[0]
    assert np.array_equal(features[::4], others[::4])
    assert not any(np.array_equal(*pair) for pair in zip(features[1::4], others[1::4], strict=True))


def test_a_store_of_views_is_brought_up_to_date_image_by_image(data, out):
    paths = make_images(data, 12)
    extract_images(data, out, **AUGMENT)
    paths[3].write_bytes(paths[4].read_bytes())
    touch_later(paths[3])
    make_images(data, 2, start=12)
    paths[0].unlink()
    result = extract_images(data, out, **AUGMENT)
    assert (result.images, result.rows, result.computed, result.reused) == (
        13,
        52,
        2,
        11,
    )  # one has the bytes of another
    features, rows = open_store(out).arrays()
    assert np.array_equal(features[::4], expected_features(data, rows["path"].to_pylist()[::4]))
    twins = [
        position for position, path in enumerate(rows["path"].to_pylist()) if path in ("dog/00003.png", "cat/00004.png")
    ]
    assert np.array_equal(features[twins[:4]], features[twins[4:]])  # equal images are altered alike
    with pytest.raises(RecipeMismatch, match="augment: the store has views 3"):
        extract_images(data, out, **STUB)


def test_one_view_that_cannot_be_stored_takes_the_image_with_it(data, out, monkeypatch):
    plain = StubRuntime.compute
    calls = []

    def exploding(self, pixels):
        calls.append(1)
        tensor = plain(self, pixels)
        if len(calls) == 2:
            tensor[1, 0, 0, 0] = np.nan  # the third view of the second image
        return tensor

    monkeypatch.setattr(StubRuntime, "compute", exploding)
    result = extract_images(data, out, batch_size=5, **AUGMENT)
    assert (result.rows, result.failures, result.failures_by_code) == (44, 1, {"not_finite": 1})
    features, rows = open_store(out).arrays()
    assert rows["path"].to_pylist()[4] == "cat/00004.png"
    assert np.array_equal(features[::4], expected_features(data, rows["path"].to_pylist()[::4]))


def test_a_dry_run_tells_of_all_views(data, out):
    plain, augmented = (dry_run(RunOptions(data, out, **options)) for options in (STUB, AUGMENT))
    assert augmented.feature_bytes == 4 * plain.feature_bytes
    assert not out.exists()


def reading_fails(monkeypatch, error, name, times):
    """Make the first `times` attempts to open a file of that name fail with an error of the machine."""
    plain, left = os.open, [times]

    def failing(path, flags, *arguments, **keywords):
        if str(path).endswith(name) and left[0]:
            left[0] -= 1
            raise OSError(error, os.strerror(error), str(path))
        return plain(path, flags, *arguments, **keywords)

    monkeypatch.setattr(os, "open", failing)


@pytest.mark.parametrize("error", [errno.EIO, errno.EMFILE, errno.EACCES, errno.ESTALE, errno.ETIMEDOUT])
def test_passing_trouble_in_reading_is_retried_and_then_ends_the_run_without_a_failure_row(
    data, out, monkeypatch, error
):
    with monkeypatch.context() as patch:
        reading_fails(patch, error, "00007.png", times=1000)
        with pytest.raises(EnvironmentFailure, match=r"00007\.png"):
            extract_images(data, out, shard_rows=4, **STUB)
    assert len(open_store(out).snapshot.failures()) == 0
    result = extract_images(data, out, **STUB)
    assert (result.rows, result.failures) == (12, 0)


def test_trouble_in_reading_that_passes_is_not_noticed(data, out, monkeypatch):
    reading_fails(monkeypatch, errno.EIO, "00007.png", times=2)
    assert extract_images(data, out, **STUB).failures == 0


def test_parts_that_retry_failures_converge(data, out):
    """Each part used to make a new plan for what had failed again and so dropped the shards of the others."""
    for path in sorted(data.rglob("*.png"))[:6]:
        path.write_text("no")
    extract_images(data, out, shard_rows=2, **STUB)
    retry = {"retry_failed": True, "shard_rows": 2, **STUB}
    results = [extract_images(data, out, part=(number, 3), **retry) for number in range(3)]
    assert [result.computed for result in results] == [2, 2, 2]
    assert results[-1].pending == 0
    assert len(list(out.glob("view/*.json"))) == 2
    assert [extract_images(data, out, part=(number, 3), **retry).computed for number in range(3)] == [0, 0, 0]
    assert extract_images(data, out, **retry).computed == 6  # asked again for the whole store
    assert open_store(out).verify().sound


def test_a_status_file_in_the_stores_own_folder_is_no_foreign_file(data, out):
    status_file = out / "status.json"
    with pytest.raises(UsageError):
        extract_images(data / "nowhere", out, status_file=status_file, **STUB)
    assert json.loads(status_file.read_text())["state"] == "failed"
    assert extract_images(data, out, status_file=status_file, **STUB).rows == 12
    assert json.loads(status_file.read_text())["done"] == 12
    assert open_store(out).verify().sound


def test_too_many_failures_are_an_error_in_python_too(data, out):
    for path in sorted(data.rglob("*.png"))[:2]:
        path.write_text("no")
    with pytest.raises(TooManyFailures, match="2 of 12 images failed"):
        extract_images(data, out, **{**STUB, "max_bad": 0.05})
    assert len(open_store(out)) == 10
    assert extract_images(data, out, **{**STUB, "max_bad": 0.2}).failures == 2


@pytest.mark.parametrize("augment", [0, 2])
def test_a_shard_is_the_same_whenever_its_rows_are_packed(data, tmp_path, monkeypatch, augment):
    (data / "cat" / "bad.png").write_bytes(b"no image")
    extract_images(data, tmp_path / "late", augment=augment, **STUB)
    monkeypatch.setattr("extract.shard_builder._PACKED_BYTES", 1)
    extract_images(data, tmp_path / "early", augment=augment, batch_size=2, **STUB)
    late, early = (sorted(path.name for path in (tmp_path / name / "data").iterdir()) for name in ("late", "early"))
    assert late == early


def test_a_store_keeps_its_compression(data, out, tmp_path):
    extract_images(data, out, compression="lz4", **STUB)
    make_images(data, 4, start=12)
    extract_images(data, out, **STUB)
    extract_images(data, tmp_path / "zstd", **STUB)
    with pytest.raises(RecipeMismatch, match="compression: the store has lz4, this run asks for none"):
        extract_images(data, out, compression="none", **STUB)
    assert np.array_equal(open_store(out).arrays()[0], open_store(tmp_path / "zstd").arrays()[0])
    versions = [json.loads((store / "store.json").read_text())["version"] for store in (out, tmp_path / "zstd")]
    assert versions == [2, 1]


@pytest.mark.parametrize(("batch_size", "computed"), [(8, 8), (32, 32), (512, 32)])
def test_a_batch_is_no_larger_than_the_images_need(data, out, loads, batch_size, computed):
    extract_images(data, out, batch_size=batch_size, **STUB)
    assert [spec.batch_size for spec, *_ in loads] == [computed]


@pytest.mark.parametrize(
    ("images", "batch_size", "padded"),
    [(36, 512, 64), (64, 512, 64), (65, 512, 128), (300, 512, 512), (1, 32, 32), (5, 8, 8), (1, 1, 1), (3, 128, 32)],
)
def test_padding_goes_to_the_next_power_of_two_from_32_on(images, batch_size, padded):
    assert padded_size(images, batch_size) == padded
