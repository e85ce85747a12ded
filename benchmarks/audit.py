"""`fit report`, `fit audit` and `fit search` by the number of rows: seconds, memory, size; and search by other means.

    python -m benchmarks.audit FOLDER [ROWS ...]

Stores of vectors of ten classes are made without a network and kept in FOLDER, with small images to make thumbnails of.
Run it on a machine that does nothing else.
"""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import Child, Spread, circumstances, program, ratios, run_child, say, table, write_section
from fit.lookup.candidates import Candidates
from fit.lookup.index import open_index
from fit.neighbors import nearest, unit_rows
from fit.rows import select_images
from store.reader import open_store
from store.recipe import Output
from tests.store import build

TITLE = "Audit and search"
ROWS = (1_000, 10_000, 100_000, 1_000_000)
MOST_WIDE = 100_000  # rows; a million of the wide ones would take 5 GB
MOST_AUDITED = 100_000  # rows; an audit of ten times as many takes a hundred times as long
CLASSES = 10
SIDE = 32  # of the images, in pixels
IMAGES_PER_SHARD = 16_384
TURNS = 5
NEAREST = 10


def output_of(rows: int) -> Output:
    """The features of a store of that number of rows."""
    shape, dtype = ((1280,), "float32") if rows <= MOST_WIDE else ((256,), "float16")
    return Output("features", "top", "avg", shape, dtype)


def make_store(folder: Path, rows: int) -> None:
    """Write a store of that number of images; each is near the center of its class, in a random direction."""
    output = output_of(rows)
    centers = np.abs(np.random.default_rng(0).normal(size=(CLASSES, *output.shape))).astype(np.float32)

    def features_of(_images, paths, _output):
        numbers = np.array([int(Path(path).stem) for path in paths])
        noise = np.random.default_rng(int(numbers[0])).standard_normal((len(numbers), *output.shape), np.float32)
        return np.maximum(centers[numbers % CLASSES] + noise / 2, 0).astype(output.dtype)

    build.features_of = features_of
    images = {path_of(number): build.Image(f"{number:09d}", str(number % CLASSES)) for number in range(rows)}
    build.SmallStore(folder, (output,)).update(images, IMAGES_PER_SHARD)


def path_of(number: int) -> str:
    """The path of an image."""
    return f"{number % CLASSES}/{number}.png"


def make_images(folder: Path, rows: int) -> None:
    """Write the images: noise around a color per class, so that none is a copy of another."""
    colors = np.random.default_rng(0).integers(60, 195, (CLASSES, 3))
    for number in range(CLASSES):
        (folder / str(number)).mkdir(parents=True)
    for number in range(rows):
        noise = np.random.default_rng(number).integers(-60, 60, (SIDE, SIDE, 3))
        pixels = (colors[number % CLASSES] + noise).astype(np.uint8)
        Image.fromarray(pixels).save(folder / path_of(number), compress_level=1)


# Commands


def measure_commands(folder: Path, rows: int) -> list[object]:
    """The row of the first table: each command in a process of its own, start-up included."""
    store, images, head, audit = (folder / f"{name}-{rows}" for name in ("store", "images", "head", "audit"))
    if not store.exists():
        say(f"making a store of {rows:,} rows")
        make_store(store, rows)
    if not images.exists():
        make_images(images, min(rows, MOST_WIDE))
    for earlier in (head, audit):
        shutil.rmtree(earlier, ignore_errors=True)
    quiet = ("--json", "--quiet")
    say(f"{rows:,} rows: head and report")
    fit = ("--head", "centroid", "--near-twins", "ignore", "--no-report")
    run_child(program("fit", "head", "--features", store, *fit, "--out", head, *quiet))
    report = run_child(program("fit", "report", head, "--images", images, *quiet))
    cells = [f"{rows:,} x {output_of(rows).shape[0]:,}", *_cells(report), f"{_megabytes(head / 'report.html'):,.1f}"]
    if rows <= MOST_AUDITED:
        say(f"{rows:,} rows: audit")
        audited = run_child(program("fit", "audit", store, "--images", images, "--out", audit, *quiet))
        cells += [*_cells(audited), f"{sum(map(_megabytes, audit.iterdir())):,.1f}"]
    else:
        cells += ["not run"] * 4
    say(f"{rows:,} rows: search")
    return [*cells, *_cells(run_child(program("fit", "search", store, path_of(0), *quiet)))]


