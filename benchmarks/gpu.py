"""Extraction on a GPU: the network alone, decoding alone, and both end to end, with JAX and PyTorch.

    python -m benchmarks.gpu [--quick] [--seconds N]

Needs Keras and JAX or PyTorch, not TensorFlow. Each combination of framework, backbone and precision is measured in a
process of its own, the most important first, until the time is used up. Prints a table, and writes gpu.json and gpu.md
to the folder OUT (environment variable), or puts the table into RESULTS.md if there is none. `--quick` uses few, small
images, to check on a processor that everything works.

The limit of a run is the slower of the network alone (pixels in memory, features copied back) and decoding alone (all
cores). `compiled` is the framework's own compiled function on pixels that are on the device already, batch after batch.
"""

import argparse
import functools
import importlib.util
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from benchmarks.limits import load_runtime, network_alone
from benchmarks.measure import circumstances, extract_run, module, run_child, say, scratch, table, write_section
from benchmarks.photographs import LARGE, SMALL, Size, write_photographs
from extract.backbones.table import get_backbone
from extract.backbones.weights import Weights
from extract.images.decode import DecodePolicy, without_pillow_limits
from extract.images.loader import ImageLoader
from extract.monitor import Clock
from extract.runtimes.backend import backend_name, start_keras
from extract.runtimes.device import usable_cores
from extract.sources.reading import open_images
from store import open_store

if TYPE_CHECKING:
    import keras

TITLE = "GPU"
COMPILED_SECONDS = 2.0
PARITY_IMAGES = 64


@dataclass(frozen=True)
class Case:
    """One combination."""

    backend: str
    backbone: str
    precision: str
    pooling: str = "avg"
    photographs: Size = SMALL

    @property
    def options(self) -> list[str]:
        """As `extract run` takes them."""
        named = ["--backbone", self.backbone, "--weights", "random", "--precision", self.precision]
        return [*named, "--pooling", self.pooling, "--runtime", "keras"]


CASES = [
    *(
        Case(backend, "inception_v3", precision)
        for precision in ("bfloat16", "float32")
        for backend in ("jax", "torch")
    ),
    *(Case("jax", name, "bfloat16") for name in ("mobilenet_v2", "resnet50", "efficientnet_v2_s")),
    Case("torch", "mobilenet_v2", "bfloat16"),
    Case("jax", "inception_v3", "bfloat16", "none"),
    Case("jax", "inception_v3", "bfloat16", "avg", LARGE),
    Case("torch", "resnet50", "bfloat16"),
    Case("jax", "inception_v3", "float16"),
    *(Case("jax", name, "float32") for name in ("mobilenet_v2", "resnet50", "efficientnet_v2_s")),
]
QUICK_CASES = [Case("jax", "mobilenet_v2", "float32"), Case("torch", "mobilenet_v2", "float32")]


# In child processes: each prints one JSON object


def measure_network(backbone: str, precision: str, pooling: str) -> dict[str, object]:
    """Images/s of our runtime and of the framework's own compiled function; batch size, device, and its peak memory."""
    known = get_backbone(backbone)
    start_keras()
    runtime = load_runtime(known, "keras", precision, pooling)
    pixels = np.random.default_rng(0).integers(0, 256, (runtime.batch_size, *known.size, 3), np.uint8)
    return {
        "network": network_alone(runtime, list(pixels)),
        "compiled": compiled_rate(backbone, precision, pooling, pixels),
        "batch_size": runtime.batch_size,
        "device": runtime.environment["device"],
        "gpu_gb": peak_gpu_memory() / 1e9,
    }


def compiled_rate(backbone: str, precision: str, pooling: str, pixels: npt.NDArray[np.uint8]) -> float | None:
    """Images/s of the same network, compiled by the framework; None where it does not compile it."""
    from extract.backbones.load import load_network
    from extract.runtimes.model import feature_model

    known = get_backbone(backbone)
    network, _ = load_network(known, Weights.parse("random"), known.size, precision=precision)
    model = feature_model(network, (known.layer,), pooling, known.preprocessing, "auto")
    step = {"jax": _jax_step, "torch": _torch_step}[backend_name()](model, pixels)
    try:
        step()()
    except Exception as error:  # noqa: BLE001  a compiler's own
        say(f"{backend_name()} does not compile {backbone}: {type(error).__name__}: {str(error)[:200]}")
        return None
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < COMPILED_SECONDS:
        calls = [step() for _ in range(4)]
        for wait in calls:
            wait()
        done += len(calls) * len(pixels)
    return done / (time.perf_counter() - start)


Step = Callable[[], Callable[[], object]]
"""Starts one batch; what it returns waits for the end of it."""


def _jax_step(model: "keras.Model", pixels: npt.NDArray[np.uint8]) -> Step:
    import jax

    weights = [variable.value for variable in model.trainable_variables]
    frozen = [variable.value for variable in model.non_trainable_variables]
    compute = jax.jit(lambda given: model.stateless_call(weights, frozen, given, training=False)[0][0])
    batch = jax.device_put(pixels)

    def step() -> Callable[[], object]:
        return compute(batch).block_until_ready

    return step


