"""Planning at scale: empty files are listed, planned, committed with a stub network, and found complete again.

    python -m benchmarks.planning FOLDER [COUNT ...]

Each run is a process of its own and goes the whole way of `extract run`; only decoding and the network are stubs.
Prints a Markdown table. The files stay in FOLDER for the next time, the stores do not.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import numpy.typing as npt

import extract.run
import extract.shard_worker
from extract.backbones.weights import remember_digest
from extract.images.decode import Decoded
from extract.request import RunOptions
from extract.runtimes import Computed
from extract.runtimes.device import usable_cores
from extract.runtimes.load import NetworkSpec
from extract.shard_builder import PreparedView
from extract.sources.reading import Images
from store.records import Row

COUNTS = (10_000, 100_000, 1_000_000)
FOLDER_FILES = 1_000
SIZE = (8, 8)
PIXELS = np.zeros((*SIZE, 3), np.uint8)
NOTHING = sha256(b"").hexdigest()


class Stub:
    """What stands in for the network and for decoding; `marks` are the times at which each was first asked for."""

    shapes = ((4,),)
    environment: ClassVar = {"runtime": "stub", "device": "CPU", "backend": "stub"}
    batch_size = 1024
    in_flight = 1

    def __init__(self) -> None:
        self.marks: dict[str, float] = {}

    def start(self, images: Sequence[npt.NDArray[np.uint8]]) -> "Future[Computed]":
        """Four zeros an image."""
        zeros = np.zeros((len(images), 4), np.float32)
        done: Future[Computed] = Future()
        done.set_result(Computed([zeros], [zeros[:, 0]]))
        return done

    def load(self, wanted: NetworkSpec, *_: object) -> "tuple[Stub, str]":
        """In place of `extract.run.load_runtime`, which a new store needs once its images are listed."""
        self.marks.setdefault("listed", time.perf_counter())
        remember_digest(wanted.backbone, wanted.weights, NOTHING)
        return self, NOTHING

    def preparation(self, images: Images, *_: object) -> Callable[[str], list[PreparedView]]:
        """In place of `extract.shard_builder.ImagePreparer`, which is made once the plan is published."""
        self.marks.setdefault("planned", time.perf_counter())

        def prepare(path: str) -> list[PreparedView]:
            return [PreparedView(Row(path, NOTHING, *images.size_and_time(path)), Decoded(PIXELS, *SIZE))]

        prepare.threads = usable_cores()  # type: ignore[attr-defined]
        return prepare


def run(data: str, out: str) -> dict[str, float]:
    """One run in this process: seconds of each part, and this process's peak memory."""
    stub = Stub()
    options = RunOptions(data, out, "mobilenet_v2", "random", pooling="avg", image_size=SIZE)
    with (
        mock.patch.object(extract.run, "load_runtime", stub.load),
        mock.patch.object(extract.shard_worker, "ImagePreparer", stub.preparation),
    ):
        start = time.perf_counter()
        extract.run.run(options)
        stop = time.perf_counter()
    listed, planned = stub.marks.get("listed", stop), stub.marks.get("planned", stop)
    return {
        "list": listed - start,
        "plan": planned - listed,
        "commit": stop - planned,
        "all": stop - start,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run_apart(data: Path, out: Path) -> Any:
    """`run` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.planning", "--run", str(data), str(out)]
    environment = {**os.environ, "STILLFRAME_CACHE": str(data.parent / "cache")}
    return json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)


def make_files(folder: Path, count: int) -> None:
    """Empty files in folders of a thousand."""
    for start in range(0, count, FOLDER_FILES):
        part = folder / f"{start // FOLDER_FILES:04d}"
        part.mkdir(parents=True)
        for number in range(start, min(start + FOLDER_FILES, count)):
            (part / f"{number:07d}.jpg").touch()


def measure(folder: Path, count: int) -> str:
    """A line of the table."""
    data, store = folder / str(count), folder / f"store{count}"
    if not data.exists():
        make_files(data, count)
    shutil.rmtree(store, ignore_errors=True)
    first, again = run_apart(data, store), run_apart(data, store)
    shutil.rmtree(store)
    seconds = [first["list"], first["plan"], again["all"], first["commit"]]
    peaks = [first["peak MB"], again["peak MB"]]
    cells = [f"{count:,}", *(f"{value:.1f}" for value in seconds), *(f"{value:,.0f}" for value in peaks)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure every count and print the table as it grows."""
    if sys.argv[1] == "--run":
        print(json.dumps(run(*sys.argv[2:])))
        return
    print("| images | list, s | plan, s | found complete again, s | commit, s | peak MB | peak MB, again |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for count in [int(text) for text in sys.argv[2:]] or COUNTS:
        print(measure(Path(sys.argv[1]), count), flush=True)


if __name__ == "__main__":
    main()