def _cells(child: Child) -> tuple[str, str, str]:
    return f"{child.seconds:.1f}", f"{child.processor_seconds:.1f}", f"{child.peak_mb:,.0f}"


def _megabytes(path: Path) -> float:
    return path.stat().st_size / 1e6


# Search by other means


def measure_search(folder: Path, rows: int) -> list[object]:
    """The row of the second table: one query in turns in one process, by exact search, numpy and an index."""
    store = open_store(folder / f"store-{rows}")
    candidates = Candidates(store, select_images(store), store.find_output(None), "none")
    say(f"{rows:,} rows: index")
    started = time.perf_counter()
    index = open_index(candidates)
    built = time.perf_counter() - started
    started = time.perf_counter()
    features, _ = store.arrays()
    units = unit_rows(features)
    read = time.perf_counter() - started
    query = features[rows // 2 : rows // 2 + 1]
    del features
    ways: dict[str, Callable[[], object]] = {
        "ours": lambda: nearest(query, candidates.batches(), NEAREST),
        "numpy": lambda: np.argpartition(-(units @ unit_rows(query)[0]), NEAREST)[:NEAREST],
        "index": lambda: index.nearest(query, NEAREST),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, search in ways.items():
            before = time.perf_counter()
            search()
            seconds[name].append(time.perf_counter() - before)
    return [
        f"{rows:,} x {output_of(rows).shape[0]:,}",
        f"{Spread.of(seconds['ours'])}",
        f"{read:.1f}",
        f"{ratios(seconds['ours'], [read + one for one in seconds['numpy']])}",
        f"{ratios(seconds['ours'], seconds['numpy'])}",
        f"{built:.0f}",
        f"{_megabytes(index.file):,.0f}",
        f"{ratios(seconds['ours'], seconds['index'])}",
        f"{index.recall.value:.3f}",
    ]


COMMANDS = (
    "rows x features",
    *(f"{name}, {what}" for name in ("report", "audit") for what in ("s", "processor s", "peak MB", "written MB")),
    *(f"search, {what}" for what in ("s", "processor s", "peak MB")),
)
SEARCHES = (
    "rows x features",
    "ours, s",
    "numpy reads, s",
    "ours / numpy with reading",
    "ours / numpy in memory",
    "index built, s",
    "index, MB",
    "ours / index",
    "recall of the index",
)


def main() -> None:
    """Measure each number of rows and write the section."""
    folder = Path(sys.argv[1])
    counts = [int(word) for word in sys.argv[2:]] or ROWS
    commands = [measure_commands(folder, rows) for rows in counts]
    searches = [measure_search(folder, rows) for rows in counts]
    explanation = (
        "Vectors of 1,280 values in float32, or 256 in float16; ten classes; small images. Each command in a process of its "
        "own, start-up included; the report is that of a centroid head. Processor seconds are those of all threads together. "
        f"Audits of more than {MOST_AUDITED:,} rows are not run: twice as many rows take four times as long."
    )
    compared = (
        f"One query, the {NEAREST} nearest, in {TURNS} turns in one process. Ours reads the store shard by shard; numpy has "
        "read all rows into memory as float32 and takes one matrix product; the index is that of `--index` (USearch), "
        "opened. Ratios are taken within a turn: above 1, ours is slower."
    )
    lines = [circumstances(), "", explanation, "", *table(COMMANDS, commands)]
    write_section(TITLE, [*lines, "", "### One search by other means", "", compared, "", *table(SEARCHES, searches)])
    say(f"measured {', '.join(f'{rows:,}' for rows in counts)} rows")


if __name__ == "__main__":
    main()