def _torch_step(model: "keras.Model", pixels: npt.NDArray[np.uint8]) -> Step:
    import torch

    on_gpu = torch.cuda.is_available()
    compute = torch.compile(lambda given: model(given, training=False)[0])
    batch = torch.from_numpy(pixels).to("cuda" if on_gpu else "cpu")

    def step() -> Callable[[], object]:
        with torch.inference_mode():
            compute(batch)
        return torch.cuda.synchronize if on_gpu else bool

    return step


def peak_gpu_memory() -> int:
    """Bytes that this process had on its first GPU at most; 0 without one."""
    if backend_name() == "jax":
        import jax

        found = jax.devices()[0].memory_stats() or {}
        return int(found.get("peak_bytes_in_use", 0))
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0


def measure_decoding(folder: Path, backbone: str) -> dict[str, object]:
    """Images/s of reading, decoding and resizing with as many threads as there are cores."""
    policy = DecodePolicy(get_backbone(backbone).size, "bilinear", "stretch", (255, 255, 255), 100_000_000)
    cores, clock = usable_cores(), Clock()
    loader = ImageLoader(open_images(folder), policy, None, cores)
    names = sorted(os.listdir(folder))
    with without_pillow_limits(), ThreadPoolExecutor(cores) as threads:
        loader.load(names[0], clock)  # Pillow loads its plugins at the first image
        start = time.perf_counter()
        for _ in threads.map(lambda name: loader.load(name, clock), names):
            pass
        return {"decode": len(names) / (time.perf_counter() - start), "cores": cores}


# The parent


class Bench:
    """Photographs, and what has been measured on them."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.count = count
        self.photographs = {SMALL: self._photographs(SMALL, count), LARGE: self._photographs(LARGE, max(8, count // 8))}
        self.decoding: dict[tuple[Size, tuple[int, int]], float] = {}

    def _photographs(self, size: Size, count: int) -> Path:
        """`count` files; each picture is there four times, under four names, because making one takes a while."""
        folder = write_photographs(self.folder / str(size.width), max(1, count // 4), size)
        for name in sorted(os.listdir(folder)):
            for copy in "bcd":
                os.link(folder / name, folder / f"{copy}{name}")
        return folder

    def measure(self, case: Case) -> dict[str, object]:
        """Everything about one case."""
        environment = {"KERAS_BACKEND": case.backend, "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled")}
        alone = run_child(module("gpu", "network", case.backbone, case.precision, case.pooling), environment).output
        decode = self._decode(case)
        out = self.folder / "store"
        photographs = self.photographs[case.photographs]
        whole = extract_run(photographs, out, *case.options, environment=environment)
        again = extract_run(photographs, out, *case.options, environment=environment)
        shutil.rmtree(out)
        rate = float(whole.output["images_per_second"])
        return {
            **asdict(case), **alone, "decode": decode, "end_to_end": rate, "of_limit": rate / min(alone["network"], decode),
            "limited_by": whole.output["limited_by"], "seconds": whole.seconds, "seconds_again": again.seconds,
        }  # fmt: skip

    def _decode(self, case: Case) -> float:
        size = get_backbone(case.backbone).size
        key = (case.photographs, size)
        if key not in self.decoding:
            found = run_child(module("gpu", "decode", self.photographs[case.photographs], case.backbone))
            self.decoding[key] = float(found.output["decode"])
        return self.decoding[key]

    def parity(self, case: Case) -> dict[str, object]:
        """The largest difference of a feature from the processor's float32, as a part of their range; cosine similarity."""
        photographs = self.folder / "parity"
        if not photographs.exists():
            write_photographs(photographs, PARITY_IMAGES, SMALL)
        exact = Case(case.backend, case.backbone, "float32")
        hidden = {"KERAS_BACKEND": case.backend, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        stores = self.folder / "exact", self.folder / "found"
        extract_run(photographs, stores[0], *exact.options, environment=hidden)
        extract_run(photographs, stores[1], *case.options, environment={"KERAS_BACKEND": case.backend})
        expected, found = (open_store(store).arrays()[0].astype(np.float64) for store in stores)
        for store in stores:
            shutil.rmtree(store)
        lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found, axis=1)
        return {
            "framework": case.backend,
            "backbone": case.backbone,
            "precision": case.precision,
            "difference": float(np.abs(found - expected).max() / (expected.max() - expected.min())),
            "cosine": float(((expected * found).sum(axis=1) / lengths).min()),
        }

    def out_of_memory(self, case: Case, batch_size: int) -> dict[str, object]:
        """A run whose batches do not fit the device: it has to halve them and to finish."""
        out = self.folder / "halved"
        environment = {"KERAS_BACKEND": case.backend}
        run = extract_run(
            self.photographs[SMALL],
            out,
            *case.options,
            "--batch-size",
            batch_size,
            "--limit",
            64,
            environment=environment,
        )
        (record, *_) = open_store(out).snapshot.records.values()
        shutil.rmtree(out)
        return {"asked": batch_size, "recorded": record.environment["batch_size"], "rows": run.output["rows"]}

    def on_worker(self, case: Case) -> dict[str, object]:
        """The same run by one worker process of a Dask cluster."""
        out = self.folder / "cluster"
        environment = {"KERAS_BACKEND": case.backend}
        run = extract_run(
            self.photographs[SMALL], out, *case.options, "--scheduler", "local:1", environment=environment
        )
        shutil.rmtree(out)
        return {"images_per_second": run.output["images_per_second"], "rows": run.output["rows"]}


