"""Every head with its defaults in a repeated cross-validation: the table of docs/heads.md.

    python -m benchmarks.heads STORE [--heads logistic,ridge] [--folds 5] [--repeats 5]

All images are learned from and predicted, whatever the store's split, and all heads have the same folds. Accuracy and
log loss are means over the repeats; the interval is that of the first repeat; the deviation is between repeats. Seconds
are those of the processor for one fit.
"""

import argparse
import time

from fit import fit_head
from fit.heads.table import HEADS
from store import open_store

HEADINGS = ("head", "accuracy", "95 % interval", "deviation", "log loss", "seconds per fit")


def measure(store, head, folds, repeats):
    """One line of the table."""
    start = time.process_time()
    metrics = fit_head(store, head, val=0.0, test=0.0, cv=folds, repeats=repeats).metrics
    seconds = (time.process_time() - start) / (folds * repeats + 1)
    found, first = metrics["cv_repeats"], metrics["cv"]["accuracy"]
    accuracy, loss = found["accuracy"], found["log_loss"]
    deviation = "-" if accuracy["deviation"] is None else f"{100 * accuracy['deviation']:.1f}"
    return (
        f"`{head}`",
        f"{100 * accuracy['mean']:.1f} %",
        f"{100 * first['low']:.1f}..{100 * first['high']:.1f}",
        deviation,
        f"{loss['mean']:.3f}",
        f"{seconds:.1f}",
    )


def main():
    """Print a line per head."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("store")
    parser.add_argument("--heads", default=",".join(kind.name for kind in HEADS.values() if not kind.spatial))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    store = open_store(given.store)
    print(f"| {' | '.join(HEADINGS)} |\n|{'---|' * len(HEADINGS)}")
    for head in given.heads.split(","):
        print(f"| {' | '.join(measure(store, head, given.folds, given.repeats))} |", flush=True)


if __name__ == "__main__":
    main()
