"""Every call that publishes a store's files fails once: exit code 74, then the same command completes the store.

The fault is in `os`, where the product's own files are written; a failing write has written half before.
"""

import errno
import os

import pytest

from store.errors import EnvironmentFailure
from store.files import disk
from store.maintenance import collect_garbage
from tests.attacks.hostile import raised
from tests.faults.build import IMAGES, assert_complete, assert_sound, run
from tests.store.build import Image

PROTOCOL = ("mkdir", "open", "write", "fsync", "close", "link", "unlink", "stat", "listdir", "rename", "utime")
"""What publishing calls: to make folders, write and sync, give a name, tidy up and look."""

ERRORS = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.EACCES, errno.EMFILE, errno.ENOLCK]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(disk, "_PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class Disk:
    """Fails at the `number`-th call of the protocol below `root`, `times` times in a row."""

    def __init__(self, patch, root, number, code, times=1):
        self.root, self.number, self.code, self.times = str(root), number, code, times
        self.calls = 0
        self.descriptors = set()
        for name in PROTOCOL:
            patch.setattr(os, name, self.watched(name, getattr(os, name)))

    def watched(self, name, original):
        def call(*arguments, **keywords):
            first = arguments[0] if arguments else ""
            own = first in self.descriptors if isinstance(first, int) else self.root in os.fsdecode(first)
            if own:
                self.calls += 1
                if self.number <= self.calls < self.number + self.times:
                    if name == "write":
                        original(first, arguments[1][: len(arguments[1]) // 2])
                    if name == "close":
                        original(first)
                    raise OSError(self.code, os.strerror(self.code))
            result = original(*arguments, **keywords)
            if own and name == "open":
                self.descriptors.add(result)
            if own and name == "close":
                self.descriptors.discard(first)
            return result

        return call


@pytest.mark.parametrize("times", [1, 5], ids=["once", "five times"])
@pytest.mark.parametrize(
    ("code", "step"), [(errno.ENOSPC, 23), *(pytest.param(code, 1, marks=pytest.mark.slow) for code in ERRORS)]
)
def test_every_call_of_the_protocol_may_fail(tmp_path, code, step, times):
    refused = 0
    for number in range(times, 2000, step):
        root = tmp_path / str(number)
        with pytest.MonkeyPatch.context() as patch:
            failing = Disk(patch, root, number, code, times)
            try:
                run(root)
            except EnvironmentFailure as error:
                refused += 1
                assert error.exit_code == 74  # noqa: PT017  nothing else may come out
        assert_sound(root)
        run(root)
        assert_complete(root)
        if failing.calls < number:
            break
    assert refused > 5
    assert number > 100


def test_a_full_disk_stays_full_until_there_is_space(tmp_path):
    root = tmp_path / "store"
    for number in (10, 60, 110):
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, root, number, errno.ENOSPC, times=10**6)
            with pytest.raises(EnvironmentFailure, match="free some space, then run the same command again"):
                run(root)
        assert_sound(root)
    run(root)
    assert_complete(root)


@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_every_call_of_a_garbage_collection_may_fail(tmp_path, step):
    """What is set aside to be deleted is put back, or is deleted the next time."""
    for number in range(1, 2000, step):
        root = tmp_path / str(number)
        small = run(root)
        small.update({**IMAGES, "b/6.png": Image()}, images_per_shard=2)
        small.update(IMAGES, images_per_shard=2)
        with pytest.MonkeyPatch.context() as patch:
            failing = Disk(patch, root, number, errno.EIO, times=4)
            error = raised(lambda small=small: collect_garbage(small.folder, min_age=-1))
        assert error is None or error.exit_code == 74
        assert_sound(root)
        collect_garbage(small.folder, min_age=-1)
        assert collect_garbage(small.folder, min_age=-1).names == ()
        assert_complete(root)
        if failing.calls < number:
            break
    assert number > 20
