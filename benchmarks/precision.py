"""What each precision of a processor gives and costs: the rate of `extract run`, the features, and a head's accuracy.

    python -m benchmarks.precision rates BACKBONE [--weights W] [--rounds N] [--images N]
    python -m benchmarks.precision costs BACKBONE [--weights W] DATA

`rates` computes photographs of 500 x 375, each precision in turn, in a process of its own; what is compared is the time from
the first read to the last commit, so the network of int8 is quantized before. `costs` takes DATA, a folder of images in
classes: the cosine of each image's float32 feature with those of the other precisions, and `fit head --cv 5`.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np

from benchmarks.measure import Spread, circumstances, extract_run, program, ratios, run_child, say, scratch, table
from benchmarks.photographs import SMALL, write_photographs
from extract.calibration import cosine
from extract.runtimes.device import processor_precisions
from store import open_store

_CALIBRATED = 20
_HEADER = ("precision", "images/s", "to float32")


def rates(backbone: str, weights: str, rounds: int, images: int) -> list[str]:
    """A table of the rates, from files to the store."""
    taken: dict[str, list[float]] = {name: [] for name in processor_precisions()}
    options = ("--backbone", backbone, "--weights", weights, "--precision")
    with scratch() as folder:
        photographs = write_photographs(folder / "photographs", images, SMALL)
        for name in taken:  # converted, and quantized
            extract_run(photographs, folder / name, *options, name, "--limit", _CALIBRATED)
        for number in range(rounds):
            for name, found in taken.items():
                out = shutil.copytree(folder / name, folder / f"{name}-{number}")
                found.append(float(extract_run(photographs, out, *options, name).output["images_per_second"]))
                say(f"{backbone} {name}: {found[-1]:.1f} images/s")
    return table(_HEADER, [(name, Spread.of(found), ratios(found, taken["float32"])) for name, found in taken.items()])


def costs(backbone: str, weights: str, data: Path) -> list[str]:
    """A table of what other precisions than float32 change; features are pooled."""
    rows, features = [], {}
    with scratch() as folder:
        for name in processor_precisions():
            options = ("--backbone", backbone, "--weights", weights, "--pooling", "avg", "--precision", name)
            extract_run(data, folder / name, *options)
            head = run_child(
                program(
                    "fit",
                    "head",
                    "--features",
                    folder / name,
                    "--cv",
                    5,
                    "--out",
                    folder / "head",
                    "--force",
                    "--json",
                    "-q",
                )
            )
            accuracy = head.output["cv"]["accuracy"]
            features[name], _ = open_store(folder / name).arrays()
            cosines = [cosine(one, other) for one, other in zip(features["float32"], features[name], strict=True)]
            interval = f"{accuracy['value']:.3f} ({accuracy['low']:.3f}..{accuracy['high']:.3f})"
            rows.append((name, f"{np.median(cosines):.4f}", f"{min(cosines):.4f}", interval))
            say(f"{backbone} {name}: {rows[-1]}")
    return table(("precision", "cosine: median", "lowest", "accuracy of logistic, --cv 5"), rows)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.precision", description=__doc__.partition("\n")[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind in ("rates", "costs"):
        one = kinds.add_parser(kind)
        one.add_argument("backbone")
        one.add_argument("--weights", default="imagenet")
        if kind == "rates":
            one.add_argument("--rounds", type=int, default=3)
            one.add_argument("--images", type=int, default=400)
        else:
            one.add_argument("data", type=Path)
    given = parser.parse_args()
    if given.kind == "rates":
        lines = rates(given.backbone, given.weights, given.rounds, given.images)
    else:
        lines = costs(given.backbone, given.weights, given.data.resolve())
    print("\n".join([circumstances(), "", f"{given.backbone}:", "", *lines]))


if __name__ == "__main__":
    main()
