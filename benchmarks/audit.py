"""`fit audit` and `fit search` by the number of rows: seconds, peak memory, and search against plain numpy.

    python -m benchmarks.audit FOLDER [ROWS ...]

Stores of vectors of 1,280 values in float32 and ten classes are made without a network and kept in FOLDER. Their images
are not there, so an audit compares all features, cross-validates and writes its folder, and reads no pixels.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import Child, circumstances, program, run_child, say, table, write_section
from store.reader import open_store
from store.recipe import Output
from tests.store import build

TITLE = "Audit and search"
OUTPUT = Output("features", "top", "avg", (1280,), "float32")
ROWS = (1_000, 10_000, 100_000)
CLASSES = 10
IMAGES_PER_SHARD = 8192


def make_store(folder: Path, rows: int) -> None:
    """Write a store of that number of images; each is near the center of its class, in a random direction."""
    centers = np.abs(np.random.default_rng(0).normal(size=(CLASSES, *OUTPUT.shape))).astype(np.float32)

    def features_of(_images, paths, _output):
        numbers = np.array([int(Path(path).stem) for path in paths])
        noise = np.random.default_rng(int(numbers[0])).normal(0, 0.5, (len(numbers), *OUTPUT.shape))
        return np.maximum(centers[numbers % CLASSES] + noise, 0).astype(np.float32)

    build.features_of = features_of
    images = {
        f"{number % CLASSES}/{number}.png": build.Image(f"{number:09d}", str(number % CLASSES))
        for number in range(rows)
    }
    build.SmallStore(folder, (OUTPUT,)).update(images, IMAGES_PER_SHARD)


def numpy_seconds(folder: Path) -> tuple[float, float]:
    """Seconds of reading all features into memory, and of the ten nearest to one of them by one matrix product."""
    started = time.perf_counter()
    features, _ = open_store(folder).arrays()
    read = time.perf_counter()
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    np.argsort(-(units @ units[0]), kind="stable")[:11]
    return read - started, time.perf_counter() - read


def measure(folder: Path, rows: int) -> list[object]:
    """The row of the table for a store."""
    store = folder / f"store-{rows}"
    if not store.exists():
        say(f"making a store of {rows:,} rows")
        make_store(store, rows)
    say(f"measuring {rows:,} rows")
    audit = run_child(program("fit", "audit", store, "--out", folder / "audit", "--force", "--json", "--quiet"))
    search = run_child(program("fit", "search", store, "0/0.png", "--json", "--quiet"))
    read, product = numpy_seconds(store)
    return [f"{rows:,}", *_cells(audit), *_cells(search), f"{read:.2f} + {product:.2f}"]


def _cells(child: Child) -> tuple[str, str]:
    return f"{child.seconds:.1f}", f"{child.peak_mb:,.0f}"


def main() -> None:
    """Measure each number of rows and write the section."""
    folder = Path(sys.argv[1])
    counts = [int(word) for word in sys.argv[2:]] or ROWS
    header = ("rows", "audit, s", "peak, MB", "search, s", "peak, MB", "numpy: read + search, s")
    lines = table(header, [measure(folder, rows) for rows in counts])
    explanation = (
        "Vectors of 1,280 values in float32, ten classes, no pixels. Seconds are those of the whole command, start-up "
        "included. numpy reads all features into memory and takes one matrix product."
    )
    write_section(TITLE, [circumstances(), "", explanation, "", *lines])
    say(json.dumps({"rows": counts}))


if __name__ == "__main__":
    main()
