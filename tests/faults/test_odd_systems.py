"""Systems that are not as usual: no hard links, long names, few descriptors, threads and memory, no terminal, a wrong clock."""

import contextlib
import errno
import fcntl
import importlib
import os
import pty
import resource
import signal
import sys
import termios
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import extract.run
from extract.sources.listing import list_data
from extract.sources.table import read_labels
from store import open_store
from store.errors import EnvironmentFailure, UsageError
from store.export import export as export_store
from store.files import disk
from store.files.local import LocalFiles
from store.maintenance import collect_garbage, verify
from tests.faults.build import IMAGES, assert_complete, run
from tests.faults.children import assert_same_store, extract_here, in_child, make_world, run_command, run_stub
from tests.store.build import Image
from tests.stub import load_stub, make_images


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setattr("extract.resolve.load_runtime", load_stub)


# File systems


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK], ids=errno.errorcode.get)
def test_a_file_system_without_hard_links(tmp_path, monkeypatch, code):
    def link(*_, **__):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", link)
    small = run(tmp_path / "store")
    assert_complete(tmp_path / "store")
    run(tmp_path / "store")
    small.update({**IMAGES, "b/6.png": Image()}, images_per_shard=2)
    small.update(IMAGES, images_per_shard=2)
    collect_garbage(small.folder, min_age=-1)
    assert_complete(tmp_path / "store")
    assert not os.listdir(tmp_path / "store" / "tmp")


@pytest.mark.parametrize("seconds", [-400 * 86400, -7200, 7200, 400 * 86400])
def test_a_clock_that_is_wrong_or_goes_back(tmp_path, monkeypatch, seconds):
    """Of this machine against the file system's, and from one run to the next."""
    plain, plain_ns = time.time, time.time_ns
    small = run(tmp_path / "store")
    monkeypatch.setattr(time, "time", lambda: plain() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: plain_ns() + seconds * 10**9)
    small.update({**IMAGES, "b/6.png": Image()}, images_per_shard=2)
    collect_garbage(small.folder)
    assert verify(small.folder).sound
    monkeypatch.undo()
    small.update(IMAGES, images_per_shard=2)
    collect_garbage(small.folder)
    assert_complete(tmp_path / "store")


def test_names_as_long_as_there_can_be(tmp_path, stub):
    label, store = "é" * 127 + "x", "s" * 255
    paths = make_images(tmp_path / "data", 4, classes=(label, "b" * 255))
    for number, path in enumerate(paths):
        path.rename(path.with_name(f"{number}" + "n" * 250 + ".png"))
    status = "f" * 255
    result = extract_here(tmp_path / "data", tmp_path / store, status_file=tmp_path / status)
    assert (result.rows, result.failures) == (4, 0)
    assert set(open_store(tmp_path / store).table()["label"].to_pylist()) == {label, "b" * 255}
    assert '"state": "done"' in (tmp_path / status).read_text()


def test_folders_and_files_whose_names_are_not_utf8(tmp_path, stub):
    folder = tmp_path / os.fsdecode(b"by\xfftes")
    make_images(folder / "data", 4)
    extract_here(folder / "data", folder / "store", format="parquet")
    store = open_store(folder / "store")
    assert len(store.arrays()[0]) == 4
    names = store.table()["path"].to_pylist()
    for table, join in ((folder / "listing.csv", "data/{}"), (folder / "labels.csv", "{}")):
        table.write_text("path,label\n" + "".join(f"{join.format(name)},new\n" for name in names))
    assert list_data(folder / "listing.csv").table["label"].to_pylist() == ["new"] * 4
    assert len(read_labels(str(folder / "labels.csv")).table) == 4
    for to in ("csv", "parquet", "npy", "npz", "tfrecord"):
        assert all(map(Path.is_file, export_store(store, to, folder / f"features.{to}")))


def test_a_path_that_is_too_long_is_named(tmp_path, stub):
    place = os.getcwd()
    folder = tmp_path / "data"
    make_images(folder, 2)
    try:
        os.chdir(folder)
        for _ in range(20):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
    finally:
        os.chdir(place)
    with pytest.raises(EnvironmentFailure, match=r"cannot look at .*: File name too long"):
        extract_here(folder, tmp_path / "store")