def report(results: dict[str, list[dict[str, object]]]) -> list[str]:
    """The section of RESULTS.md."""
    lines = [circumstances(), f"Device: {results['cases'][0]['device'] if results['cases'] else 'none'}.", ""]
    header = [
        "framework",
        "backbone",
        "precision",
        "pooling",
        "photographs",
        "batch",
        "GB",
        "network",
        "compiled",
        "decode",
        "end to end",
        "of the limit",
        "limited by",
        "again",
    ]
    lines += table(header, [_row(found) for found in results["cases"]])
    for name in ("parity", "out_of_memory", "worker", "failed"):
        if results[name]:
            lines += ["", f"{name.replace('_', ' ').capitalize()}:", ""]
            lines += table(list(results[name][0]), [list(map(_cell, found.values())) for found in results[name]])
    return lines


def _row(found: dict[str, Any]) -> list[object]:
    photographs = Size(**found["photographs"])
    compiled = f"{found['compiled']:,.0f}" if found["compiled"] else "-"
    return [
        found["backend"], found["backbone"], found["precision"], found["pooling"], photographs, found["batch_size"],
        f"{found['gpu_gb']:.1f}", f"{found['network']:,.0f}", compiled, f"{found['decode']:,.0f}",
        f"{found['end_to_end']:,.0f}", f"{found['of_limit']:.2f}", found["limited_by"], f"{found['seconds_again']:.1f} s",
    ]  # fmt: skip


def _cell(value: object) -> object:
    return f"{value:.2g}" if isinstance(value, float) and abs(value) < 0.5 else value


def benchmark(cases: Sequence[Case], count: int, batch_size: int, seconds: float) -> dict[str, list[dict[str, object]]]:
    """Measure in order of importance until the seconds are used up; what fails is noted, and the rest continues."""
    deadline = time.perf_counter() + seconds
    results: dict[str, list[dict[str, object]]] = {
        name: [] for name in ("cases", "parity", "out_of_memory", "worker", "failed")
    }
    cases = [case for case in cases if importlib.util.find_spec(case.backend)]
    with scratch() as folder:
        say("writing photographs")
        bench = Bench(folder, count)
        first = cases[:4]
        work: list[tuple[str, Callable[[], dict[str, object]]]] = [
            *(("cases", functools.partial(bench.measure, case)) for case in first),
            *(("parity", functools.partial(bench.parity, case)) for case in first),
            *(("out_of_memory", functools.partial(bench.out_of_memory, case, batch_size)) for case in first[:2]),
            ("worker", functools.partial(bench.on_worker, first[0])),
            *(("cases", functools.partial(bench.measure, case)) for case in cases[4:]),
        ]
        for name, measure in work:
            if time.perf_counter() > deadline:
                break
            try:
                results[name].append(measure())
                say(f"{name}: {results[name][-1]}")
            except Exception as error:  # noqa: BLE001  one combination that fails costs the others nothing
                say(f"{name} failed: {error}")
                results["failed"].append({"what": name, "error": str(error)[-300:].replace("\n", " ")})
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["network"]:
        print(json.dumps(measure_network(*given[1:])))
        return
    if given[:1] == ["decode"]:
        print(json.dumps(measure_decoding(Path(given[1]), given[2])))
        return
    parser = argparse.ArgumentParser(description=TITLE)
    parser.add_argument("--quick", action="store_true", help="few images, to see that it works")
    parser.add_argument("--seconds", type=float, default=500, help="start nothing after this time")
    options = parser.parse_args(given)
    if options.quick:
        results = benchmark(QUICK_CASES, count=32, batch_size=16, seconds=options.seconds)
    else:
        results = benchmark(CASES, count=8192, batch_size=16384, seconds=options.seconds)
    lines = report(results)
    out = os.environ.get("OUT")
    if out:
        Path(out, "gpu.json").write_text(json.dumps(results, indent=1))
        Path(out, "gpu.md").write_text("\n".join(lines) + "\n")
    if out or options.quick:
        print("\n".join(lines))
    else:
        write_section(TITLE, lines)


if __name__ == "__main__":
    main()
