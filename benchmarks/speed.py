"""Images a second: ours, what users would run instead, and what the machine could do, taken in turns.

    python -m benchmarks.speed [--rounds N] [--backbone NAME ...] [--photographs WxH] [--without PROGRAM ...] [--quick]

Every figure comes from a process of its own. In each round each program runs once, in an order that moves on by one
from round to round, and ratios are taken within a round. The rounds are kept in speed.json beside this file, so that
backbones can be measured one at a time: the report is always of all that are there. `--without` leaves out programs,
such as torch or "limit keras float32". `--quick` runs everything once over a few photographs, to see that it works, and
keeps nothing.
"""

import argparse
import importlib.util
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.limits import Parts
from benchmarks.measure import (
    REPEATS,
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
from benchmarks.photographs import LARGE, SMALL, Size, write_photographs
from extract.backbones.table import get_backbone
from extract.runtimes.device import processor_precisions

TITLE = "Speed"
KEPT = Path(__file__).with_name("speed.json")

Round = dict[str, dict[str, Any]]
"""What each program of a round told, by the program's name."""


@dataclass(frozen=True)
class Ours:
    """`extract run` with a runtime and a precision."""

    runtime: str
    precision: str

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"

    @property
    def possible(self) -> bool:
        """Whether this machine has both."""
        return bool(importlib.util.find_spec(self.runtime)) and self.precision in processor_precisions()


@dataclass(frozen=True)
class Subject:
    """A backbone, photographs, and how many of them each program gets: enough for some seconds, and no more.

    `directory` and `torch` are multiples of a batch of 32. `peak`: compare the network with a matrix product too.
    """

    backbone: str
    size: Size
    directory: int
    ours: int
    loop: int = 30
    torch: int = 128
    peak: bool = False

    @property
    def name(self) -> str:
        """Its key in speed.json."""
        return f"{self.backbone}, {self.size}"

    @property
    def photographs(self) -> int:
        """How many there must be."""
        return max(self.loop, self.directory, self.torch, self.ours)

    def quick(self) -> "Subject":
        """The same with a few photographs."""
        return replace(self, loop=4, directory=96, torch=64, ours=64)


OURS = (Ours("keras", "float32"), Ours("openvino", "float32"), Ours("openvino", "bfloat16"))
RIVALS = {"loop": "loop", "directory": "directory + predict", "torch": "PyTorch"}
LIMIT_PHOTOGRAPHS = 64

SUBJECTS = (
    Subject("inception_v3", SMALL, directory=192, ours=512, peak=True),
    Subject("resnet50", SMALL, directory=256, ours=384, peak=True),
    Subject("mobilenet_v2", SMALL, directory=640, ours=4224),
    Subject("efficientnet_b0", SMALL, directory=416, ours=3168),
    Subject("efficientnet_lite0", SMALL, directory=640, ours=3168),
    Subject("mobilenet_v2", LARGE, directory=384, ours=448),
    Subject("efficientnet_lite0", LARGE, directory=384, ours=448),
)


@dataclass(frozen=True)
class Bench:
    """The programs of a subject's rounds, and the folders that they work in."""

    subject: Subject
    photographs: Path
    folder: Path
    without: frozenset[str] = frozenset()

    def rival(self, name: str) -> dict[str, Any]:
        """A rival's images a second."""
        count = getattr(self.subject, name)
        return run_child(module("rivals", name, self.subject.backbone, self.photographs, count)).told

    def ours(self, ours: Ours, count: int) -> dict[str, Any]:
        """What a new store's `extract run --json` says."""
        store = self.folder / "store"
        options = {
            "--backbone": self.subject.backbone,
            "--weights": "random",
            "--runtime": ours.runtime,
            "--precision": ours.precision,
            "--limit": count,
        }
        try:
            words = [word for option in options.items() for word in option]
            return extract_run(self.photographs, store, *words, environment=self._environment).told
        finally:
            shutil.rmtree(store, ignore_errors=True)

    def limit(self, ours: Ours) -> dict[str, Any]:
        """The fields of `limits.Parts`."""
        arguments = (self.subject.backbone, ours.runtime, ours.precision, self.photographs, LIMIT_PHOTOGRAPHS)
        return run_child(module("limits", "parts", *arguments), self._environment).told

    @property
    def _environment(self) -> dict[str, str]:
        """Converted networks are kept for the session, not in the user's own cache."""
        return {"STILLFRAME_CACHE": str(self.folder / "cache")}

    def programs(self) -> list[tuple[str, Callable[[], dict[str, Any]]]]:
        """All of a round, by name."""
        rivals = [name for name in RIVALS if name != "torch" or importlib.util.find_spec("torch")]
        possible = [ours for ours in OURS if ours.possible]
        programs: list[tuple[str, Callable[[], dict[str, Any]]]] = [
            *((name, lambda name=name: self.rival(name)) for name in rivals),
            *((f"ours {ours}", lambda ours=ours: self.ours(ours, self.subject.ours)) for ours in possible),
            *((f"limit {ours}", lambda ours=ours: self.limit(ours)) for ours in possible),
        ]
        if self.subject.peak:
            programs.append(("peak", lambda: run_child(module("limits", "peak")).told))
        return [(name, program) for name, program in programs if name not in self.without]

    def round(self, number: int) -> Round:
        """Everything once."""
        programs = self.programs()
        first = number % len(programs)
        told = {}
        for name, program in programs[first:] + programs[:first]:
            told[name] = program()
            rate = told[name].get("images_per_second") or told[name].get("network_images_per_second")
            say(f"{self.subject.name}, round {number + 1}, {name}: {f'{rate:.1f} images/s' if rate else 'done'}")
        return told


def measure(subject: Subject, rounds: int, folder: Path, without: frozenset[str]) -> list[Round]:
    """All rounds of a subject, its networks converted before."""
    photographs = folder / str(subject.size).replace(" ", "")
    write_photographs(photographs, subject.photographs, subject.size)
    bench = Bench(subject, photographs, folder, without)
    for ours in OURS:
        if ours.possible:
            bench.ours(ours, count=4)
    return [bench.round(number) for number in range(rounds)]


# The report


@dataclass(frozen=True)
class Measured:
    """A subject's rounds, and when and on what they were run."""

    circumstances: str
    backbone: str
    photographs: str
    rounds: list[Round]

    def rates(self, program: str) -> list[float]:
        """Images/s of a program, round by round."""
        return [told[program]["images_per_second"] for told in self.rounds]

    def limits(self, ours: Ours) -> list[Parts]:
        """What the machine could do, round by round."""
        return [Parts(**told[f"limit {ours}"]) for told in self.rounds]

    def has(self, program: str) -> bool:
        """Whether the program ran on that machine."""
        return all(program in told for told in self.rounds)

    @property
    def ours(self) -> list[Ours]:
        """Those of our ways that ran."""
        return [ours for ours in OURS if self.has(f"ours {ours}")]

    @property
    def limited(self) -> list[Ours]:
        """Those of our ways whose limit was measured."""
        return [ours for ours in OURS if self.has(f"limit {ours}")]


def report(found: Iterable[Measured]) -> list[str]:
    """The part of RESULTS.md."""
    measured = list(found)
    return [
        *dict.fromkeys(one.circumstances for one in measured),
        "",
        *_explained(max(len(one.rounds) for one in measured)),
        "",
        "### Images a second of what users would run instead",
        "",
        *table(("backbone", "photographs", *RIVALS.values()), map(_rivals_row, measured)),
        "",
        "### Ours, and how many times as fast",
        "",
        *table(
            ("backbone", "photographs", "ours", "images/s", *RIVALS.values(), "its own limit"),
            [_ours_row(one, ours) for one in measured for ours in one.ours],
        ),
        "",
        "### The limits",
        "",
        "Images/s of the network alone, and milliseconds of one core that an image takes besides. The limit is of the",
        "network and of decoding, compressing and hashing on all cores; checking each shard is our own choice and not in it.",
        "",
        *table(
            ("backbone", "photographs", "ours", "network", "decode", "compress", "hash", "check", "limit, images/s"),
            [_limit_row(one, ours) for one in measured for ours in one.limited],
        ),
        "",
        "### The network alone against a matrix product",
        "",
        "GFLOP/s; the product is of 4096 x 4096, the best of numpy, TensorFlow and OpenVINO in that precision.",
        "",
        *table(
            ("backbone", "ours", "GFLOP an image", "network", "product", "ratio"),
            [_peak_row(one, ours) for one in measured if one.has("peak") for ours in one.limited],
        ),
    ]


def _explained(rounds: int) -> list[str]:
    return [
        f"Median and range of {rounds} {'round' if rounds == 1 else 'rounds'}. `loop`: `load_img` and `model.predict` on one image at a time. `directory +",
        "predict`: `image_dataset_from_directory`, batches of 32, prefetched. `PyTorch`: a `DataLoader` with two workers and",
        "the same Keras network under `KERAS_BACKEND=torch`, which is slower than a network written for PyTorch. All have",
        "the same random weights; start-up is left out everywhere. The others' clocks start after their first image or batch,",
        "by when they have read ahead a little; ours starts at the first read. Ours stores and checks every feature, the others",
        "throw them away.",
    ]


def _rivals_row(one: Measured) -> list[object]:
    rates = [Spread.of(one.rates(name)) if one.has(name) else "not run" for name in RIVALS]
    return [one.backbone, one.photographs, *rates]


def _ours_row(one: Measured, ours: Ours) -> list[object]:
    rates = one.rates(f"ours {ours}")
    against = [ratios(rates, one.rates(name)) if one.has(name) else "" for name in RIVALS]
    limits = [parts.images_per_second for parts in one.limits(ours)] if ours in one.limited else []
    limit = ratios(rates, limits) if limits else ""
    return [one.backbone, one.photographs, ours, Spread.of(rates), *against, limit]


def _limit_row(one: Measured, ours: Ours) -> list[object]:
    limits = one.limits(ours)
    network = Spread.of(parts.network_images_per_second for parts in limits)
    work = [
        f"{1000 * Spread.of(getattr(parts, name) for parts in limits).median:.2f}"
        for name in ("decode", "compress", "hash", "check")
    ]
    return [one.backbone, one.photographs, ours, network, *work, Spread.of(parts.images_per_second for parts in limits)]


def _peak_row(one: Measured, ours: Ours) -> list[object]:
    limits = one.limits(ours)
    network = [parts.network_flops for parts in limits]
    product = [max(told["peak"][ours.precision].values()) for told in one.rounds]
    return [
        one.backbone,
        ours,
        f"{limits[0].flop / 1e9:.1f}",
        Spread.of(flops / 1e9 for flops in network),
        Spread.of(flops / 1e9 for flops in product),
        ratios(network, product),
    ]


def _kept() -> dict[str, Measured]:
    found: Mapping[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    return {name: Measured(**fields) for name, fields in found.items()}


def _keep(name: str, measured: Measured) -> None:
    everything = {**_kept(), name: measured}
    KEPT.write_text(json.dumps({name: asdict(one) for name, one in everything.items()}, indent=1) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Measure, keep, report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=REPEATS)
    parser.add_argument("--backbone", action="append", type=lambda name: get_backbone(name).name, metavar="NAME")
    parser.add_argument("--photographs", metavar="WIDTHxHEIGHT")
    parser.add_argument("--without", action="append", default=[], metavar="PROGRAM")
    parser.add_argument("--quick", action="store_true", help="once, over a few photographs; keeps nothing")
    chosen = parser.parse_args(arguments)
    subjects = [
        subject
        for subject in SUBJECTS
        if (not chosen.backbone or subject.backbone in chosen.backbone)
        and chosen.photographs in (None, str(subject.size).replace(" ", ""))
    ]
    found = []
    for subject in subjects:
        with scratch() as folder:
            asked = subject.quick() if chosen.quick else subject
            rounds = measure(asked, 1 if chosen.quick else chosen.rounds, folder, frozenset(chosen.without))
        found.append(Measured(circumstances(), subject.backbone, str(subject.size), rounds))
        if not chosen.quick:
            _keep(subject.name, found[-1])
    if chosen.quick:
        print("\n".join(report(found)))
        return
    kept = _kept()
    write_section(TITLE, report(kept[subject.name] for subject in SUBJECTS if subject.name in kept))


if __name__ == "__main__":
    main()