@pytest.mark.slow
def test_two_hundred_thousand_files_in_a_folder(tmp_path, stub):
    originals = make_images(tmp_path / "data", 4, classes=("a",))
    for number in range(200_000):
        os.link(originals[number % 4], tmp_path / "data" / "a" / f"copy{number:06}.png")
    listing = list_data(tmp_path / "data")
    assert len(listing.table) == 200_004
    result = extract_here(tmp_path / "data", tmp_path / "store", limit=100)
    assert (result.images, result.rows) == (100, 100)


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES], ids=errno.errorcode.get)
def test_a_folder_that_cannot_be_looked_at_is_no_folder_that_is_gone(tmp_path, monkeypatch, code):
    """Its images would have left the store."""
    make_images(tmp_path / "data", 4)
    plain = os.scandir
    monkeypatch.setattr(disk, "_PAUSES", (0.0, 0.0))

    class Entry:
        def __init__(self, entry):
            self.name, self.path = entry.name, entry.path

        def stat(self):
            raise OSError(code, os.strerror(code))

    @contextlib.contextmanager
    def scandir(folder):
        with plain(folder) as entries:
            yield [Entry(entry) if entry.name == "dog" else entry for entry in entries]

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(EnvironmentFailure, match=rf"cannot look at .*dog: {os.strerror(code)}"):
        list_data(tmp_path / "data")


def test_data_that_may_not_be_looked_at_is_not_taken_for_missing(tmp_path, monkeypatch):
    make_images(tmp_path / "data", 2)
    plain = os.stat
    monkeypatch.setattr(disk, "_PAUSES", (0.0, 0.0))

    def stat(path, *rest, **options):
        if str(path).endswith("data"):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return plain(path, *rest, **options)

    monkeypatch.setattr(os, "stat", stat)
    with pytest.raises(EnvironmentFailure, match=r"cannot look at .*data: Permission denied; check the folder's perm"):
        list_data(tmp_path / "data")


# Folders inside each other, and files that change


def test_a_store_inside_of_data_is_left_out(tmp_path, stub):
    data = tmp_path / "data"
    make_images(data, 6)
    for _ in range(2):
        result = extract_here(data, data / "store")
        assert (result.images, result.rows, result.failures) == (6, 6, 0)
    assert result.computed == 0
    assert open_store(data / "store").verify().sound


@pytest.mark.parametrize("folder", ["data", "tmp/mine", "view", "plan", "commit"])
def test_data_inside_of_the_store_is_refused(tmp_path, stub, folder):
    """`store gc` would delete it."""
    make_images(tmp_path / "data", 2)
    extract_here(tmp_path / "data", tmp_path / "store")
    make_images(tmp_path / "store" / folder, 2)
    (tmp_path / "link").symlink_to(tmp_path / "store" / folder)
    for data in (tmp_path / "store" / folder, tmp_path / "link"):
        with pytest.raises(UsageError, match=r"is inside the store .*`store gc`"):
            extract_here(data, tmp_path / "store")


def test_files_that_change_or_vanish_between_listing_and_reading(tmp_path, stub, monkeypatch):
    data = tmp_path / "data"
    changed, gone, folder, pipe, *_ = make_images(data, 8)
    other = (tmp_path / "other.png", make_images(tmp_path / "more", 1, start=50)[0].read_bytes())[1]
    plain = extract.run.list_data

    def listed(*arguments):
        listing = plain(*arguments)
        for path in (gone, folder, pipe):
            path.unlink()
        changed.write_bytes(other)
        folder.mkdir()
        os.mkfifo(pipe)
        return listing

    monkeypatch.setattr(extract.run, "list_data", listed)
    result = extract_here(data, tmp_path / "store", max_bad=1)
    assert (result.images, result.rows, result.failures_by_code) == (8, 5, {"missing": 1, "not_a_file": 2})
    monkeypatch.setattr(extract.run, "list_data", plain)
    result = extract_here(data, tmp_path / "store", max_bad=1)
    assert (result.images, result.rows, result.failures_by_code) == (6, 5, {"not_a_file": 1})
    assert (result.changes.changed, result.computed) == (0, 0)
    extract_here(data, tmp_path / "again", max_bad=1)
    found, expected = open_store(tmp_path / "store"), open_store(tmp_path / "again")
    assert found.table().equals(expected.table())
    np.testing.assert_array_equal(found.arrays()[0], expected.arrays()[0])


# Limits of the process


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))


