"""Shared by all benchmarks: child processes that print JSON, medians with their range, and the sections of RESULTS.md."""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from extract.runtimes.device import usable_cores

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("RESULTS.md")
LIBRARIES = ("tensorflow", "keras", "openvino", "torch", "numpy", "h5py", "pyarrow", "pillow")
REPEATS = 5
TITLES = (
    "Speed",
    "Several backbones",
    "Short runs",
    "Today's networks",
    "GPU",
    "Storage",
    "Epochs",
    "Memory and start-up",
    "Planning",
    "Augmentation",
    "Workers",
    "Audit and search",
)
"""The sections of RESULTS.md, in order."""

_HEAD = """# Results

Written by `make bench`; each section says when and on what machine it was measured. Benchmarks report; they assert nothing.
Rates that are compared were measured in turns, each in its own process, and ratios are taken within a turn: if the machine
slows down for a while, ratios change less than rates. `2.53 (2.41 to 2.60)` is the median and the range over all turns.
"""


@dataclass(frozen=True)
class Child:
    """A process that has ended: the JSON object in its last line of output, its seconds and its peak memory in MB.

    `seconds` are by the clock, `processor_seconds` those of all its threads together.
    """

    output: dict[str, Any]
    seconds: float
    peak_mb: float
    processor_seconds: float


def run_child(command: Sequence[str | os.PathLike[str]], environment: Mapping[str, str] | None = None) -> Child:
    """Run a command from the repository's root. Its last line of output must be a JSON object.

    Raises:
        RuntimeError: it failed; the message has the end of its standard error.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        start = time.perf_counter()
        child = subprocess.Popen(
            [str(word) for word in command],
            stdout=output,
            stderr=errors,
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
        )
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if child.returncode != 0:
            raise RuntimeError(f"{' '.join(map(str, command))}: exit code {child.returncode}\n{errors.read()[-2000:]}")
        last = json.loads(output.read().strip().rpartition("\n")[2])
        return Child(last, seconds, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime)


def module(name: str, *arguments: object) -> list[str]:
    """The command that runs one of the modules in benchmarks/."""
    return [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]


def program(name: str, *arguments: object) -> list[str]:
    """The command `extract`, `fit` or `store` of this checkout, whatever version is installed."""
    return [sys.executable, "-c", f"import cli; cli.{name}_main()", *map(str, arguments)]


def extract_run(data: Path, out: Path, *options: object, environment: Mapping[str, str] | None = None) -> Child:
    """Run `extract run` once, in a separate process."""
    return run_child(program("extract", "run", data, "--out", out, "--json", "--quiet", *options), environment)


@dataclass(frozen=True)
class Spread:
    """Median and range of several measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """The median and the range of the values."""
        found = sorted(values)
        return cls(statistics.median(found), found[0], found[-1])

    def __str__(self) -> str:
        """Like 2.53 (2.41 to 2.60): three digits, all with as many decimals as the largest."""
        digits = max(0, 2 - len(f"{int(abs(self.high))}") + 1) if abs(self.high) >= 1 else 3
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f} to {self.high:,.{digits}f})"


def ratios(numerators: Iterable[float], denominators: Iterable[float]) -> Spread:
    """Median and range of the ratios within each turn."""
    return Spread.of(above / below for above, below in zip(numerators, denominators, strict=True))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines]


def say(text: str) -> None:
    """Print a line of progress on standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary folder, deleted at the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="stillframe-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def machine() -> str:
    """The machine and the library versions."""
    names = (line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name"))
    libraries = [f"{name} {found}" for name in LIBRARIES if (found := _installed(name))]
    cpu = next(names, platform.processor())
    return f"{cpu}, {usable_cores()} cores, Python {platform.python_version()}, {', '.join(libraries)}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def circumstances() -> str:
    """When and on what: the first line of every part of RESULTS.md."""
    return f"Measured on {datetime.now(UTC):%Y-%m-%d}: {machine()}."


def write_section(title: str, lines: Sequence[str]) -> None:
    """Put a part into RESULTS.md in place of the one with that title, and print it; the other parts stay as they are."""
    parts = _sections(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    parts[title] = "\n".join(lines).strip()
    text = "\n".join([_HEAD, *(f"## {name}\n\n{parts[name]}\n" for name in TITLES if name in parts)])
    RESULTS.write_text(text.rstrip() + "\n", encoding="utf-8")
    print(f"## {title}\n\n{parts[title]}\n", flush=True)


def _sections(text: str) -> dict[str, str]:
    """The sections of RESULTS.md by title."""
    found = {}
    for part in f"\n{text}".split("\n## ")[1:]:
        title, _, body = part.partition("\n")
        found[title.strip()] = body.strip()
    return found
