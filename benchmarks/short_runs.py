"""What the beginning and the end of a run cost: a short run, compared with the rate of a long one, in turns.

    python -m benchmarks.short_runs [--rounds N] [--images N] [--backbone NAME] [--precision NAME]

The steady rate is that of the images by which the long run is longer, four times as many in all. A short run that went at
it from its first read to its last commit would have the share 1. The share of the whole command includes start-up.
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import (
    REPEATS,
    Spread,
    circumstances,
    extract_run,
    ratios,
    say,
    scratch,
    table,
    write_section,
)
from benchmarks.photographs import SMALL, write_photographs

TITLE = "Short runs"
IMAGES = 384
LONGER = 4


@dataclass(frozen=True)
class Took:
    """Seconds of the loop, from the first read to the last commit, and of the whole command."""

    loop: float
    command: float


def run(photographs: Path, options: Sequence[object], folder: Path) -> Took:
    """One `extract run` into a new store."""
    environment = {"STILLFRAME_CACHE": str(folder / "cache")}
    child = extract_run(photographs, folder / "store", *options, environment=environment)
    shutil.rmtree(folder / "store")
    return Took(child.output["seconds"], child.seconds)


def report(short: Sequence[Took], long: Sequence[Took], images: int, subject: str) -> list[str]:
    """The lines of this section of RESULTS.md."""
    steady = [(LONGER - 1) * images / (more.loop - less.loop) for less, more in zip(short, long, strict=True)]
    ideal = [images / rate for rate in steady]
    row = [
        Spread.of(steady),
        Spread.of([took.loop for took in short]),
        ratios(ideal, [took.loop for took in short]),
        Spread.of([took.command for took in short]),
        ratios(ideal, [took.command for took in short]),
    ]
    return [
        circumstances(),
        "",
        f"{images} photographs of {SMALL} pixels, {subject}, and {LONGER * images} for the steady rate; median and range "
        f"of {len(short)} rounds.",
        "",
        *table(("steady images/s", "loop, s", "share of steady", "whole command, s", "share of steady"), [row]),
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.short_runs", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=REPEATS)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--backbone", default="inception_v3")
    parser.add_argument("--precision", default="bfloat16")
    chosen = parser.parse_args(arguments)
    options = ("--backbone", chosen.backbone, "--weights", "random", "--precision", chosen.precision)
    short, long = [], []
    with scratch() as folder:
        write_photographs(folder / "warm", 8, SMALL)
        run(folder / "warm", options, folder)  # converts the network
        write_photographs(folder / "short", chosen.images, SMALL)
        write_photographs(folder / "long", LONGER * chosen.images, SMALL)
        for number in range(chosen.rounds):
            short.append(run(folder / "short", options, folder))
            long.append(run(folder / "long", options, folder))
            say(f"short runs, round {number + 1}: {short[-1]}, {long[-1]}")
    write_section(TITLE, report(short, long, chosen.images, f"{chosen.backbone} in {chosen.precision}"))


if __name__ == "__main__":
    main()
