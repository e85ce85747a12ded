"""`make bench`: memory and planning, measured on this machine and written to benchmarks/RESULTS.md.

Each figure is of a whole process. A benchmark states, it never asserts.
"""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image

RESULTS = Path(__file__).with_name("RESULTS.md")
EXTRACT = Path(sys.executable).with_name("extract")
RECIPE = ("--backbone", "mobilenet_v3_small", "--weights", "random", "--image-size", "64", "--pooling", "avg")
REPEATS = 5


@dataclass(frozen=True)
class Run:
    """One `extract run`: wall seconds of the process, its peak memory in MB, and what --json said."""

    seconds: float
    peak_mb: float
    told: dict[str, object]


def extract_run(data: Path, out: Path) -> Run:
    """Run the command once in a process of its own."""
    command = [EXTRACT, "run", data, "--out", out, "--json", "--quiet", *RECIPE]
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+") as told:
        child = subprocess.Popen(list(map(str, command)), stdout=told)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        told.seek(0)
        return Run(seconds, usage.ru_maxrss / 1024, json.load(told))


def write_images(folder: Path, count: int, start: int = 0) -> None:
    """Small distinct images in ten folders."""
    for number in range(start, start + count):
        path = folder / str(number % 10) / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, compress_level=0)


def memory(folder: Path) -> list[str]:
    """Peak memory at 1,000, 10,000 and 20,000 images."""
    rows = ["| images | peak memory | images/s |", "|---|---|---|"]
    for count in (1_000, 10_000, 20_000):
        write_images(folder / str(count), count)
        run = extract_run(folder / str(count), folder / f"store{count}")
        rows.append(f"| {count:,} | {run.peak_mb:,.0f} MB | {run.told['images_per_second']} |")
    return [
        "## Peak memory and the number of images",
        "",
        f"`extract run {' '.join(RECIPE)}`, images of 16 x 16 pixels.",
        "",
        *rows,
    ]


def nothing_to_do(folder: Path) -> list[str]:
    """The second run over 10,000 images, and over 10 more."""
    data, store = folder / "10000", folder / "store10000"
    seconds = statistics.median(extract_run(data, store).seconds for _ in range(REPEATS))
    write_images(data, 10, start=10_000)
    more = extract_run(data, store)
    return [
        "## Running again over 10,000 images",
        "",
        f"Nothing to do: {seconds:.2f} s for the whole process (median of {REPEATS}). "
        f"Ten images added: {more.told['computed']} computed, {more.told['reused']:,} reused, {more.seconds:.1f} s with the network's start-up.",
    ]


def start_up() -> list[str]:
    """The time that `extract --help` takes."""

    def once() -> float:
        start = time.perf_counter()
        subprocess.run([str(EXTRACT), "--help"], capture_output=True, check=True)
        return time.perf_counter() - start

    seconds = statistics.median(once() for _ in range(3 * REPEATS))
    return ["## Start-up", "", f"`extract --help`: {seconds:.2f} s (median of {3 * REPEATS})."]


def machine() -> str:
    """What the figures were taken on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    cores = len(os.sched_getaffinity(0))
    libraries = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras", "numpy", "pyarrow", "pillow"))
    return f"{cpu}, {cores} cores, Python {platform.python_version()}, {libraries}"


def main() -> None:
    """Measure everything and write RESULTS.md."""
    folder = Path(tempfile.mkdtemp(prefix="stillframe-bench-"))
    try:
        sections = [memory(folder), nothing_to_do(folder), start_up()]
    finally:
        shutil.rmtree(folder)
    head = ["# Results", "", f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {machine()}.", ""]
    text = "\n".join(head + [line for section in sections for line in [*section, ""]]).rstrip() + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
