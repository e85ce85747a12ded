"""examples/jobs: options that exist, shell that parses, and those examples run that need nobody else's scheduler."""

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


def test_a_dask_cluster_by_hand(data, tmp_path):
    script = ROOT / "examples" / "jobs" / "dask-by-hand.sh"
    file = tmp_path / "scheduler.json"
    environment = {**os.environ, "STILLFRAME": str(BIN), "SCHEDULER_FILE": str(file)}

    def start(*words):
        return subprocess.Popen([script, *map(str, words)], env=environment, stderr=subprocess.PIPE, text=True)

    scheduler = start("scheduler")
    workers = None
    try:
        while not file.exists():
            time.sleep(0.1)
        workers = start("workers", 2)
        options = ("--backbone", "pixels", "--image-size", "16", "--shard-rows", "4")
        run = start("run", data, tmp_path / "store", *options)
        _, told = run.communicate(timeout=120)
        assert run.returncode == 0, told
    finally:
        for process in (workers, scheduler):
            if process is not None:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)
    assert len(open_store(tmp_path / "store")) == 24
    assert open_store(tmp_path / "store").verify().sound


@pytest.mark.slow
def test_a_night_of_cron(data, tmp_path):
    table = (ROOT / "examples" / "jobs" / "nightly.cron").read_text()
    commands = [line.split(maxsplit=5)[5] for line in table.splitlines() if re.match(r"\d", line)]
    environment = {**os.environ, "STILLFRAME": str(BIN), "JOB": str(tmp_path)}
    for command in commands:
        ended = subprocess.run(
            ["bash", "-c", command], env=environment, capture_output=True, text=True, check=True, timeout=300
        )
        assert ended.stdout == ""
    assert (tmp_path / "head" / "metrics.json").is_file()
    assert '"state": "done"' in (tmp_path / "status.json").read_text()
