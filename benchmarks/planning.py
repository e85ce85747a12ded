"""Planning at scale: empty files are listed, planned, committed with a stub network, and recognized as complete.

    python -m benchmarks.planning FOLDER [COUNT ...]

Each run is a separate process that goes through all steps of `extract run`; only decoding and the network are stubs.
Prints a Markdown table. The image files stay in FOLDER for the next time; the stores are deleted.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import numpy as np
import numpy.typing as npt

import extract.resolve
import extract.shard_worker
from extract.backbones.weights import remember_digest
from extract.images.decode import Decoded
from extract.images.loader import LoadedView
from extract.monitor import Clock
from extract.request import RunOptions
from extract.run import run as run_extraction
from extract.runtimes.base import Computed
from extract.runtimes.device import usable_cores
from extract.runtimes.load import NetworkSpec
from extract.sources.reading import listed_status
from store.files.base import ReadableFiles
from store.image_records import Row

COUNTS = (10_000, 100_000, 1_000_000)
FOLDER_FILES = 1_000
SIZE = (8, 8)
PIXELS = np.zeros((*SIZE, 3), np.uint8)
NOTHING = sha256(b"").hexdigest()


class Stub:
    """Replaces the network and the decoding; `marks` are the times when each was first requested."""

    shapes = ((4,),)
    environment: ClassVar = {"runtime": "stub", "device": "CPU", "backend": "stub"}
    batch_size = 1024
    in_flight = 1

    def __init__(self) -> None:
        self.marks: dict[str, float] = {}

    def start(self, images: Sequence[npt.NDArray[np.uint8]]) -> "Future[Computed]":
        """Four zeros per image."""
        zeros = np.zeros((len(images), 4), np.float32)
        done: Future[Computed] = Future()
        done.set_result(Computed([zeros], [zeros[:, 0]]))
        return done

    def load(self, spec: NetworkSpec, *_: object) -> "tuple[Stub, str]":
        """Replaces `load_runtime`, which a new store calls once its images are listed."""
        self.marks.setdefault("listed", time.perf_counter())
        remember_digest(spec.backbone, spec.weights, NOTHING)
        return self, NOTHING

    def loader(self, files: ReadableFiles, *_: object) -> "StubLoader":
        """Replaces `ImageLoader`, which is made once the plan is published."""
        self.marks.setdefault("planned", time.perf_counter())
        return StubLoader(files)


class StubLoader:
    """Looks images up and gives the same pixels for each."""

    threads = usable_cores()

    def __init__(self, files: ReadableFiles) -> None:
        self._files = files

    def load(self, path: str, _: Clock) -> list[LoadedView]:
        """One view of the image."""
        return [LoadedView(Row(path, NOTHING, *listed_status(self._files, path)), Decoded(PIXELS, *SIZE))]


def run(data: str, out: str) -> dict[str, float]:
    """One run in this process: the seconds of each step, and the process's peak memory."""
    stub = Stub()
    options = RunOptions(data, out, "mobilenet_v2", "random", pooling="avg", image_size=SIZE)
    with (
        mock.patch.object(extract.resolve, "load_runtime", stub.load),
        mock.patch.object(extract.shard_worker, "ImageLoader", stub.loader),
    ):
        start = time.perf_counter()
        run_extraction(options)
        stop = time.perf_counter()
    listed, planned = stub.marks.get("listed", stop), stub.marks.get("planned", stop)
    return {
        "list": listed - start,
        "plan": planned - listed,
        "commit": stop - planned,
        "all": stop - start,
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run_in_process(data: Path, out: Path) -> Any:
    """`run` in a separate process."""
    command = [sys.executable, "-m", "benchmarks.planning", "--run", str(data), str(out)]
    environment = {**os.environ, "STILLFRAME_CACHE": str(data.parent / "cache")}
    return json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)


def make_files(folder: Path, count: int) -> None:
    """Make empty files, a thousand per folder."""
    for start in range(0, count, FOLDER_FILES):
        part = folder / f"{start // FOLDER_FILES:04d}"
        part.mkdir(parents=True)
        for number in range(start, min(start + FOLDER_FILES, count)):
            (part / f"{number:07d}.jpg").touch()


def measure(folder: Path, count: int) -> str:
    """One line of the table."""
    data, store = folder / str(count), folder / f"store{count}"
    if not data.exists():
        make_files(data, count)
    shutil.rmtree(store, ignore_errors=True)
    first, again = run_in_process(data, store), run_in_process(data, store)
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
    print("| images | list, s | plan, s | second run, s | commit, s | peak MB | peak MB, second run |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for count in [int(text) for text in sys.argv[2:]] or COUNTS:
        print(measure(Path(sys.argv[1]), count), flush=True)


if __name__ == "__main__":
    main()
