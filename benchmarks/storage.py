"""Writing and reading features: a store compared with plain h5py and `np.save` / `np.load`, in turns.

    python -m benchmarks.storage [--rounds N] [--rows N] [--backbone NAME] [--weights imagenet|FILE]

The features are spatial tensors in float16, computed from photographs by a trained network, because the speed of compression
depends on where the zeros are. Rates count decoded bytes. Everything is read sequentially: warm, with the files in the page
cache, and cold, after asking the kernel to drop them.
"""

import argparse
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from benchmarks.measure import (
    REPEATS,
    Spread,
    circumstances,
    extract_run,
    ratios,
    say,
    scratch,
    table,
    write_section,
)
from benchmarks.photographs import SMALL, write_photographs
from extract.backbones.table import DEFAULT_BACKBONE, Backbone, get_backbone
from extract.images.decode import Decoded
from extract.images.loader import LoadedView
from extract.runtimes.base import Computed
from extract.shard_builder import ShardBuilder, ShardTask
from store import open_store
from store.choices import COMPRESSIONS
from store.files.local import LocalFiles
from store.formats.base import ZSTD
from store.image_records import Row
from store.plan import LISTING_SCHEMA, Plan, automatic_images_per_shard, make_plan
from store.recipe import Output, Recipe
from store.records import ShardSlot, StoreInfo
from store.writer import ShardContent, StoreWriter

TITLE = "Storage"
ROWS = 1024
BATCH = 256

Features = npt.NDArray[np.float16]


@dataclass
class Timings:
    """Seconds of each operation, one per round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Time the block."""
        start = time.perf_counter()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)


def computed(backbone: Backbone, weights: str, rows: int, folder: Path) -> Features:
    """Features of `rows` photographs."""
    write_photographs(folder / "photographs", rows, SMALL)
    extract_run(folder / "photographs", folder / "computed", "--backbone", backbone.name, "--weights", weights)
    return open_store(folder / "computed").arrays()[0]


# A store with given features, committed as in a run


def output_of(backbone: Backbone) -> Output:
    """The column of features that is stored."""
    return Output("features", backbone.layer, "none", backbone.shape, "float16")


def new_store(root: Path, backbone: Backbone, rows: int, compression: str = ZSTD) -> tuple[StoreWriter, Plan]:
    """A store with a plan and no committed shards."""
    output = output_of(backbone)
    recipe = Recipe(
        backbone=backbone.name,
        weights="0" * 64,
        layers=(output.layer,),
        pooling=output.pooling,
        image_size=backbone.size,
        resize="bilinear",
        crop="stretch",
        background="#ffffff",
        precision="float32",
        dtypes=(output.dtype,),
    )
    info = StoreInfo(recipe, (output,), "hdf5", compression)
    writer = StoreWriter(LocalFiles(root))
    writer.create(info)
    listing = pa.Table.from_pylist(
        [{"path": f"{number:06d}.jpg", "size": 1, "time": 1} for number in range(rows)], LISTING_SCHEMA
    )
    row_bytes = int(np.prod(output.shape)) * np.dtype(output.dtype).itemsize
    plan = make_plan(listing, pa.nulls(rows), automatic_images_per_shard(row_bytes), 1)
    writer.publish_plan(plan, "/photographs")
    return writer, plan


def computed_shards(plan: Plan, output: Output, features: Features) -> list[tuple[ShardSlot, ShardContent]]:
    """The plan's shards, computed but not committed."""
    found, start = [], 0
    for index in range(plan.shard_count):
        task = ShardTask(plan.shard_images(index), slot=ShardSlot(plan.name, index, 1))
        part = features[start : start + len(task.rows)]
        start += len(part)
        images = [
            LoadedView(Row(path, "0" * 64, 1, 1), Decoded(np.empty((0, 0, 3), np.uint8), 1, 1)) for path in task.paths
        ]
        builder = ShardBuilder(task, [output])
        builder.add(images, Computed([part], [np.ones(len(part))]))
        found.append((task.slot, builder.content()))
    return found


# The programs


@dataclass(frozen=True)
class BenchmarkFiles:
    """The files that are written and read."""

    folder: Path

    def store(self, compression: str) -> Path:
        """Our store, compressed so."""
        return self.folder / f"store-{compression}"

    @property
    def hdf5(self) -> Path:
        """Plain HDF5: one dataset, uncompressed."""
        return self.folder / "plain.h5"

    @property
    def npy(self) -> Path:
        """The file of `np.save`."""
        return self.folder / "plain.npy"

    def all(self) -> list[Path]:
        """Every file."""
        return [path for path in self.folder.rglob("*") if path.is_file()]


