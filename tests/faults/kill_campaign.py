"""Runs that are killed, at each step of the protocol and at random moments, until a number of kills is reached.

python -m tests.faults.kill_campaign --kills 1000 --minutes 20

Each run into a store is killed and started again until the store is complete, which is then compared with that of a run
that nobody killed. Three kinds take turns: one process, two parts at once, and two worker processes of Dask. Prints a table of
what was killed where, of rows lost and rows stored twice, and of the exit codes; ends with 1 if there is anything to see.
"""

import argparse
import collections
import contextlib
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow.compute as pc

from extract import extract
from store import open_store
from store.tables import facts
from tests.faults.children import IMAGES, committed, in_child, make_world, run_and_die, run_stub, start

_AGAIN = 3  # a busy machine may not start workers in time: 74, which asks for the same command again
_SECONDS = 0.01
"""Of each batch, so that kills meet runs at work."""

_LIMIT = 120.0
"""Seconds after which a run hangs."""

_STEPS = 70
"""Calls of the protocol that one run makes, about."""


@dataclass
class Tally:
    """What became of the stores of one kind: kills by where, lost and doubled rows, and exit codes."""

    kills: collections.Counter = field(default_factory=collections.Counter)
    stores: int = 0
    lost: int = 0
    twice: int = 0
    redone: int = 0
    hangs: int = 0
    codes: collections.Counter = field(default_factory=collections.Counter)

    @property
    def bad(self):
        return self.lost + self.twice + self.redone + self.hangs + sum(self.codes[code] for code in self.codes if code)


def run_pixels(data, out, **more):
    """A run with the network `pixels`: worker processes cannot have the stub."""
    extract(data, out, backbone="pixels", image_size=(16, 16), shard_rows=4, max_bad=1, **more)


def kill_a_worker(child, luck):
    """Kill one of the worker processes of a run; returns how many were killed, for there may be none yet or any more."""
    with contextlib.suppress(psutil.Error):
        descendants = psutil.Process(child.pid).children(recursive=True)
        workers = [process for process in descendants if "spawn_main" in " ".join(process.cmdline())]
        if workers:
            luck.choice(workers).kill()
            return 1
    return 0


