"""Images per second: ours, what users would run instead, and the machine's limit, measured in turns.

    python -m benchmarks.speed [--rounds N] [--backbone NAME ...] [--photographs WxH] [--without PROGRAM ...] [--quick]

Every figure comes from a separate process. In each round every program runs once; the order rotates by one from round to
round, and ratios are taken within a round. The rounds are saved in speed.json beside this file, so that backbones can be
measured one at a time; the report always covers all saved rounds. `--without` leaves out programs, such as torch or
"limit keras float32". `--quick` runs everything once on a few photographs, to check that it works, and saves nothing.
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
SAVED = Path(__file__).with_name("speed.json")

Round = dict[str, dict[str, Any]]
"""The JSON object that each program of a round printed, by the program's name."""


@dataclass(frozen=True)
class Variant:
    """`extract run` with one runtime and one precision."""

    runtime: str
    precision: str

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"

    @property
    def possible(self) -> bool:
        """Whether this machine supports both."""
        return bool(importlib.util.find_spec(self.runtime)) and self.precision in processor_precisions()


@dataclass(frozen=True)
class Subject:
    """A backbone, photographs, and how many of them each program gets: enough for a few seconds.

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
        """The number of photographs needed."""
        return max(self.loop, self.directory, self.torch, self.ours)

    def quick(self) -> "Subject":
        """The same with only a few photographs."""
        return replace(self, loop=4, directory=96, torch=64, ours=64)


VARIANTS = (Variant("keras", "float32"), Variant("openvino", "float32"), Variant("openvino", "bfloat16"))
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
    """The programs that run in each round for a subject, and their folders."""

    subject: Subject
    photographs: Path
    folder: Path
    without: frozenset[str] = frozenset()

    def rival(self, name: str) -> dict[str, Any]:
        """Images per second of one of the alternatives."""
        count = getattr(self.subject, name)
        return run_child(module("rivals", name, self.subject.backbone, self.photographs, count)).output

    def ours(self, variant: Variant, count: int) -> dict[str, Any]:
        """The output of `extract run --json` into a new store."""
        store = self.folder / "store"
        options = {
            "--backbone": self.subject.backbone,
            "--weights": "random",
            "--runtime": variant.runtime,
            "--precision": variant.precision,
            "--limit": count,
        }
        try:
            words = [word for option in options.items() for word in option]
            return extract_run(self.photographs, store, *words, environment=self._environment).output
        finally:
            shutil.rmtree(store, ignore_errors=True)

    def limit(self, variant: Variant) -> dict[str, Any]:
        """The fields of `limits.Parts`."""
        arguments = (self.subject.backbone, variant.runtime, variant.precision, self.photographs, LIMIT_PHOTOGRAPHS)
        return run_child(module("limits", "parts", *arguments), self._environment).output

    @property
    def _environment(self) -> dict[str, str]:
        """Converted networks are cached for the session, not in the user's cache folder."""
        return {"STILLFRAME_CACHE": str(self.folder / "cache")}

    def programs(self) -> list[tuple[str, Callable[[], dict[str, Any]]]]:
        """All programs of a round, by name."""
        rivals = [name for name in RIVALS if name != "torch" or importlib.util.find_spec("torch")]
        possible = [variant for variant in VARIANTS if variant.possible]
        programs: list[tuple[str, Callable[[], dict[str, Any]]]] = [
            *((name, lambda name=name: self.rival(name)) for name in rivals),
            *(
                (f"ours {variant}", lambda variant=variant: self.ours(variant, self.subject.ours))
                for variant in possible
            ),
            *((f"limit {variant}", lambda variant=variant: self.limit(variant)) for variant in possible),
        ]
        if self.subject.peak:
            programs.append(("peak", lambda: run_child(module("limits", "peak")).output))
        return [(name, program) for name, program in programs if name not in self.without]

    def round(self, number: int) -> Round:
        """Run every program once."""
        programs = self.programs()
        first = number % len(programs)
        printed = {}
        for name, program in programs[first:] + programs[:first]:
            printed[name] = program()
            rate = printed[name].get("images_per_second") or printed[name].get("network_images_per_second")
            say(f"{self.subject.name}, round {number + 1}, {name}: {f'{rate:.1f} images/s' if rate else 'done'}")
        return printed


def measure(subject: Subject, rounds: int, folder: Path, without: frozenset[str]) -> list[Round]:
    """Run all rounds for a subject; its networks are converted before."""
    photographs = folder / str(subject.size).replace(" ", "")
    write_photographs(photographs, subject.photographs, subject.size)
    bench = Bench(subject, photographs, folder, without)
    for variant in VARIANTS:
        if variant.possible:
            bench.ours(variant, count=4)
    return [bench.round(number) for number in range(rounds)]


# The report


@dataclass(frozen=True)
class Measured:
    """A subject's rounds, and when and on what machine they ran."""

    circumstances: str
    backbone: str
    photographs: str
    rounds: list[Round]

    def rates(self, program: str) -> list[float]:
        """Images/s of a program, round by round."""
        return [outputs[program]["images_per_second"] for outputs in self.rounds]

    def limits(self, variant: Variant) -> list[Parts]:
        """The machine's limits, round by round."""
        return [Parts(**outputs[f"limit {variant}"]) for outputs in self.rounds]

    def has(self, program: str) -> bool:
        """Whether the program ran in every round."""
        return all(program in outputs for outputs in self.rounds)

    @property
    def ours(self) -> list[Variant]:
        """The variants that ran."""
        return [variant for variant in VARIANTS if self.has(f"ours {variant}")]

    @property
    def limited(self) -> list[Variant]:
        """The variants whose limit was measured."""
        return [variant for variant in VARIANTS if self.has(f"limit {variant}")]


