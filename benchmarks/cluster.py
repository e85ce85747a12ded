"""Workers of a cluster: their rate against one process on the same work, and memory as a plan grows.

    python -m benchmarks.cluster DATA [--repeats N] [--tasks N]

DATA is a folder of images, taken several times over. Both kinds of run use all cores: one process computes and decodes with
as many threads as there are cores, worker processes have their share of the cores each. For memory the tasks do nothing.
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
from extract.cluster.client import Done, Submission, connected
from extract.runtimes.device import usable_cores
from extract.shard_builder import ShardTask, listed_task

TITLE = "Workers"
RUNS = (("efficientnet_lite0", 64, 2240), ("efficientnet_lite0", 280, 2240), ("resnet50", 140, 560))
"""Backbone, images a shard and images: as many shards for each of two workers."""
COPIES = 4
MARKS = (1_000, 10_000, 50_000, 100_000)


def nothing(task: ShardTask, careful: bool) -> Done:  # noqa: ARG001  as extract.cluster.run_shards
    """In place of a shard's work."""
    return Done(len(task.rows), 0, {"compute": 0.0})


def rates(data: Path, repeats: int) -> list[str]:
    """One process and worker processes in turns."""
    count = usable_cores()
    rows = []
    with scratch() as folder:
        for copy in range(COPIES):
            (folder / "images" / str(copy)).parent.mkdir(exist_ok=True)
            (folder / "images" / str(copy)).symlink_to(data.resolve())
        for backbone, shard_rows, images in RUNS:
            options = ("--backbone", backbone, "--pooling", "avg", "--shard-rows", shard_rows, "--limit", images)
            options += ("--weights", "random") if backbone == "resnet50" else ()
            alone, together = [], []
            for turn in range(repeats + 1):
                for found, more in ((alone, ()), (together, ("--scheduler", f"local:{count}"))):
                    store = folder / f"{backbone}{shard_rows}{turn}{len(more)}"
                    found.append(extract_run(folder / "images", store, *options, *more).told["images_per_second"])
                say(f"{backbone}: {alone[-1]:.1f} alone, {together[-1]:.1f} together")
            del alone[0], together[0]  # the first turn converts the network
            rows.append(
                [backbone, shard_rows, f"{images:,}", Spread.of(alone), Spread.of(together), ratios(together, alone)]
            )
    header = ["backbone", "images a shard", "images", "one process, images/s", f"{count} worker processes", "ratio"]
    return table(header, rows)


@contextmanager
def cluster() -> Iterator[tuple[str, int]]:
    """A scheduler with two workers, processes of their own: its address and its process number."""
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
    """Memory of a process, MB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def fill_names() -> None:
    """Fill, on the scheduler, Dask's cache of tasks' names: 35 MB once, however many tasks follow."""
    for number in range(key_split.cache_info().maxsize):
        key_split((f"shard-{uuid.uuid4().hex}", 1000 + number, 0))


def memory(count: int) -> list[str]:
    """Client and scheduler while they carry out that many tasks that do nothing."""
    rows = []
    with cluster() as (address, scheduler), connected(address) as client:
        client.run_on_scheduler(fill_names)
        submission = Submission(client, nothing, threading.Event())
        tasks = (listed_task([f"{index:08d}.jpg"], index) for index in range(count))
        start = time.perf_counter()
        for done, _ in enumerate(submission.results(tasks), start=1):
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
    speed = rates(arguments.data, arguments.repeats)
    images = f"{arguments.data.name}, {COPIES} times over; the ratio within each turn."
    tasks = (
        f"A plan of {arguments.tasks:,} shards whose tasks do nothing, two worker processes; resident memory, "
        "Dask's cache of 100,000 names full from the start."
    )
    write_section(TITLE, [circumstances(), "", images, "", *speed, "", tasks, "", *memory(arguments.tasks)])


if __name__ == "__main__":
    main()
