import errno
import itertools
import json
import os
import socket
import subprocess
import sys
import threading

import pytest

import store.files.disk
import store.files.local
from store.errors import EnvironmentFailure, NotAStore, UsageError
from store.files.base import NotARegularFile
from store.files.local import LocalFiles
from tests.store.files.file_systems import take_away


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk():
    """In this file the disk is waited for."""


@pytest.fixture
def folder(tmp_path):
    return LocalFiles(tmp_path / "deep" / "store")


@pytest.fixture(autouse=True)
def pauses(monkeypatch):
    """The pauses between attempts, which no test waits for."""
    made = []
    monkeypatch.setattr("store.files.disk.time.sleep", made.append)
    return made


def leftovers(folder):
    return folder.names("tmp")


def failing(code, calls=()):
    """A function that fails with that errno; of its calls only those numbered in `calls`, if there are any."""
    seen = []

    def fail(*arguments, **options):
        seen.append(arguments)
        if not calls or len(seen) - 1 in calls:
            raise OSError(code, os.strerror(code))
        return fail.original(*arguments, **options)

    return fail


@pytest.fixture
def inject(monkeypatch):
    def replace(name, code, calls=()):
        fail = failing(code, calls)
        fail.original = getattr(os, name)
        monkeypatch.setattr(store.files.local.os, name, fail)

    return replace


def test_what_is_created_can_be_read_and_nothing_else_is_left(folder):
    assert folder.create("view/1.json", b"one")
    assert folder.read("view/1.json") == b"one"
    assert folder.names("view") == ["1.json"]
    assert leftovers(folder) == []
    assert folder.path("view/1.json").stat().st_nlink == 1


@pytest.mark.parametrize("data", [b"", b"x" * 3_000_000])
def test_any_length_is_written_whole(folder, data):
    folder.create("data/x", data)
    assert folder.read("data/x") == data


def test_a_write_that_comes_back_short_is_continued(folder, monkeypatch):
    write = os.write
    monkeypatch.setattr(store.files.local.os, "write", lambda descriptor, data: write(descriptor, data[:3]))
    folder.create("data/x", b"0123456789")
    assert folder.read("data/x") == b"0123456789"


def test_a_taken_name_keeps_its_first_bytes(folder):
    assert folder.create("view/1.json", b"first")
    assert not folder.create("view/1.json", b"second")
    assert folder.read("view/1.json") == b"first"
    assert leftovers(folder) == []


def test_bytes_are_on_disk_before_they_get_their_name(folder, monkeypatch):
    folder.create("data/first", b"")  # the folders are there
    steps = []
    for name in ("fsync", "link"):
        original = getattr(os, name)
        monkeypatch.setattr(
            store.files.local.os,
            name,
            lambda *arguments, name=name, original=original: (steps.append(name), original(*arguments))[1],
        )
    folder.create("data/x", b"x")
    assert steps == ["fsync", "link", "fsync"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("name", ["write", "fsync", "link", "open"])
def test_a_failing_disk_leaves_nothing_behind(folder, inject, name, code):
    folder.create("data/first", b"")
    inject(name, code)
    with pytest.raises(EnvironmentFailure) as caught:
        folder.create("data/x", b"x" * 100)
    assert caught.value.exit_code == 74
    assert str(folder.path("data/x")) in str(caught.value)
    assert os.strerror(code) in str(caught.value)
    assert "run the same command again" in str(caught.value)
    assert folder.names("data") == ["first"]
    assert leftovers(folder) == []


def test_a_disk_that_fills_up_while_writing_leaves_nothing_behind(folder, monkeypatch):
    folder.create("data/first", b"")
    write = os.write
    calls = []

    def fill(descriptor, data):
        if calls:
            raise OSError(errno.ENOSPC, "No space left on device")
        calls.append(data)
        return write(descriptor, data[:10])

    monkeypatch.setattr(store.files.local.os, "write", fill)
    with pytest.raises(EnvironmentFailure, match="free some space"):
        folder.create("data/x", b"x" * 100)
    assert folder.names("data") == ["first"]
    assert leftovers(folder) == []


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_cannot_sync_folders_will_do(folder, inject, code):
    folder.create("data/first", b"")
    inject("fsync", code, calls={1})  # the file's own is number 0
    assert folder.create("data/x", b"x")
    assert folder.read("data/x") == b"x"


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK])
def test_without_hard_links_a_name_is_still_created_once(folder, inject, code):
    inject("link", code)
    assert folder.create("view/1.json", b"first")
    assert not folder.create("view/1.json", b"second")
    assert folder.read("view/1.json") == b"first"
    assert leftovers(folder) == []


without = pytest.mark.parametrize("steps", ["", "link", "link and rename"])


