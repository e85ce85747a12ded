"""Today's networks: `extract run` against Hugging Face transformers with PyTorch, measured in turns.

    python -m benchmarks.networks [--rounds N] [--quick]

Needs torch, transformers, and the extras hub and openvino. DINOv2 small (ViT-S/14 at 224) and CLIP ViT-B/32 with random
weights, from JPEG files of 500 x 375 to features. Every figure comes from a separate process; in each round every program
runs once, in an order that rotates, and ratios are taken within a round. Three rounds take about seven minutes on two
cores. `--quick` runs everything once on a few photographs, to check that it works, and writes nothing.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import (
    Spread,
    circumstances,
    extract_run,
    module,
    ratios,
    run_child,
    say,
    scratch,
    table,
    write_section,
)
from benchmarks.photographs import SMALL, write_photographs
from extract.runtimes.device import processor_precisions

TITLE = "Today's networks"
NETWORKS = {"dinov2_small": "DINOv2 small", "clip_base": "CLIP ViT-B/32"}
ROUNDS = 3
OURS, LOOP, LOADER = "extract run", "loop", "loader"


@dataclass
class Subject:
    """A network, the photographs, how many each program gets, and the rates by program and precision.

    The counts are a few seconds' work; that of the loader is a multiple of its batches of 32.
    """

    network: Path
    photographs: Path
    scratch: Path
    counts: dict[str, int]
    rates: dict[tuple[str, str], list[float]] = field(default_factory=dict)

    def measure(self, program: str, precision: str) -> None:
        """Run a program once and note its rate."""
        rate = self.ours(precision) if program == OURS else self.rival(program, precision)
        self.rates.setdefault((program, precision), []).append(rate)
        say(f"{self.network.name}, {program} {precision}: {rate:.1f} images/s")

    def ours(self, precision: str) -> float:
        """`extract run` into a new store."""
        number = sum(map(len, self.rates.values()))
        out, options = self.scratch / f"{self.network.name}-{number}", ("--limit", self.counts[OURS])
        options = ("--backbone", self.network, "--precision", precision, "--runtime", "openvino", *options)
        return float(extract_run(self.photographs, out, *options).output["images_per_second"])

    def rival(self, program: str, precision: str) -> float:
        """A program of benchmarks.transformers_rivals."""
        words = (program, self.network, self.photographs, self.counts[program], precision)
        return float(run_child(module("transformers_rivals", *words)).output["images_per_second"])


def measure(subjects: Sequence[Subject], rounds: int) -> None:
    """All programs of all networks, in turns."""
    precisions = [name for name in ("float32", "bfloat16") if name in processor_precisions()]
    for subject in subjects:  # converted for OpenVINO once
        subject.counts, counts = {**subject.counts, OURS: 1}, subject.counts
        subject.ours("float32")
        subject.counts = counts
    turns: list[Callable[[], None]] = [
        lambda subject=subject, program=program, precision=precision: subject.measure(program, precision)  # type: ignore[misc]
        for subject in subjects
        for precision in precisions
        for program in (OURS, LOOP, LOADER)
        if (program, precision) != (LOOP, "bfloat16")  # slower than in batches
    ]
    for number in range(rounds):
        for turn in turns[number % len(turns) :] + turns[: number % len(turns)]:
            turn()


def rows(subject: Subject) -> list[list[object]]:
    """A line of the table for each precision."""
    lines = []
    for precision in ("float32", "bfloat16"):
        if (OURS, precision) not in subject.rates:
            continue
        ours, loader = subject.rates[OURS, precision], subject.rates[LOADER, precision]
        loop = subject.rates.get((LOOP, precision))
        best = [max(pair) for pair in zip(loop, loader, strict=True)] if loop else loader
        shown = Spread.of(loop) if loop else ""
        name = NETWORKS[subject.network.name]
        lines.append([name, precision, Spread.of(ours), shown, Spread.of(loader), ratios(ours, best)])
    return lines


def main() -> None:
    """Measure, and write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.networks", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    counts = {OURS: 8, LOOP: 3, LOADER: 64} if options.quick else {OURS: 320, LOOP: 20, LOADER: 128}
    with scratch() as folder:
        photographs = write_photographs(folder / "photographs", max(counts.values()), SMALL)
        subjects = []
        for name in NETWORKS:
            run_child(module("transformers_rivals", "make", name, folder / name))
            subjects.append(Subject(folder / name, photographs, folder, counts))
        measure(subjects, 1 if options.quick else options.rounds)
    header = ("network", "precision", "`extract run`", "plain loop", "DataLoader, 32 at once", "ours to the better")
    lines = table(header, [row for subject in subjects for row in rows(subject)])
    if options.quick:
        print("\n".join(lines))
        return
    explanation = (
        "Images per second from JPEG files of 500 x 375 to features, random weights; the loop and the DataLoader are Hugging "
        "Face transformers with PyTorch."
    )
    write_section(TITLE, [circumstances(), "", explanation, "", *lines])


if __name__ == "__main__":
    main()
