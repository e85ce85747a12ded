"""State of the whole process is changed only inside a block: what runs leave behind is what they found."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest

from extract.process_state import (
    SharedBlock,
    environment,
    environment_defaults,
    environment_restored,
    logger_levels,
    quiet_libraries,
    search_path,
    silent_standard_error,
    socket_timeout,
)
from tests.stub import make_images

ROOT = Path(__file__).parents[2]
NAME = "STILLFRAME_TEST"


def standard_error():
    """The file that descriptor 2 leads to."""
    status = os.fstat(2)
    return status.st_dev, status.st_ino


def state():
    """What the blocks in this module change."""
    names = ("tensorflow", "absl", "jax")
    return {
        "environment": {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"},
        "levels": [logging.getLogger(name).level for name in names],
        "search path": list(sys.path),
        "timeout": socket.getdefaulttimeout(),
        "standard error": standard_error(),
    }


@contextmanager
def changing_environment():
    """As a library does it that does not put back what it changes."""
    with environment_restored():
        os.environ[NAME] = "1"
        os.environ["PATH"] = "/nowhere"
        del os.environ["HOME"]
        yield


BLOCKS = {
    "restored environment": changing_environment,
    "environment": lambda: environment(**{NAME: "1"}),
    "environment defaults": lambda: environment_defaults(**{NAME: "1", "PATH": "/nowhere"}),
    "logger levels": lambda: logger_levels(logging.CRITICAL, "tensorflow", "jax"),
    "search path": lambda: search_path("/nowhere"),
    "socket timeout": lambda: socket_timeout(1.5),
    "standard error": silent_standard_error,
    "quiet libraries": quiet_libraries,
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_puts_back_what_it_found_also_after_an_exception(name):
    before = state()
    with BLOCKS[name]():
        assert state() != before
    assert state() == before
    with pytest.raises(KeyError), BLOCKS[name]():
        raise KeyError
    assert state() == before


def test_a_variable_that_is_set_already_is_set_again_afterwards(monkeypatch):
    monkeypatch.setenv(NAME, "mine")
    with environment(**{NAME: "1"}):
        assert os.environ[NAME] == "1"
    assert os.environ[NAME] == "mine"
    with environment_defaults(**{NAME: "1"}):
        assert os.environ[NAME] == "mine"


def test_quiet_libraries_are_silent_to_the_descriptor_and_loud_with_debug(capfd):
    with quiet_libraries():
        os.write(2, b"hidden")
        assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    with quiet_libraries(debug=True):
        os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"


def overlapping(block):
    """Two threads, the second of which enters after the first has and leaves after it."""
    first_inside, second_inside, first_left = threading.Event(), threading.Event(), threading.Event()

    def first():
        with block():
            first_inside.set()
            second_inside.wait(10)
        first_left.set()

    def second():
        first_inside.wait(10)
        with block():
            second_inside.set()
            first_left.wait(10)

    threads = [threading.Thread(target=function) for function in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)


def test_two_threads_that_overlap_do_not_lose_standard_error():
    before = state()
    overlapping(quiet_libraries)
    assert state() == before


def test_the_last_of_overlapping_blocks_undoes_the_change():
    seen = []

    @contextmanager
    def change():
        seen.append("made")
        yield
        seen.append("undone")

    block = SharedBlock(change)
    with block:
        with block:
            pass
        assert seen == ["made"]
    assert seen == ["made", "undone"]
    with block:
        assert seen == ["made", "undone", "made"]


# Whole programs

STATE = """
import json, logging, os, signal, socket, sys, warnings

def standard_error():
    status = os.fstat(2)
    return [status.st_dev, status.st_ino]

def state(loggers):
    import keras
    from PIL import Image
    return {
        "environment": dict(os.environ),
        "loggers": {name: [logging.getLogger(name).level, logging.getLogger(name).disabled] for name in loggers},
        "data format": keras.config.image_data_format(),
        "policy": keras.config.dtype_policy().name,
        "float": keras.config.floatx(),
        "standard error": standard_error(),
        "timeout": socket.getdefaulttimeout(),
        "search path": list(sys.path),
        "pixels": Image.MAX_IMAGE_PIXELS,
        "filters": len(warnings.filters),
        "cores": sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [],
        "handlers": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    }

LOGGERS = ["", "tensorflow", "absl", "jax", "distributed", "distributed.client", "asyncio", "tornado",
           "tornado.application", "bokeh", "PIL", "h5py"]
"""

RUN = (
    STATE
    + """
def main(data, out):
    import keras, dask, distributed
    keras.ops.zeros(())
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_bfloat16")
    import stillframe  # what our imports alone do to warnings and loggers counts too
    before = state(LOGGERS)
    from extract import extract
    from extract.backbones.layers import list_layers
    from extract.backbones.fetch import fetch_weights
    list_layers("mobilenet_v2", (64, 64))
    fetch_weights("efficientnet_lite0")
    options = {"weights": "random", "backbone": "mobilenet_v2", "image_size": 32, "max_bad": 1}
    for runtime in ("keras", "openvino"):
        extract(data, f"{out}/{runtime}", runtime=runtime, **options)
    extract(data, f"{out}/local", backbone="pixels", image_size=16, shard_rows=4, scheduler="local:1")
    after = state(LOGGERS)
    print(json.dumps({"before": before, "after": after}))

if __name__ == "__main__":
    main(*sys.argv[1:])
"""
)

START = (
    STATE
    + """
if sys.argv[1] == "plain":
    import keras
    keras.ops.zeros(())
else:
    from extract.runtimes.backend import start_keras
    start_keras()
print(json.dumps(state(LOGGERS)))
"""
)

VARIABLES = ("TF_CPP_MIN_LOG_LEVEL", "XLA_PYTHON_CLIENT_PREALLOCATE")
"""What is set for libraries while they start."""


def run_script(path, code, *arguments):
    """What a program of its own prints as JSON in its last line."""
    path.write_text(code)
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in VARIABLES:
        variables.pop(name, None)
    command = [sys.executable, path, *map(str, arguments)]
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


def differences(before, after):
    """What has another value, variable by variable in the environment."""
    flat = [
        {**found, **{f"${name}": value for name, value in found["environment"].items()}} for found in (before, after)
    ]
    names = {*flat[0], *flat[1]} - {"environment"}
    pairs = {name: tuple(found.get(name) for found in flat) for name in names}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def test_importing_and_running_leaves_the_process_as_it_was(tmp_path):
    make_images(tmp_path / "data", 8)
    found = run_script(tmp_path / "script.py", RUN, tmp_path / "data", tmp_path)
    assert differences(found["before"], found["after"]) == {}


def test_starting_keras_leaves_what_a_plain_import_leaves(tmp_path):
    plain, ours = (run_script(tmp_path / "script.py", START, kind) for kind in ("plain", "ours"))
    for found in (plain, ours):
        del found["standard error"]  # each program has its own
    for name in VARIABLES:
        assert name not in ours["environment"]
        plain["environment"].pop(name, None)  # Keras sets one of them itself
    assert differences(plain, ours) == {}