@without
def test_of_many_threads_one_creates_a_name(folder, monkeypatch, steps):
    take_away(steps, monkeypatch.setattr)
    writers, names = 8, [f"commit/p/{number:06d}.1.json" for number in range(15)]
    barrier = threading.Barrier(writers)
    won = []

    def write(number):
        for name in names:
            barrier.wait()
            if folder.create(name, b"%d" % number * 50):
                won.append((name, number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(name for name, _ in won) == names
    assert all(folder.read(name) == b"%d" % number * 50 for name, number in won)
    assert leftovers(folder) == []


def test_without_a_step_the_folder_is_locked_between_the_look_and_the_rename(folder, monkeypatch):
    take_away("link and rename", monkeypatch.setattr)
    folder.create("data/first", b"")  # the folders are there
    looked, other_waits, waiting = threading.Event(), threading.Event(), threading.local()
    flock, rename = store.files.disk.fcntl.flock, os.rename

    def lock(*arguments):
        if getattr(waiting, "second", False):
            other_waits.set()
        flock(*arguments)

    def pause_then_rename(*arguments):
        if not getattr(waiting, "second", False):
            looked.set()
            other_waits.wait(10)
            other.join(0.3)  # long enough to publish, were there no lock
        rename(*arguments)

    def second():
        waiting.second = True
        looked.wait(10)
        won["second"] = folder.create("data/x", b"second")
        other_waits.set()

    monkeypatch.setattr(store.files.disk.fcntl, "flock", lock)
    monkeypatch.setattr(store.files.disk.os, "rename", pause_then_rename)
    won = {}
    other = threading.Thread(target=second)
    other.start()
    won["first"] = folder.create("data/x", b"first")
    other.join()
    assert won == {"first": True, "second": False}
    assert folder.read("data/x") == b"first"


@without
def test_of_many_processes_one_creates_a_name(folder, steps):
    program = """
import sys
from store.files.local import LocalFiles
from tests.store.files.file_systems import take_away
folder, number = LocalFiles(sys.argv[1]), sys.argv[2]
take_away(sys.argv[3])
print("ready", flush=True)
sys.stdin.readline()
print([name for name in range(30) if folder.create(f"data/{name}", number.encode())])
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(folder.root), str(number), steps],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    won = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert sorted(itertools.chain(*won)) == list(range(30))
    assert all(folder.read(f"data/{name}") == b"%d" % number for number, names in enumerate(won) for name in names)


def test_a_missing_file_is_told_from_one_that_cannot_be_read(folder):
    folder.create("data/x", b"x")
    with pytest.raises(FileNotFoundError):
        folder.read("data/y")
    with pytest.raises(EnvironmentFailure, match="cannot read"):
        folder.read("data")


def test_a_folder_that_cannot_be_listed_is_said_so(folder, inject):
    folder.create("data/x", b"x")
    inject("listdir", errno.EACCES)
    with pytest.raises(EnvironmentFailure, match=r"cannot list .*data.*check the folder's permissions"):
        folder.names("data")
    with pytest.raises(EnvironmentFailure, match="cannot list"):
        folder.require_free()


def test_names_are_sorted_and_none_in_a_folder_that_is_not_there(folder):
    for name in ("b", "a", "c"):
        folder.create(f"data/{name}", b"")
    assert folder.names("data") == ["a", "b", "c"]
    assert folder.names("plan") == []


def test_a_rename_to_a_taken_name_changes_nothing(tmp_path):
    (tmp_path / "old").write_bytes(b"old")
    store.files.disk.rename_to_free_name(tmp_path / "old", tmp_path / "new")
    (tmp_path / "old").write_bytes(b"another")
    with pytest.raises(FileExistsError):
        store.files.disk.rename_to_free_name(tmp_path / "old", tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == b"old"
    with pytest.raises(FileNotFoundError):
        store.files.disk.rename_to_free_name(tmp_path / "gone", tmp_path / "newer")


def test_removing_twice_is_no_error(folder):
    folder.create("data/x", b"x")
    assert folder.status("data/x").size == 1
    folder.remove("data/x")
    folder.remove("data/x")
    assert folder.names("data") == []
    assert folder.status("data/x") is None


def test_what_cannot_be_removed_is_said(folder):
    folder.create("data/x", b"x")
    with pytest.raises(EnvironmentFailure, match="cannot delete"):
        folder.remove("data")


# require_free, require_store


def test_a_folder_that_is_not_there_or_empty_is_free(folder):
    folder.require_free()
    folder.root.mkdir(parents=True)
    folder.require_free()


def test_what_a_run_killed_at_its_start_leaves_is_free(folder):
    folder.root.joinpath("tmp").mkdir(parents=True)
    folder.path("tmp/0123.part").write_bytes(b"{")
    folder.require_free()


@pytest.mark.parametrize("name", ["photo.jpg", ".hidden", "data/x", "tmp/photo.jpg"])
def test_a_folder_that_holds_something_else_is_not_free(folder, name):
    folder.path(name).parent.mkdir(parents=True)
    folder.path(name).write_bytes(b"mine")
    with pytest.raises(UsageError, match="not empty and not a store"):
        folder.require_free()
    assert folder.path(name).read_bytes() == b"mine"


def test_a_file_is_no_folder_for_a_store(folder):
    folder.root.parent.mkdir()
    folder.root.write_bytes(b"")
    with pytest.raises(UsageError, match="is a file"):
        folder.require_free()
    with pytest.raises(NotAStore, match="is not a store"):
        folder.require_store()


def test_a_store_is_known_by_its_store_json(folder):
    with pytest.raises(NotAStore, match="no such folder"):
        folder.require_store()
    folder.root.mkdir(parents=True)
    with pytest.raises(NotAStore, match=r"has no store\.json"):
        folder.require_store()
    folder.create("store.json", b"{}")
    folder.require_store()
    assert folder.is_store()


# Reading with retries

PASSING = [
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.EAGAIN,
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EBUSY,
    errno.EACCES,
    errno.EPERM,
]
passing = pytest.mark.parametrize("code", PASSING, ids=errno.errorcode.get)


def ask_read(folder):
    assert folder.read("data/x") == b"x"


def ask_status(folder):
    assert folder.status("data/x").size == 1


def ask_names(folder):
    assert folder.names("data") == ["x"]


def ask_walk(folder):
    assert [name for name, _ in folder.walk()] == ["data/x"]


ASKED = [(ask_read, "open"), (ask_status, "stat"), (ask_names, "listdir"), (ask_walk, "scandir")]
asked = pytest.mark.parametrize(("ask", "call"), ASKED, ids=lambda value: getattr(value, "__name__", value))


@passing
@asked
def test_an_error_that_passes_is_not_noticed(folder, inject, pauses, ask, call, code):
    folder.create("data/x", b"x")
    (folder.root / "tmp").rmdir()
    inject(call, code, calls={0, 1} if call != "stat" else {0})
    ask(folder)
    assert pauses == ([0.1, 0.3] if call != "stat" else [0.1])


@passing
@asked
def test_an_error_that_stays_is_the_environments_fault(folder, inject, pauses, ask, call, code):
    folder.create("data/x", b"x")
    (folder.root / "tmp").rmdir()
    inject(call, code)
    with pytest.raises(EnvironmentFailure, match=os.strerror(code)) as caught:
        ask(folder)
    assert caught.value.exit_code == 74
    assert pauses == [0.1, 0.3, 0.9]


@pytest.mark.parametrize(
    "code", [errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG], ids=errno.errorcode.get
)
def test_some_errors_say_that_there_is_no_file(folder, inject, pauses, code):
    folder.create("data/x", b"x")
    inject("open", code)
    with pytest.raises(FileNotFoundError) as caught:
        folder.read("data/x")
    assert caught.value.errno == code
    assert pauses == []


def test_a_file_that_fails_while_it_is_read_is_read_again(folder, monkeypatch, pauses):
    folder.create("data/x", b"x")
    fail, plain = iter([True]), os.fstat

    def fstat(descriptor):
        if next(fail, False):
            raise OSError(errno.EIO, "Input/output error")
        return plain(descriptor)

    monkeypatch.setattr(store.files.disk.os, "fstat", fstat)
    assert folder.read("data/x") == b"x"
    assert pauses == [0.1]


def make_pipe(path):
    os.mkfifo(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(path))


def make_device(path):
    path.symlink_to("/dev/null")


@pytest.mark.parametrize(
    ("make", "kind"),
    [(make_pipe, "pipe"), (make_socket, "socket or a device"), (make_device, "device"), (os.mkdir, "folder")],
)
def test_what_is_no_regular_file_is_never_waited_for(folder, monkeypatch, make, kind):
    folder.root.mkdir(parents=True)
    monkeypatch.chdir(folder.root)
    make(folder.path("x"))
    with pytest.raises(NotARegularFile, match=f"expected a file, this is a {kind}") as caught:
        folder.read("x")
    assert caught.value.kind == kind
    assert folder.status("x") is None
    assert [status for _, status in folder.walk()] == ([] if kind == "folder" else [None])


# walk


def test_a_walk_goes_deeper_than_recursion_could(tmp_path):
    depth = 1200
    folder = tmp_path / "deep"
    for level in range(depth + 1):
        os.mkdir(folder.joinpath(*["d"] * level))
    folder.joinpath(*["d"] * depth, "x").write_bytes(b"x")
    ((name, status),) = LocalFiles(folder).walk()
    os.unlink(folder / name)
    for level in range(depth, -1, -1):  # pytest, which tidies up by recursion, could not
        os.rmdir(folder.joinpath(*["d"] * level))
    assert name == "d/" * depth + "x"
    assert status.size == 1


def test_a_walk_follows_links_but_not_to_a_folder_above(tmp_path):
    (tmp_path / "data" / "cat").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "1.png").write_bytes(b"1")
    (tmp_path / "data" / "linked").symlink_to("../elsewhere")
    (tmp_path / "data" / "cat" / "above").symlink_to("..")
    (tmp_path / "data" / "cat" / "nowhere.png").symlink_to("gone")
    (tmp_path / "data" / "cat" / "itself.png").symlink_to("itself.png")
    found = dict(LocalFiles(tmp_path / "data").walk())
    assert set(found) == {"linked/1.png", "cat/nowhere.png", "cat/itself.png"}
    assert found["linked/1.png"].size == 1
    assert found["cat/nowhere.png"] is None
    assert found["cat/itself.png"] is None
