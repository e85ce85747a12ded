"""Cluster workers: their rate compared with one process, and memory as a plan grows.

    python -m benchmarks.cluster DATA [--repeats N] [--tasks N]

DATA is a folder of images, of which several copies are used. Both kinds of run use all cores: the single process decodes and
computes with one thread per core, and each worker process gets an equal share of the cores. When memory is measured, the
tasks do nothing.
"""

import argparse
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dask.utils import key_split

from benchmarks.measure import (
    REPEATS,
    ROOT,
    Spread,
    circumstances,
    extract_run,
    ratios,
    say,
    scratch,
    table,
    write_section,
)
from extract.cluster.client import connected
from extract.cluster.submission import Submission
from extract.cluster.worker import ShardDone
from extract.runtimes.device import usable_cores
from extract.shard_builder import ShardTask, unlabelled
from store.records import ShardSlot

TITLE = "Workers"
RUNS = (("efficientnet_lite0", 64, 2240), ("efficientnet_lite0", 280, 2240), ("resnet50", 140, 560))
"""Backbone, images per shard, images: chosen so that each of two workers gets equally many shards."""
COPIES = 4
MARKS = (1_000, 10_000, 50_000, 100_000)


def nothing(task: ShardTask, careful: bool, new_store: bool) -> ShardDone:  # noqa: ARG001  as run_shard
    """Takes the place of computing a shard."""
    return ShardDone(len(task.rows), 0, {"compute": 0.0})


def tasks_of_one_image(count: int) -> Iterator[ShardTask]:
    """The tasks of a plan whose shards have one image each."""
    for index in range(count):
        yield ShardTask(unlabelled([f"{index:08d}.jpg"]).rows, slot=ShardSlot("plan", index, 1))


def compare_rates(data: Path, repeats: int) -> list[str]:
    """A table of rates: one process and several worker processes, in turns."""
    count = usable_cores()
    rows = []
    with scratch() as folder:
        for copy in range(COPIES):
            (folder / "images" / str(copy)).parent.mkdir(exist_ok=True)
            (folder / "images" / str(copy)).symlink_to(data.resolve())
        for backbone, images_per_shard, images in RUNS:
            options = ("--backbone", backbone, "--pooling", "avg", "--shard-rows", images_per_shard, "--limit", images)
            options += ("--weights", "random") if backbone == "resnet50" else ()
            alone, together = [], []
            for turn in range(repeats + 1):
                for rates, more in ((alone, ()), (together, ("--scheduler", f"local:{count}"))):
                    store = folder / f"{backbone}{images_per_shard}{turn}{len(more)}"
                    rates.append(extract_run(folder / "images", store, *options, *more).output["images_per_second"])
                say(f"{backbone}: {alone[-1]:.1f} alone, {together[-1]:.1f} together")
            del alone[0], together[0]  # the first turn converts the network
            rows.append(
                [
                    backbone,
                    images_per_shard,
                    f"{images:,}",
                    Spread.of(alone),
                    Spread.of(together),
                    ratios(together, alone),
                ]
            )
    header = ["backbone", "images per shard", "images", "one process, images/s", f"{count} worker processes", "ratio"]
    return table(header, rows)


@contextmanager
def cluster() -> Iterator[tuple[str, int]]:
    """Start a scheduler and two workers as processes; gives the scheduler's address and process id."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment}
    with scratch() as folder:
        file = folder / "scheduler.json"
        options = ["--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
        scheduler = subprocess.Popen([*dask, "scheduler", *options], **quiet)
        while not file.exists():
            time.sleep(0.1)
        options = ["--scheduler-file", str(file), "--nthreads", "1", "--no-dashboard", "--no-nanny"]
        workers = [subprocess.Popen([*dask, "worker", *options], **quiet) for _ in range(2)]
        try:
            yield f"file:{file}", scheduler.pid
        finally:
            for process in (*workers, scheduler):
                process.kill()
                process.wait()


def resident(process: int) -> float:
    """Resident memory of a process in MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def fill_names() -> None:
    """Runs on the scheduler: fill Dask's cache of task names, which takes 35 MB once, whatever the number of tasks."""
    for number in range(key_split.cache_info().maxsize):
        key_split((f"shard-{uuid.uuid4().hex}", 1000 + number, 0))


def memory(count: int) -> list[str]:
    """A table of the memory of client and scheduler while they run `count` tasks that do nothing."""
    rows = []
    with cluster() as (address, scheduler), connected(address) as client:
        client.run_on_scheduler(fill_names)
        submission = Submission(client, nothing, threading.Event())
        start = time.perf_counter()
        for done, _ in enumerate(submission.results(tasks_of_one_image(count)), start=1):
            if done in MARKS or done == count:
                rate = done / (time.perf_counter() - start)
                cells = (resident(os.getpid()), resident(scheduler), rate)
                rows.append([f"{done:,}", *(f"{value:.0f}" for value in cells)])
                say(f"{done:,} tasks: client {cells[0]:.0f} MB, scheduler {cells[1]:.0f} MB, {rate:.0f}/s")
    return table(["shard tasks done", "client, MB", "scheduler, MB", "tasks/s so far"], rows)


def main() -> None:
    """Measure both and write the section."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--tasks", type=int, default=MARKS[-1])
    arguments = parser.parse_args()
    speed = compare_rates(arguments.data, arguments.repeats)
    images = f"{COPIES} copies of {arguments.data.name}; ratios are taken within each turn."
    tasks = (
        f"Resident memory for a plan of {arguments.tasks:,} shards whose tasks do nothing, with two worker processes and "
        "Dask's cache of 100,000 names full from the start."
    )
    write_section(TITLE, [circumstances(), "", images, "", *speed, "", tasks, "", *memory(arguments.tasks)])


if __name__ == "__main__":
    main()