class Campaign:
    """Kills runs in a folder of its own; `luck` decides where."""

    def __init__(self, root, seed):
        self.root, self.luck, self.number = root, random.Random(seed), 0
        self.data, self.reference = make_world(root)
        os.environ["STILLFRAME_CACHE"] = str(root / "cache")
        self.tallies = {"one process": Tally(), "two parts": Tally(), "Dask, two workers": Tally()}

    def new_store(self):
        self.number += 1
        return self.root / f"store{self.number}"

    def end(self, child, tally, seconds=None):
        """Wait for a child, and count how it ended; it is killed after `seconds`, where it does not kill itself."""
        child.join(seconds or _LIMIT)
        if child.is_alive():
            child.kill()
            child.join()
            if seconds is None:
                tally.hangs += 1
            else:
                tally.kills["at random"] += 1
        elif child.exitcode == -signal.SIGKILL:
            tally.kills["at a step"] += 1
        else:
            tally.codes[child.exitcode] += 1

    def kill_one_process(self, tally):
        """At a step of the protocol, or at a random moment; then the run that completes it."""
        out, before = self.new_store(), {}
        for _ in range(self.luck.randint(1, 4)):
            if self.luck.random() < 0.5:
                self.end(start(run_and_die, self.data, out, self.luck.randint(1, _STEPS)), tally)
            else:
                self.end(start(run_stub, self.data, out, _SECONDS), tally, self.luck.uniform(0, 0.5))
            before = self.kept(out, before, tally)
        self.end(start(run_stub, self.data, out), tally)
        self.check(out, self.reference, before, tally)

    def kill_parts(self, tally):
        """Two parts at once, until both have ended; then both again."""
        out, before = self.new_store(), {}
        for _ in range(self.luck.randint(1, 3)):
            parts = [(self.luck.randint(1, _STEPS), f"{number}/2") for number in range(2)]
            children = [start(run_and_die, self.data, out, step, seconds=_SECONDS, part=part) for step, part in parts]
            for child in children:
                self.end(child, tally, self.luck.uniform(0.1, 1))
            before = self.kept(out, before, tally)
        for child in [start(run_stub, self.data, out, part=f"{number}/2") for number in range(2)]:
            self.end(child, tally)
        self.check(out, self.reference, before, tally)

    def kill_dask(self, tally):
        """The run, which another one completes; or one of its workers, which others take the place of."""
        out, reference = self.new_store(), self.root / "dask_reference"
        if not reference.exists():
            assert in_child(run_pixels, self.data, reference) == 0
            begun = time.monotonic()
            self.end(start(run_pixels, self.data, self.new_store(), scheduler="local:2"), tally)
            self.seconds_on_dask = time.monotonic() - begun
        before = {}
        moment = self.luck.uniform(0.3, 1) * self.seconds_on_dask
        child = start(run_pixels, self.data, out, scheduler="local:2")
        if self.luck.random() < 0.5:
            self.end(child, tally, moment)
            before = self.kept(out, before, tally)
            child = start(run_pixels, self.data, out, scheduler="local:2")
        else:
            child.join(moment)
            tally.kills["at random"] += kill_a_worker(child, self.luck)
        self.end(child, tally)
        for _ in range(_AGAIN):
            if (out / "store.json").exists() and open_store(out).complete:
                break
            self.end(start(run_pixels, self.data, out, scheduler="local:2"), tally)
        self.check(out, reference, before, tally)

    def kept(self, out, before, tally):
        """What is committed after a kill: nothing that was there before may be gone or new."""
        after = committed(out)
        tally.redone += not before.items() <= after.items()
        return after

    def check(self, out, reference, before, tally):
        """Count what is missing, and what is there twice, in a store that should be complete."""
        self.kept(out, before, tally)
        tally.stores += 1
        found, expected = open_store(out), open_store(reference)
        paths = found.table()["path"]
        tally.lost += len(expected) - len(pc.unique(paths)) + (not found.table().equals(expected.table()))
        counts = found.verify()
        tally.lost += IMAGES - counts.rows - counts.failures + len(counts.damage)
        tally.lost += not (found.arrays()[0] == expected.arrays()[0]).all()
        shards = [path.name.partition(".")[0] for path in committed(out)]
        tally.twice += len(paths) - len(pc.unique(paths)) + len(shards) - len(set(shards))

    def run(self, kills, seconds):
        """Kill until that number of kills is reached, or the time is over; the slow kind every twentieth time."""
        end = time.monotonic() + seconds
        turn = 0
        while self.killed < kills and time.monotonic() < end:
            turn += 1
            if turn % 20 == 0:
                self.kill_dask(self.tallies["Dask, two workers"])
            elif turn % 3 == 0:
                self.kill_parts(self.tallies["two parts"])
            else:
                self.kill_one_process(self.tallies["one process"])

    @property
    def killed(self):
        return sum(sum(tally.kills.values()) for tally in self.tallies.values())

    def rows(self):
        head = (
            "runs",
            "stores",
            "kills at a step",
            "at random",
            "rows lost",
            "twice",
            "records changed",
            "hangs",
            "codes",
        )
        lines = [
            (name, tally.stores, tally.kills["at a step"], tally.kills["at random"], tally.lost, tally.twice, tally.redone,
             tally.hangs, " ".join(f"{code}:{count}" for code, count in sorted(tally.codes.items())))
            for name, tally in self.tallies.items()
        ]  # fmt: skip
        return [head, *[tuple(map(str, line)) for line in lines]]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        campaign = Campaign(Path(root), options.seed)
        begun = time.monotonic()
        campaign.run(options.kills, options.minutes * 60)
        print(*facts(campaign.rows(), 200), sep="\n")
        print(f"{campaign.killed} kills in {(time.monotonic() - begun) / 60:.1f} minutes")
        bad = sum(tally.bad for tally in campaign.tallies.values())
    sys.exit(1 if bad or campaign.killed < options.kills else 0)


if __name__ == "__main__":
    main()
