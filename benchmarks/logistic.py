"""The solver of `logistic` against scikit-learn's LogisticRegressionCV: the same grid and folds, in turns.

    python -m benchmarks.logistic [--rows 10000] [--features 1280] [--classes 100] [--rounds 1]

Features are random, correlated, of unequal strength and never negative, as those of networks are. Times are those of the
processor: set OPENBLAS_NUM_THREADS=1 to have them unchanged by other programs.
"""

import argparse
import time

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.preprocessing import StandardScaler

from fit.heads.inner import inner_splits
from fit.heads.sklearn import Logistic, floored
from fit.heads.softmax import FoldLosses, fit_softmax, rotate

GRID = np.geomspace(0.001, 10, 5)
TESTED = 4000


def make_rows(rows, features, classes, seed):
    """Features (rows, features), float32, and classes (rows,)."""
    rng = np.random.default_rng(seed)
    mixing = (rng.normal(size=(features, features)) * np.arange(1, features + 1) ** -0.7).astype(np.float32)
    centers = (0.3 * rng.normal(size=(classes, features))).astype(np.float32)
    y = rng.integers(0, classes, rows)
    drawn = rng.normal(size=(rows, features)).astype(np.float32) + centers[y]
    return np.maximum(drawn @ mixing.T, 0), y


def same_grid(rows, y, splits):
    """Our solver along the grid in all folds, and once on all rows."""
    axes = rotate(floored(StandardScaler().fit(rows)).transform(rows))
    losses = FoldLosses(axes, y, np.ones(len(y)), splits)
    best = min(GRID.tolist(), key=losses)
    fit_softmax(axes, y, np.ones(len(y)), best)


def theirs(rows, y, splits):
    """scikit-learn's search."""
    search = LogisticRegressionCV(
        Cs=GRID, cv=splits, scoring="neg_log_loss", max_iter=2000, l1_ratios=(0.0,), use_legacy_attributes=False
    )
    return search.fit(StandardScaler().fit_transform(rows), y)


def timed(work, *arguments):
    """What some work gives, and the processor's seconds."""
    start = time.process_time()
    return work(*arguments), time.process_time() - start


def log_loss(model, rows, y):
    """On other rows."""
    return -np.log(np.maximum(model.predict_proba(rows)[np.arange(len(y)), y], 1e-12)).mean()


def main():
    """Print the times of each round, and how good the results are."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("rows", 10_000), ("features", 1280), ("classes", 100), ("rounds", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    for number in range(given.rounds):
        rows, y = make_rows(given.rows + TESTED, given.features, given.classes, number)
        (rows, others), (y, labels) = (rows[:-TESTED], rows[-TESTED:]), (y[:-TESTED], y[-TESTED:])
        splits = inner_splits(y, None, 5, 0)
        _, ours = timed(same_grid, rows, y, splits)
        search, scikit = timed(theirs, rows, y, splits)
        head, whole = timed(Logistic().fit, rows, y)
        print(f"same grid: ours {ours:.1f} s, scikit-learn {scikit:.1f} s, {scikit / ours:.1f} times as long")
        scaled = StandardScaler().fit(rows).transform(others)
        print(f"    scikit-learn: C {search.C_:g}, log loss {log_loss(search, scaled, labels):.3f}")
        print(
            f"    `logistic`, its grid widened: {whole:.1f} s, C {head.C_:g}, log loss {log_loss(head, others, labels):.3f}"
        )


if __name__ == "__main__":
    main()
