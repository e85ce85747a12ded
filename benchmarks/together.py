"""Several backbones in one pass, compared with a pass for each: whole commands, in turns.

    python -m benchmarks.together [--rounds N] [--images N] [--precision NAME] [BACKBONE ...]

Ratios of seconds in the loop (from the first read to the last commit) and of processor seconds of the whole command,
which other programs on the machine disturb less.
"""

import argparse
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import (
    REPEATS,
    Spread,
    circumstances,
    program,
    ratios,
    run_child,
    say,
    scratch,
    table,
    write_section,
)
from benchmarks.photographs import SMALL, write_photographs

TITLE = "Several backbones"
BACKBONES = ("mobilenet_v2", "efficientnet_lite0")
IMAGES = 2048


@dataclass(frozen=True)
class Took:
    """Seconds of the loop, and processor seconds of the whole command."""

    loop: float
    processor: float

    def __add__(self, other: "Took") -> "Took":
        return Took(self.loop + other.loop, self.processor + other.processor)


def run(photographs: Path, backbones: Sequence[str], precision: str, folder: Path) -> Took:
    """One `extract run` of these backbones, into new stores."""
    before = os.times()
    words = [word for name in backbones for word in ("--backbone", name, "--out", folder / "stores" / name)]
    options = ("--weights", "random", "--precision", precision, "--json", "--quiet")
    environment = {"STILLFRAME_CACHE": str(folder / "cache")}
    output = run_child(program("extract", "run", photographs, *words, *options), environment).output
    after = os.times()
    shutil.rmtree(folder / "stores")
    loop = max(store["seconds"] for store in output.get("stores", [output]))
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return Took(loop, spent)


def report(apart: Sequence[Took], together: Sequence[Took], backbones: Sequence[str], precision: str) -> list[str]:
    """The lines of this section of RESULTS.md."""
    found = {
        "loop": ([took.loop for took in apart], [took.loop for took in together]),
        "processor": ([took.processor for took in apart], [took.processor for took in together]),
    }
    rows = [
        [name, Spread.of(first), Spread.of(second), ratios(first, second)] for name, (first, second) in found.items()
    ]
    return [
        circumstances(),
        "",
        f"{', '.join(backbones)} in {precision}, photographs of {SMALL} pixels; median and range of {len(apart)} rounds.",
        "",
        *table(("seconds", "a pass for each", "one pass", "times as fast"), rows),
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.together", description=__doc__.partition("\n")[0])
    parser.add_argument("backbones", nargs="*", default=BACKBONES, metavar="BACKBONE")
    parser.add_argument("--rounds", type=int, default=REPEATS)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--precision", default="float32")
    chosen = parser.parse_args(arguments)
    apart, together = [], []
    with scratch() as folder:
        photographs = folder / "photographs"
        write_photographs(photographs, 8, SMALL)
        run(photographs, chosen.backbones, chosen.precision, folder)  # converts the networks
        write_photographs(photographs, chosen.images, SMALL)
        for number in range(chosen.rounds):
            took = Took(0.0, 0.0)
            for name in chosen.backbones:
                took += run(photographs, [name], chosen.precision, folder)
            apart.append(took)
            together.append(run(photographs, chosen.backbones, chosen.precision, folder))
            say(f"together, round {number + 1}: {apart[-1]}, {together[-1]}")
    write_section(TITLE, report(apart, together, chosen.backbones, chosen.precision))


if __name__ == "__main__":
    main()
