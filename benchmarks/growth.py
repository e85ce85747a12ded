"""Memory by the number of images, the cost of a run with nothing to do, and start-up time.

    python -m benchmarks.growth

Each figure is for a whole process, with small images and a small network.
"""

import subprocess
import time
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import (
    REPEATS,
    ROOT,
    Spread,
    circumstances,
    extract_run,
    program,
    say,
    scratch,
    table,
    write_section,
)

TITLE = "Memory and start-up"
COUNTS = (1_000, 10_000, 20_000)
RECIPE = ("--backbone", "mobilenet_v3_small", "--weights", "random", "--image-size", "64", "--pooling", "avg")
_RERUN_IMAGES = 10_000
_ADDED_IMAGES = 10


def write_images(folder: Path, count: int, start: int = 0) -> None:
    """Write small distinct images into ten folders."""
    for number in range(start, start + count):
        path = folder / str(number % 10) / f"{number:06d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, compress_level=0)


def memory(folder: Path) -> list[str]:
    """A table of peak memory by the number of images."""
    rows = []
    for count in COUNTS:
        write_images(folder / str(count), count)
        run = extract_run(folder / str(count), folder / f"store{count}", *RECIPE)
        rows.append((f"{count:,}", f"{run.peak_mb:,.0f} MB", f"{run.output['images_per_second']:,.0f}"))
        say(f"growth, {count:,} images: {run.peak_mb:,.0f} MB")
    return [
        "### Peak memory and the number of images",
        "",
        f"`extract run {' '.join(RECIPE)}`, images of 16 x 16 pixels.",
        "",
        *table(("images", "peak memory", "images/s"), rows),
    ]


def again(folder: Path) -> list[str]:
    """A second run over the same images, and one with a few images added."""
    data, store = folder / str(_RERUN_IMAGES), folder / f"store{_RERUN_IMAGES}"
    nothing = Spread.of(extract_run(data, store, *RECIPE).seconds for _ in range(REPEATS))
    write_images(data, _ADDED_IMAGES, start=_RERUN_IMAGES)
    more = extract_run(data, store, *RECIPE)
    return [
        f"### Running again over {_RERUN_IMAGES:,} images",
        "",
        f"Nothing to do: {nothing} s for the whole process. After adding {_ADDED_IMAGES} images: {more.output['computed']} computed,",
        f"{more.output['reused']:,} reused, {more.seconds:.1f} s including the network's start-up.",
    ]


def start_up() -> list[str]:
    """The time of `extract --help`."""

    def once() -> float:
        start = time.perf_counter()
        subprocess.run(program("extract", "--help"), capture_output=True, check=True, cwd=ROOT)
        return time.perf_counter() - start

    return ["### Start-up", "", f"`extract --help`: {Spread.of(once() for _ in range(3 * REPEATS))} s."]


def main() -> None:
    """Measure and report."""
    with scratch() as folder:
        lines = [*memory(folder), "", *again(folder), "", *start_up()]
    write_section(TITLE, [circumstances(), "", *lines])


if __name__ == "__main__":
    main()
