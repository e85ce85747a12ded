"""Training a head for 20 epochs: on features extracted once, and through the frozen backbone in every epoch.

    python -m benchmarks.epochs [--rounds N] [--train N] [--validation N]
    python -m benchmarks.epochs frozen HEAD FOLDER      seconds of one epoch through the frozen backbone, as JSON

Our time is everything that a user waits for: `extract run` and `fit head`, from start to end. The other time is one epoch
including validation, times 20; the second of two epochs is measured, to leave out start-up and tracing.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import (
    Spread,
    circumstances,
    extract_run,
    module,
    program,
    ratios,
    run_child,
    say,
    scratch,
    table,
    write_section,
)
from benchmarks.photographs import SMALL, write_photographs
from benchmarks.rivals import BATCH, load
from extract.backbones.table import get_backbone

TITLE = "Epochs"
BACKBONE = get_backbone("inception_v3")
HEADS = ("dense", "conv")
EPOCHS = 20
ROUNDS = 3
TRAIN, VALIDATION = 160, 40


@dataclass(frozen=True)
class Turn:
    """Seconds of one round for one head."""

    extract: float
    fit: float
    frozen: float

    @property
    def ours(self) -> float:
        """Both commands."""
        return self.extract + self.fit


# Through the frozen backbone


def frozen_epoch(head: str, folder: Path) -> float:
    """Seconds of one epoch of `model.fit` with the backbone frozen, as in tutorials."""
    network, preprocess_input = load(BACKBONE)
    import keras
    import tensorflow as tf

    class Stopwatch(keras.callbacks.Callback):
        def on_epoch_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_epoch_end(self, *_: Any, **__: Any) -> None:
            self.seconds = time.perf_counter() - self.started

    def images(split: str) -> tf.data.Dataset:
        found = keras.utils.image_dataset_from_directory(
            folder / split, label_mode="binary", batch_size=BATCH, image_size=BACKBONE.size, verbose=False
        )
        prepared = found.map(lambda pixels, label: (preprocess_input(pixels), label), tf.data.AUTOTUNE)
        return prepared.prefetch(tf.data.AUTOTUNE)

    model = with_head(network, head)
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    stopwatch = Stopwatch()
    model.fit(images("train"), validation_data=images("validation"), epochs=2, verbose=0, callbacks=[stopwatch])
    return stopwatch.seconds


def with_head(network: Any, head: str) -> Any:
    """The frozen network with the same head that `fit head` trains on top."""
    import keras

    from fit.heads.base import HeadSpec
    from fit.heads.build import rebuild_network
    from fit.heads.table import get_head
    from fit.task import Task

    network.trainable = False
    inputs = keras.Input(network.input_shape[1:])
    features = network(inputs, training=False)
    kind = get_head(head)
    if not kind.spatial:
        features = keras.layers.GlobalAveragePooling2D()(features)
    task = Task(("0", "1"), multi_label=False)
    spec = HeadSpec(head, kind.complete({}), features.shape[1:], task, class_weight="none", seed=0)
    return keras.Model(inputs, rebuild_network(spec).model(features))


# On features extracted once


def extraction(photographs: Path, folder: Path, name: str) -> float:
    """Seconds of `extract run` into a new store; the folder holds the cache with the converted network."""
    environment = {"STILLFRAME_CACHE": str(folder / "cache")}
    options = ("--backbone", BACKBONE.name, "--weights", "random")
    return extract_run(photographs, folder / name, *options, environment=environment).seconds


def fit(store: Path, head: str) -> float:
    """Seconds of `fit head` for all epochs, with so much patience that it never stops early."""
    options = ("--head", head, "--epochs", EPOCHS, "--set", f"patience={10 * EPOCHS}", "--force", "--json", "--quiet")
    return run_child(program("fit", "head", "--features", store, "--out", store.with_name(head), *options)).seconds


# Rounds and report


def measure(rounds: int, train: int, validation: int, folder: Path) -> dict[str, list[Turn]]:
    """Run all rounds; gives those of each head."""
    photographs = folder / "photographs"
    for split, count, seed in (("train", train, 0), ("validation", validation, 1)):
        write_photographs(photographs / split, count, SMALL, in_classes=True, seed=seed)
    extraction(photographs, folder, "before")  # converts the network, once per machine
    turns: dict[str, list[Turn]] = {head: [] for head in HEADS}
    for number in range(rounds):
        for head in HEADS:
            name = f"{head}{number}"
            extracted = extraction(photographs, folder, name)
            fitted = fit(folder / name, head)
            epoch = run_child(module("epochs", "frozen", head, photographs)).output["epoch_seconds"]
            turns[head].append(Turn(extracted, fitted, EPOCHS * epoch))
            say(f"epochs, round {number + 1}, {head}: {turns[head][-1]}")
    return turns


def report(turns: dict[str, list[Turn]], train: int, validation: int) -> list[str]:
    """The lines of this section of RESULTS.md."""
    columns = ("head", "extract run, s", "fit head, s", "together, s", f"{EPOCHS} epochs frozen, s", "times as fast")
    return [
        circumstances(),
        "",
        f"{EPOCHS} epochs of a head on InceptionV3, with {train} training and {validation} validation photographs of {SMALL} in",
        "two classes. `extract run` and `fit head` are whole processes from start to end. `frozen` is the same head on the",
        f"frozen backbone in `model.fit`: one epoch without start-up, times {EPOCHS}. Median and range of",
        f"{_rounds(len(next(iter(turns.values()))))}.",
        "",
        *table(columns, [_row(head, found) for head, found in turns.items()]),
    ]


def _rounds(count: int) -> str:
    return "1 round" if count == 1 else f"{count} rounds"


def _row(head: str, turns: list[Turn]) -> list[object]:
    seconds = [Spread.of(getattr(turn, name) for turn in turns) for name in ("extract", "fit", "ours", "frozen")]
    return [head, *seconds, ratios((turn.frozen for turn in turns), (turn.ours for turn in turns))]


def main(arguments: list[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epochs", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--train", type=int, default=TRAIN)
    parser.add_argument("--validation", type=int, default=VALIDATION)
    chosen = parser.parse_args(arguments)
    with scratch() as folder:
        turns = measure(chosen.rounds, chosen.train, chosen.validation, folder)
    write_section(TITLE, report(turns, chosen.train, chosen.validation))


if __name__ == "__main__":
    if sys.argv[1:2] == ["frozen"]:
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        print(json.dumps({"epoch_seconds": frozen_epoch(sys.argv[2], Path(sys.argv[3]))}))
    else:
        main()
