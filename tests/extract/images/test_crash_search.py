"""The search for crashing images blames an image only for what it does twice, and never for trouble of the machine."""

import os

import pytest

from extract.images.crash_search import find_crashing_images
from extract.images.decode import DecodePolicy
from store.errors import EnvironmentFailure
from tests.stub import make_images

POLICY = DecodePolicy((16, 16), "bilinear", "stretch", (255, 255, 255), 10**8)

# Python runs this at the start of every process that has its folder on the path.
AT_START = {
    "out of memory at import": "import sys\nif 'crash_search' in ' '.join(sys.orig_argv):\n    import os\n    os._exit(137)\n",
    "unreadable": """
import extract.sources.reading
from store.errors import EnvironmentFailure

def fail(files, name):
    raise EnvironmentFailure("cannot read " + name + ": Input/output error; fix that, then run the same command again")

extract.sources.reading.read_image = fail
""",
    "crashes once": """
import os
import extract.images.decode
decode = extract.images.decode.decode
marker = os.environ["MARKER"]

def once(data, policy):
    if not os.path.exists(marker):
        open(marker, "w").close()
        os.kill(os.getpid(), 9)
    return decode(data, policy)

extract.images.decode.decode = once
""",
    "hangs": """
import time
import extract.images.decode
decode = extract.images.decode.decode

def hanging(data, policy):
    if data.startswith(b"hang"):
        time.sleep(3600)
    return decode(data, policy)

extract.images.decode.decode = hanging
""",
    "crashes": """
import os
import extract.images.decode
decode = extract.images.decode.decode

def crashing(data, policy):
    if data.startswith(b"crash"):
        os.kill(os.getpid(), 11)
    return decode(data, policy)

extract.images.decode.decode = crashing
""",
}


@pytest.fixture
def names(tmp_path):
    return [path.relative_to(tmp_path).as_posix() for path in make_images(tmp_path, 6)]


@pytest.fixture
def at_start(tmp_path, monkeypatch):
    """Have every new process begin with one of AT_START."""

    def begin_with(name):
        (tmp_path / "site").mkdir()
        (tmp_path / "site" / "sitecustomize.py").write_text(AT_START[name])
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), os.getcwd()]))
        monkeypatch.setenv("MARKER", str(tmp_path / "marker"))

    return begin_with


def test_sound_images_are_not_blamed(tmp_path, names):
    (tmp_path / names[2]).write_text("no image: an ordinary failure")
    assert find_crashing_images(str(tmp_path), names, POLICY) == {}


def test_an_image_that_crashes_twice_is_blamed_and_the_others_are_tried(tmp_path, names, at_start):
    at_start("crashes")
    for name in (names[1], names[4]):
        (tmp_path / name).write_bytes(b"crash")
    found = find_crashing_images(str(tmp_path), names, POLICY)
    assert {path: failure.code for path, failure in found.items()} == {names[1]: "crashes", names[4]: "crashes"}


def test_an_image_during_which_the_process_was_killed_once_is_not_blamed(tmp_path, names, at_start):
    at_start("crashes once")
    assert find_crashing_images(str(tmp_path), names, POLICY) == {}
    assert (tmp_path / "marker").exists()


def test_a_process_that_does_not_start_says_nothing_about_images(tmp_path, names, at_start):
    at_start("out of memory at import")
    with pytest.raises(EnvironmentFailure, match=r"ended before its first image \(exit code 137: no message\)"):
        find_crashing_images(str(tmp_path), names, POLICY)


def test_an_image_that_cannot_be_read_now_is_not_blamed(tmp_path, names, at_start):
    at_start("unreadable")
    with pytest.raises(EnvironmentFailure, match="Input/output error"):
        find_crashing_images(str(tmp_path), names, POLICY)


def test_an_image_that_hangs_is_blamed_and_the_others_are_tried(tmp_path, names, at_start):
    at_start("hangs")
    for name in (names[0], names[3]):
        (tmp_path / name).write_bytes(b"hang")
    found = find_crashing_images(str(tmp_path), names, POLICY, patience=2)
    assert {path: failure.code for path, failure in found.items()} == {names[0]: "hangs", names[3]: "hangs"}
    assert found[names[0]].message == "decoding it takes longer than 2 s"


def test_a_folder_that_cannot_be_reached_is_not_an_images_fault(names):
    with pytest.raises(EnvironmentFailure):
        find_crashing_images("nosuchprotocol://bucket/images", names, POLICY)
