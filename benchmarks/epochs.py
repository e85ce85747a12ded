"""Training a head for 20 epochs: on features extracted once, and through the frozen backbone every time.

    python -m benchmarks.epochs [--rounds N] [--train N] [--validation N]
    python -m benchmarks.epochs frozen HEAD FOLDER      seconds of one epoch through the frozen backbone, as JSON

Ours is all that a user waits for, of both commands from start to end: `extract run` and `fit head`. The other way is
one epoch with its validation, the second of two so that start-up and tracing are left out, times 20.
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
    """Seconds of an epoch of `model.fit` with the backbone frozen, as tutorials have it."""
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
    """The frozen network with the very head that `fit head` trains on top."""
    import keras

    from fit.heads.build import build_estimator
    from fit.heads.table import get_head

    network.trainable = False
    inputs = keras.Input(network.input_shape[1:])
    features = network(inputs, training=False)
    kind = get_head(head)
    if not kind.spatial:
        features = keras.layers.GlobalAveragePooling2D()(features)
    estimator = build_estimator(head, kind.complete({}), features.shape[1:], 2, "none", seed=0, several=False)
    estimator.start(features.shape[1:], 2, several=False)
    return keras.Model(inputs, estimator.model_(features))


# On features extracted once


def extraction(photographs: Path, folder: Path, name: str) -> float:
    """Seconds of `extract run` into a new store; the converted network is kept in the folder."""
    environment = {"STILLFRAME_CACHE": str(folder / "cache")}
    options = ("--backbone", BACKBONE.name, "--weights", "random")
    return extract_run(photographs, folder / name, *options, environment=environment).seconds


def fit(store: Path, head: str) -> float:
    """Seconds of `fit head` for all epochs: it is never patient enough to stop early."""
    options = ("--head", head, "--epochs", EPOCHS, "--set", f"patience={10 * EPOCHS}", "--force", "--json", "--quiet")
    return run_child(program("fit", "head", "--features", store, "--out", store.with_name(head), *options)).seconds


# All of it


def measure(rounds: int, train: int, validation: int, folder: Path) -> dict[str, list[Turn]]:
    """The rounds of each head."""
    photographs = folder / "photographs"
    for split, count, seed in (("train", train, 0), ("validation", validation, 1)):
        write_photographs(photographs / split, count, SMALL, in_classes=True, seed=seed)
    extraction(photographs, folder, "before")  # converts the network, once for a machine
    turns: dict[str, list[Turn]] = {head: [] for head in HEADS}
    for number in range(rounds):
        for head in HEADS:
            name = f"{head}{number}"
            extracted = extraction(photographs, folder, name)
            fitted = fit(folder / name, head)
            epoch = run_child(module("epochs", "frozen", head, photographs)).told["epoch_seconds"]
            turns[head].append(Turn(extracted, fitted, EPOCHS * epoch))
            say(f"epochs, round {number + 1}, {head}: {turns[head][-1]}")
    return turns


def report(turns: dict[str, list[Turn]], train: int, validation: int) -> list[str]:
    """The part of RESULTS.md."""
    columns = ("head", "extract run, s", "fit head, s", "together, s", f"{EPOCHS} epochs frozen, s", "times as fast")
    return [
        circumstances(),
        "",
        f"{EPOCHS} epochs of a head on InceptionV3, {train} photographs of {SMALL} in two classes to train and {validation} to",
        "validate. `extract run` and `fit head` are whole processes from start to end. The other way is the same head on the",
        f"frozen backbone in `model.fit`: one epoch measured, without start-up, times {EPOCHS}. Median and range of",
        f"{len(next(iter(turns.values())))} rounds.",
        "",
        *table(columns, [_row(head, found) for head, found in turns.items()]),
    ]


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