def hardly_any_descriptors():
    """No more than are open."""
    count = len(os.listdir("/proc/self/fd")) - 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def no_threads():
    plain = threading.Thread.start

    def begin(self):
        if "decode" in self.name or "write" in self.name:
            raise RuntimeError("can't start new thread")
        plain(self)

    threading.Thread.start = begin


def no_processes():
    """What the system says of a thread too many. The limit does not bind root."""
    # Imported later otherwise, when it is too late: `nobody` may not be allowed to read Python's own folder.
    importlib.import_module("email.parser")
    importlib.import_module("zoneinfo")

    if os.getuid() == 0:
        os.setuid(65534)
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))


def little_memory():
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + 40 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


@pytest.mark.parametrize(
    ("limit", "codes"),
    [
        (few_descriptors, {0}),
        (hardly_any_descriptors, {74}),
        (no_threads, {74}),
        (no_processes, {74}),
        (little_memory, {0, 74}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_run_under_a_limit_completes_or_says_so(world, tmp_path, limit, codes):
    data, reference = world
    open_to_all(tmp_path)
    open_to_all(data)
    out = tmp_path / "stores" / "store"
    out.parent.mkdir()
    out.parent.chmod(0o777)
    assert in_child(run_command, data, out, limit, seconds=60) in codes
    assert in_child(run_stub, data, out) == 0
    assert_same_store(out, reference)


def open_to_all(folder):
    """So that `nobody` may read what is below, here and where the images are."""
    for place in (folder, *folder.parents[:-2]):
        place.chmod(place.stat().st_mode | 0o055)


# The terminal


def after(seconds, action):
    thread = threading.Timer(seconds, action)
    thread.daemon = True
    thread.start()


def send(number, ignored=False):
    """Send this process a signal soon, which it may be ignoring, as under nohup.

    The tests themselves may run with it ignored: shells do so for what they start in the background.
    """
    signal.signal(number, signal.SIG_IGN if ignored else signal.SIG_DFL)
    after(0.3, lambda: os.kill(os.getpid(), number))


def hang_up():
    send(signal.SIGHUP)


def hang_up_ignored():
    send(signal.SIGHUP, ignored=True)


def quit_it():
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    send(signal.SIGQUIT)


@pytest.mark.parametrize(
    ("prepare", "code"),
    [(hang_up, 75), (hang_up_ignored, 0), (quit_it, -signal.SIGQUIT)],
    ids=["SIGHUP", "SIGHUP under nohup", "SIGQUIT"],
)
def test_a_signal_ends_a_run_and_the_next_one_completes_it(world, tmp_path, prepare, code):
    data, reference = world
    out = tmp_path / "store"
    assert in_child(run_command, data, out, prepare, 0.2, seconds=60) == code
    assert in_child(run_stub, data, out) == 0
    assert_same_store(out, reference)


def close_streams(*numbers):
    for number in numbers:
        os.close(number)
        setattr(sys, ("stdin", "stdout", "stderr")[number], None)


def no_input():
    close_streams(0)


def no_output():
    close_streams(1)


def no_messages():
    close_streams(2)


def no_streams():
    close_streams(0, 1, 2)


@pytest.mark.parametrize("prepare", [no_input, no_output, no_messages, no_streams])
def test_a_run_without_standard_streams(world, tmp_path, prepare):
    """No file of the store gets the number of one, and so no message."""
    data, reference = world
    assert in_child(run_command, data, tmp_path / "store", prepare, seconds=60) == 0
    assert_same_store(tmp_path / "store", reference)


def on_a_terminal(ignored):
    """Have a terminal, which goes away soon."""
    master, slave = pty.openpty()
    os.setsid()
    fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        os.dup2(slave, number)
        setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
    os.close(slave)
    signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    after(0.5, lambda: os.close(master))


def terminal_that_goes():
    on_a_terminal(ignored=False)


def terminal_that_goes_under_nohup():
    on_a_terminal(ignored=True)


@pytest.mark.parametrize(("prepare", "codes"), [(terminal_that_goes, {75}), (terminal_that_goes_under_nohup, {0, 74})])
def test_a_terminal_that_goes_away(world, tmp_path, prepare, codes):
    """Under nohup the store is completed, though the summary on standard output has nowhere to go."""
    data, reference = world
    out = tmp_path / "store"
    assert in_child(run_command, data, out, prepare, 0.3, seconds=60) in codes
    if 0 in codes:
        assert verify(LocalFiles(out)).pending == 0
    assert in_child(run_stub, data, out) == 0
    assert_same_store(out, reference)