def write(files: BenchmarkFiles, backbone: Backbone, features: Features, timings: Timings) -> None:
    """Write the features in all three ways, into an empty folder."""
    shutil.rmtree(files.folder, ignore_errors=True)
    files.folder.mkdir()
    for compression in COMPRESSIONS:
        writer, plan = new_store(files.store(compression), backbone, len(features), compression)
        shards = computed_shards(plan, output_of(backbone), features)
        with timings.of(f"write {compression}"):
            for slot, content in shards:
                writer.commit(slot, content, {"runtime": "none"})
    with timings.of("write h5py"), h5py.File(files.hdf5, "w") as file:
        file.create_dataset("features", data=features)
    with timings.of("write numpy"):
        np.save(files.npy, features)


def readers(files: BenchmarkFiles) -> dict[str, Callable[[], Any]]:
    """Functions that read everything once, by name."""
    return {
        "numpy": lambda: np.load(files.npy),
        **{name: lambda name=name: open_store(files.store(name)).arrays() for name in COMPRESSIONS},
        "batches": lambda: [len(batch) for batch, _ in open_store(files.store(ZSTD)).batches(BATCH)],
        "h5py": lambda: h5py.File(files.hdf5)["features"][:],
    }


def read(files: BenchmarkFiles, timings: Timings) -> None:
    """Read in every way, from the page cache and from the disk."""
    for name, reader in readers(files).items():
        reader()
        with timings.of(f"warm {name}"):
            reader()
    for name, reader in readers(files).items():
        forget(files)
        with timings.of(f"cold {name}"):
            reader()


def forget(files: BenchmarkFiles) -> None:
    """Ask the kernel to drop the files from the page cache."""
    for path in files.all():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# The report


def report(timings: Timings, backbone: Backbone, features: Features, files: BenchmarkFiles) -> list[str]:
    """The lines of this section of RESULTS.md."""
    stored = {
        name: f"{sum(path.stat().st_size for path in files.store(name).rglob('*.h5')) / features.nbytes:.1%} ({name})"
        for name in COMPRESSIONS
    }
    ways = {
        **{f"store, {name}, `arrays()`": (f"write {name}", f"warm {name}", f"cold {name}") for name in COMPRESSIONS},
        f"store, zstd, `batches({BATCH})`": ("", "warm batches", "cold batches"),
        "h5py, uncompressed": ("write h5py", "warm h5py", "cold h5py"),
        "`np.save`, `np.load`": ("write numpy", "warm numpy", "cold numpy"),
    }
    shape = " x ".join(map(str, backbone.shape))
    return [
        circumstances(),
        "",
        f"{len(features):,} tensors of {backbone.name}, {shape} in float16, {features.nbytes / 1e6:,.0f} MB, computed from",
        f"photographs with trained weights: {np.mean(features == 0):.1%} zeros. MB/s of decoded bytes, median and range of",
        f"{len(timings.seconds['warm zstd'])} rounds. The store takes {', '.join(stored.values())} of their size. Writing it",
        "includes compressing, reading back and comparing, hashing and syncing to disk, which the others do not do; reading it",
        "verifies a checksum of every compressed tensor, and of each file once per process.",
        "",
        *table(
            ("", "write", "read, warm", "read, cold"),
            [[way, *(_rate(timings, name, features.nbytes) for name in names)] for way, names in ways.items()],
        ),
        "",
        *table(
            ("store compared with", "write", "read, warm", "read, cold"),
            [
                [f"{name}: {compression}", *_against(timings, key, compression)]
                for name, key in (("`np.save`, `np.load`", "numpy"), ("h5py", "h5py"))
                for compression in COMPRESSIONS
            ],
        ),
    ]


def _rate(timings: Timings, name: str, size: int) -> Spread | str:
    return Spread.of(size / seconds / 1e6 for seconds in timings.seconds[name]) if name else ""


def _against(timings: Timings, other: str, ours: str) -> list[Spread]:
    """How many times as fast the store is."""
    kinds = ("write", "warm", "cold")
    return [ratios(timings.seconds[f"{kind} {other}"], timings.seconds[f"{kind} {ours}"]) for kind in kinds]


def main(arguments: list[str] | None = None) -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storage", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=REPEATS)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--backbone", type=get_backbone, default=DEFAULT_BACKBONE)
    parser.add_argument("--weights", default="imagenet", help="imagenet, or a file")
    chosen = parser.parse_args(arguments)
    weights = str(Path(chosen.weights).resolve()) if Path(chosen.weights).is_file() else chosen.weights
    timings = Timings()
    with scratch() as folder:
        features = computed(chosen.backbone, weights, chosen.rows, folder)
        files = BenchmarkFiles(folder / "files")
        for number in range(chosen.rounds):
            write(files, chosen.backbone, features, timings)
            read(files, timings)
            say(f"storage, round {number + 1} of {chosen.rounds}")
        write_section(TITLE, report(timings, chosen.backbone, features, files))


if __name__ == "__main__":
    main()
