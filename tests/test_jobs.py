"""examples/jobs: options that exist, shell that parses, and those examples run that need nobody else's scheduler."""

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from store import open_store
from tests.stub import make_images
from tests.test_recipes import options_of_commands

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples" / "jobs").iterdir())
COMMAND = re.compile(r"\b(extract|fit)\"? (run|fetch|backbones|head)\b([^|>\n&]*)")
BIN = Path(sys.executable).parent


def text_of(path):
    """An example as it is run: without comments, lines that go on joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    return re.sub(r"\\\n\s*", "", "\n".join(lines))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_commands_of_an_example_have_the_options_that_they_name(example):
    known = options_of_commands()
    text = text_of(example)
    if example.suffix == ".yaml":
        text = yaml.safe_load(text)["spec"]["template"]["spec"]["containers"][0]["args"][0]
    found = COMMAND.findall(text)
    assert found or example.name == "dask-by-hand.sh"
    for program, name, words in found:
        given = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", words))
        assert given <= known[f"{program} {name}"], words


@pytest.mark.parametrize(
    "example", [path for path in EXAMPLES if path.suffix in (".sh", ".sbatch")], ids=lambda path: path.name
)
def test_the_shell_of_an_example_parses(example):
    subprocess.run(["bash", "-n", example], check=True)


def test_every_example_is_on_the_page():
    page = (ROOT / "docs" / "jobs.md").read_text()
    for example in EXAMPLES:
        assert f"(../examples/jobs/{example.name})" in page


@pytest.fixture
def data(tmp_path):
    make_images(tmp_path / "photos", 24)
    return tmp_path / "photos"


@pytest.fixture
def by_hand(tmp_path):
    """Starts examples/jobs/dask-by-hand.sh with the words given; what still runs at the end is killed."""
    script = ROOT / "examples" / "jobs" / "dask-by-hand.sh"
    environment = {**os.environ, "STILLFRAME": str(BIN), "SCHEDULER_FILE": str(tmp_path / "scheduler.json")}
    started = []

    def start(*words):
        process = subprocess.Popen(
            [script, *map(str, words)], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)


def start_cluster(by_hand, tmp_path):
    (tmp_path / "scheduler.json").unlink(missing_ok=True)
    scheduler = by_hand("scheduler")
    while not (tmp_path / "scheduler.json").exists():
        time.sleep(0.1)
    return scheduler, by_hand("workers", 2)


PIXELS = ("--backbone", "pixels", "--image-size", "16")


@pytest.mark.slow
def test_a_dask_cluster_by_hand(data, by_hand, tmp_path):
    _, workers = start_cluster(by_hand, tmp_path)
    run = by_hand("run", data, tmp_path / "store", *PIXELS, "--shard-rows", "4")
    _, output = run.communicate(timeout=120)
    assert run.returncode == 0, output
    assert len(open_store(tmp_path / "store")) == 24
    assert open_store(tmp_path / "store").verify().sound
    workers.send_signal(signal.SIGTERM)
    workers.communicate(timeout=60)


@pytest.mark.slow
def test_a_scheduler_that_is_killed_and_restarted(data, by_hand, tmp_path):
    make_images(data, 576, start=24)
    words = ("run", data, tmp_path / "store", *PIXELS, "--shard-rows", "1")
    scheduler, workers = start_cluster(by_hand, tmp_path)
    run = by_hand(*words)
    while not os.path.isdir(tmp_path / "store" / "data") or len(os.listdir(tmp_path / "store" / "data")) < 50:
        time.sleep(0.01)
    scheduler.kill()
    _, output = run.communicate(timeout=120)
    assert run.returncode == 74, output
    assert "Traceback" not in output
    os.killpg(workers.pid, signal.SIGKILL)

    kept = {path: path.read_bytes() for path in tmp_path.glob("store/commit/*/*.json")}
    assert 50 <= len(kept) < 600
    start_cluster(by_hand, tmp_path)
    run = by_hand(*words)
    _, output = run.communicate(timeout=120)
    assert run.returncode == 0, output
    assert len(open_store(tmp_path / "store")) == 600
    assert open_store(tmp_path / "store").verify().sound
    assert {path: path.read_bytes() for path in kept} == kept


@pytest.mark.slow
def test_a_night_of_cron(data, tmp_path):
    table = (ROOT / "examples" / "jobs" / "nightly.cron").read_text()
    commands = [line.split(maxsplit=5)[5] for line in table.splitlines() if re.match(r"\d", line)]
    environment = {**os.environ, "STILLFRAME": str(BIN), "JOB": str(tmp_path)}

    def output_of(command):
        ended = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, check=True, timeout=300
        )
        return ended.stdout

    for command in commands:
        assert output_of(command) == ""
    assert (tmp_path / "head" / "metrics.json").is_file()
    assert '"state": "done"' in (tmp_path / "status.json").read_text()
    with open(tmp_path / "run.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert output_of(commands[0]) == ""
    data.rename(tmp_path / "elsewhere")
    assert output_of(commands[0]) == f"extract run ended with 2: see {tmp_path}/run.log\n"
