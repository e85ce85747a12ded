"""Fitting on a store three times larger than the memory limit. Run as root, because it makes a control group.

    python -m benchmarks.fit_memory FOLDER

A store of tensors (7 x 7 x 1280, float16, nine tenths zeros) is made without a network. Then `fit head` runs with
`--reduce flatten` in a control group whose limit is a third of the features' uncompressed size.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from store.recipe import Output
from tests.store import build

OUTPUT = Output("features", "top", "none", (7, 7, 1280), "float16")
ROWS = 36_000
IMAGES_PER_SHARD = 1024
LIMIT = ROWS * 7 * 7 * 1280 * 2 // 3
GROUP = Path("/sys/fs/cgroup/memory/stillframe")


def make_store(folder: Path) -> None:
    """Write a store with three classes that differ in which tenth of the values is not zero."""
    rng = np.random.default_rng(0)
    tensors = {}
    for name in ("a", "b", "c"):
        block = rng.random((IMAGES_PER_SHARD, *OUTPUT.shape), np.float32)
        block[:, :, :, rng.random(1280) < 0.9] = 0
        tensors[name] = block.astype(np.float16)

    def features_of(_images, paths, _output):
        return np.stack([tensors[path[0]][int(path[2:-4]) % IMAGES_PER_SHARD] for path in paths])

    build.features_of = features_of
    images = {
        f"{name}/{number}.png": build.Image(f"{name}{number:09d}", name)
        for name in "abc"
        for number in range(ROWS // 3)
    }
    store = build.SmallStore(folder, (OUTPUT,), "hdf5")
    store.update(images, IMAGES_PER_SHARD)


def fit(folder: Path, head: str, options: list[str]) -> dict[str, float]:
    """Peak memory of `fit head` in MB, seconds, and its test accuracy."""
    script = f"open('{GROUP}/cgroup.procs', 'w').write('0'); import cli; cli.fit_main()"
    out = folder.parent / head
    fixed = [
        "head",
        "--features",
        folder,
        "--head",
        head,
        "--reduce",
        "flatten",
        "--out",
        out,
        "--force",
        "--evaluate-test",
        "--json",
    ]
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", script, *map(str, fixed), *options], stdout=subprocess.PIPE)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    results = {"exit code": os.waitstatus_to_exitcode(status), "seconds": time.perf_counter() - started}
    if status == 0:
        results |= {"peak MB": usage.ru_maxrss / 1024, "accuracy": json.loads(output)["test"]["accuracy"]["value"]}
    return results


def main() -> None:
    """Make the store if it does not exist, then fit both heads."""
    folder = Path(sys.argv[1]) / "store"
    if not folder.exists():
        make_store(folder)
    GROUP.mkdir(exist_ok=True)
    GROUP.joinpath("memory.limit_in_bytes").write_text(str(LIMIT))
    print(f"features {ROWS * 7 * 7 * 1280 * 2 / 1e9:.1f} GB uncompressed, memory limit {LIMIT / 1e9:.1f} GB")
    few = ["--epochs", "2"]
    for head, options in (("sgd", few), ("dense", [*few, "--set", "units=32", "--batch-size", "128"])):
        print(head, fit(folder, head, options), flush=True)


if __name__ == "__main__":
    main()
