"""The head `linear` against scikit-learn's LogisticRegressionCV, and on features that are read from a disk at each pass.

    python -m benchmarks.linear [--rows 100000] [--theirs 10000] [--streamed 1000000] [--epochs 4]

Features are those of `benchmarks.logistic`: 1,280, float32, of 100 classes. Each fit is a process of its own: the time is
that of its processor, the memory the most that it took. LogisticRegressionCV gets `--theirs` rows (0: leave it out), the
same five C and five folds. `--streamed` rows are written to a file of which a few blocks at a time are in memory.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.preprocessing import StandardScaler

from benchmarks.logistic import log_loss, theirs
from fit.data import Source
from fit.heads.inner import inner_splits
from fit.heads.sklearn import Logistic
from fit.heads.streamed import StreamedSoftmax

FEATURES, CLASSES, TESTED = 1280, 100, 8000
BLOCK, BLOCKS = 8192, 4


class OnDisk:
    """`fit.data.Features` in a file of float32, of which BLOCKS blocks of rows are in memory at a time."""

    def __init__(self, path):
        self.path, self.shape = path, (FEATURES,)

    def take(self, rows):
        """Those rows, in that order."""
        return np.concatenate([self.read(row, 1) for row in rows.tolist()])

    def read(self, start, count):
        """That number of rows from `start` on."""
        return np.fromfile(self.path, np.float32, count * FEATURES, offset=4 * start * FEATURES).reshape(-1, FEATURES)

    def batches(self, rows, batch_size, seed):
        """Batches of the rows, of blocks in random order and shuffled within BLOCKS of them if there is a seed."""
        rng = np.random.default_rng(seed)
        rows = np.sort(rows)
        parts = np.split(rows, np.flatnonzero(np.diff(rows // BLOCK)) + 1)
        parts = parts if seed is None else [parts[number] for number in rng.permutation(len(parts))]
        for at in range(0, len(parts), BLOCKS):
            numbers = np.concatenate(parts[at : at + BLOCKS])
            values = np.concatenate(
                [self.read(part[0], part[-1] - part[0] + 1)[part - part[0]] for part in parts[at : at + BLOCKS]]
            )
            order = np.arange(len(numbers)) if seed is None else rng.permutation(len(numbers))
            for start in range(0, len(order), batch_size):
                chosen = order[start : start + batch_size]
                yield values[chosen], numbers[chosen]


def write_rows(folder, rows):
    """Files of features, classes, and TESTED rows more of both."""
    rng = np.random.default_rng(0)
    mixing = (rng.normal(size=(FEATURES, FEATURES)) * np.arange(1, FEATURES + 1) ** -0.7).astype(np.float32)
    centers = (0.3 * rng.normal(size=(CLASSES, FEATURES))).astype(np.float32)
    labels = rng.integers(0, CLASSES, rows + TESTED)
    with (folder / "rows").open("wb") as file:
        for at in range(0, len(labels), BLOCK):
            y = labels[at : at + BLOCK]
            drawn = rng.standard_normal((len(y), FEATURES), np.float32) + centers[y]
            np.maximum(drawn @ mixing.T, 0).tofile(file)
    np.save(folder / "labels.npy", labels)


def fit_one(folder, head, rows, epochs):
    """Fit one head on the first rows of the files; print what came of it."""
    disk, labels = OnDisk(folder / "rows"), np.load(folder / "labels.npy")
    others, truth = disk.read(len(labels) - TESTED, TESTED), labels[-TESTED:]
    every, y = np.arange(rows), labels[:rows]
    values = None if head == "streamed" else disk.read(0, rows)
    start = time.process_time()
    match head:
        case "streamed":
            found = StreamedSoftmax(epochs=epochs).fit_batches(Source(disk, every, y), every)
        case "linear":
            found = StreamedSoftmax(epochs=epochs).fit(values, y)
        case "logistic":
            found = Logistic().fit(values, y)
        case _:
            found = theirs(values, y, inner_splits(y, None, 5, 0))
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if head == "theirs":
        others = StandardScaler().fit(values).transform(others)
    accuracy = float((found.predict(others) == truth).mean())
    print(json.dumps({"seconds": seconds, "peak": peak, "accuracy": accuracy, "loss": log_loss(found, others, truth)}))


def measure(folder, head, rows, epochs):
    """One line about a fit in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.linear",
        "--one",
        head,
        "--rows",
        str(rows),
        "--folder",
        str(folder),
        "--epochs",
        str(epochs),
    ]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found = json.loads(done.stdout)
    print(
        f"{head}, {rows:,} rows: {found['seconds']:.0f} s, {found['peak'] / 1e9:.2f} GB at most, "
        f"accuracy {found['accuracy']:.4f}, log loss {found['loss']:.4f}",
        flush=True,
    )


def main():
    """Write the rows and print a line per fit."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("rows", 100_000), ("theirs", 10_000), ("streamed", 0), ("epochs", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        fit_one(given.folder, given.one, given.rows, given.epochs)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder, max(given.rows, given.streamed, given.theirs))
        for head, rows in (
            ("linear", given.theirs),
            ("theirs", given.theirs),
            ("linear", given.rows),
            ("streamed", given.streamed),
        ):
            if rows:
                measure(folder, head, rows, given.epochs)


if __name__ == "__main__":
    main()