def report(found: Iterable[Measured]) -> list[str]:
    """The lines of this section of RESULTS.md."""
    measured = list(found)
    return [
        *dict.fromkeys(one.circumstances for one in measured),
        "",
        *_explained(max(len(one.rounds) for one in measured)),
        "",
        "### What users would run instead, images per second",
        "",
        *table(("backbone", "photographs", *RIVALS.values()), map(_rivals_row, measured)),
        "",
        "### Ours, and its ratio to each of them",
        "",
        *table(
            ("backbone", "photographs", "ours", "images/s", *RIVALS.values(), "its own limit"),
            [_ours_row(one, variant) for one in measured for variant in one.ours],
        ),
        "",
        "### The limits",
        "",
        "Images/s of the network alone, and core-milliseconds per image for the rest. The limit includes the network, decoding,",
        "compressing and hashing on all cores, but not checking each shard, which is our own choice.",
        "",
        *table(
            ("backbone", "photographs", "ours", "network", "decode", "compress", "hash", "check", "limit, images/s"),
            [_limit_row(one, variant) for one in measured for variant in one.limited],
        ),
        "",
        "### The network alone against a matrix product",
        "",
        "GFLOP/s. The product is 4096 x 4096, by the fastest of numpy, TensorFlow and OpenVINO in that precision.",
        "",
        *table(
            ("backbone", "ours", "GFLOP per image", "network", "product", "ratio"),
            [_peak_row(one, variant) for one in measured if one.has("peak") for variant in one.limited],
        ),
    ]


def _explained(rounds: int) -> list[str]:
    return [
        f"Median and range of {rounds} {'round' if rounds == 1 else 'rounds'}. `loop`: `load_img` and `model.predict` on one image at a time. `directory +",
        "predict`: `image_dataset_from_directory`, batches of 32, prefetched. `PyTorch`: a `DataLoader` with two workers and",
        "the same Keras network under `KERAS_BACKEND=torch`, which is slower than a network written for PyTorch. All use",
        "the same random weights, and start-up is never included. The other clocks start after the first image or batch, when",
        "some images have been read ahead; ours starts at the first read. Ours stores and checks every feature; the others",
        "discard them.",
    ]


def _rivals_row(one: Measured) -> list[object]:
    rates = [Spread.of(one.rates(name)) if one.has(name) else "not run" for name in RIVALS]
    return [one.backbone, one.photographs, *rates]


def _ours_row(one: Measured, variant: Variant) -> list[object]:
    rates = one.rates(f"ours {variant}")
    against = [ratios(rates, one.rates(name)) if one.has(name) else "" for name in RIVALS]
    limits = [parts.images_per_second for parts in one.limits(variant)] if variant in one.limited else []
    limit = ratios(rates, limits) if limits else ""
    return [one.backbone, one.photographs, variant, Spread.of(rates), *against, limit]


def _limit_row(one: Measured, variant: Variant) -> list[object]:
    limits = one.limits(variant)
    network = Spread.of(parts.network_images_per_second for parts in limits)
    work = [
        f"{1000 * Spread.of(getattr(parts, name) for parts in limits).median:.2f}"
        for name in ("decode", "compress", "hash", "check")
    ]
    return [
        one.backbone,
        one.photographs,
        variant,
        network,
        *work,
        Spread.of(parts.images_per_second for parts in limits),
    ]


def _peak_row(one: Measured, variant: Variant) -> list[object]:
    limits = one.limits(variant)
    network = [parts.network_flops for parts in limits]
    product = [max(outputs["peak"][variant.precision].values()) for outputs in one.rounds]
    return [
        one.backbone,
        variant,
        f"{limits[0].flop / 1e9:.1f}",
        Spread.of(flops / 1e9 for flops in network),
        Spread.of(flops / 1e9 for flops in product),
        ratios(network, product),
    ]


def _load_saved() -> dict[str, Measured]:
    found: Mapping[str, Any] = json.loads(SAVED.read_text(encoding="utf-8")) if SAVED.exists() else {}
    return {name: Measured(**fields) for name, fields in found.items()}


def _save(name: str, measured: Measured) -> None:
    everything = {**_load_saved(), name: measured}
    SAVED.write_text(json.dumps({name: asdict(one) for name, one in everything.items()}, indent=1) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Measure, save and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=REPEATS)
    parser.add_argument("--backbone", action="append", type=lambda name: get_backbone(name).name, metavar="NAME")
    parser.add_argument("--photographs", metavar="WIDTHxHEIGHT")
    parser.add_argument("--without", action="append", default=[], metavar="PROGRAM")
    parser.add_argument("--quick", action="store_true", help="run once on a few photographs; save nothing")
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
            _save(subject.name, found[-1])
    if chosen.quick:
        print("\n".join(report(found)))
        return
    saved = _load_saved()
    write_section(TITLE, report(saved[subject.name] for subject in SUBJECTS if subject.name in saved))


if __name__ == "__main__":
    main()
