"""Processes of this machine: cores, GPUs, and scripts that they cannot import."""

import os
import subprocess
import sys

import pytest

from extract.cluster.client import connected
from extract.cluster.local import CoreShare, core_share
from tests.extract.cluster.pixels import PIXELS


def test_each_process_of_this_machine_has_a_gpu_as_far_as_there_are_any(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-8a2b")
    with connected("local:3") as client:
        seen = client.run(lambda: os.environ["CUDA_VISIBLE_DEVICES"])
    assert sorted(seen.values()) == ["4", "4", "GPU-8a2b"]


def test_a_script_that_its_own_worker_processes_cannot_import(data, out, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        f"from extract import extract\nextract({str(data)!r}, {str(out)!r}, scheduler='local:1', **{PIXELS})"
    )
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    ended = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "EnvironmentFailure: the worker processes of --scheduler local:1 did not start" in ended.stderr
    assert 'if __name__ == "__main__":' in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("cores", "shares"),
    [([0, 1], [[0], [1]]), ([0, 1, 4, 5, 7], [[0, 4, 7], [1, 5]]), ([3], [[3], [3]]), ([0, 1], [[0], [1], [0]])],
)
def test_workers_share_the_cores(cores, shares):
    assert [core_share(cores, number, len(shares)) for number in range(len(shares))] == shares


@pytest.mark.skipif(sys.platform != "linux", reason="there is no affinity here")
def test_a_worker_puts_the_affinity_back_at_its_end():
    before = os.sched_getaffinity(0)
    plugin = CoreShare(0, len(before))
    plugin.setup(None)
    try:
        assert len(os.sched_getaffinity(0)) == 1
    finally:
        plugin.teardown(None)
    assert os.sched_getaffinity(0) == before
