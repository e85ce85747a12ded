"""`extract doctor`: whether this machine can run what is asked of it, as a list of checks with what to do."""

import fcntl
import importlib.metadata
import importlib.util
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from extract.backbones.table import BACKBONES
from extract.backbones.weights import weights_on_disk
from extract.runtimes.backend import BACKENDS, backend_name
from extract.runtimes.device import machine_has_gpu, processor_precisions, usable_cores
from store.files.disk import in_one_step
from store.memory import available_memory
from store.suggestions import suggest_install

Status = Literal["PASS", "WARN", "FAIL"]

PACKAGES = ("extract", "fit", "store")
LIBRARIES = (
    "keras",
    "tensorflow",
    "jax",
    "torch",
    "openvino",
    "numpy",
    "pyarrow",
    "h5py",
    "pillow",
    "pillow-heif",
    "scikit-learn",
)
_LOW_MEMORY = 2 * 10**9  # bytes; a run of the default backbone peaks at about half of that


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, what was found, and what to do about it (empty if nothing).

    `names_path` says that the name has a path in it, which may be as long as a path can be.
    """

    name: str
    status: Status
    found: str
    advice: str = ""
    names_path: bool = False

    def to_dict(self) -> dict[str, str]:
        """An entry of `extract doctor --json`."""
        return {"name": self.name, "status": self.status, "found": self.found, "advice": self.advice}


def check_machine(folder: Path) -> Iterator[Check]:
    """All checks, in order.

    Args:
        folder: where stores are to be written; its file system is tried out.
    """
    yield _python()
    yield _versions()
    yield from map(_package, PACKAGES)
    yield _cores()
    yield _memory()
    yield _precision()
    yield _gpu()
    yield from _file_system(folder)
    yield _weights()


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("Python", "PASS", version)
    return Check("Python", "FAIL", version, "install Stillframe under Python 3.11, 3.12 or 3.13")


def _versions() -> Check:
    found = {name: _version(name) for name in ("stillframe", *LIBRARIES)}
    here = ", ".join(f"{name} {version}" for name, version in found.items() if version)
    if found["openvino"] is None and not machine_has_gpu():
        return Check(
            "versions", "WARN", here, f"{suggest_install('openvino')}: about twice as fast as Keras on processors"
        )
    return Check("versions", "PASS", here)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package(name: str) -> Check:
    """Whether the package of that name is ours: PyPI has others called fit and store."""
    ours = Path(__file__).parents[1] / name
    spec = importlib.util.find_spec(name)
    found = Path(spec.origin).parent if spec and spec.origin else None
    foreign = _version(name)
    if found != ours:
        return Check(
            f"package {name}", "FAIL", f"{found or 'a folder without code'} hides ours",
            f"pip uninstall {name}, then install Stillframe again" if foreign else "run in another folder",
        )  # fmt: skip
    if foreign:
        return Check(
            f"package {name}", "FAIL", f"PyPI's {name} {foreign} is installed too",
            f"pip uninstall {name}, then install Stillframe again",
        )  # fmt: skip
    return Check(f"package {name}", "PASS", str(ours))


def _cores() -> Check:
    usable, there = usable_cores(), os.cpu_count() or 1
    found = f"{usable} usable" + (f" of {there}, by affinity or the container's quota" if usable < there else "")
    return Check("cores", "PASS", found)


def _memory() -> Check:
    there = available_memory()
    found = f"{there / 1e9:.1f} GB available"
    if there < _LOW_MEMORY:
        return Check("memory", "WARN", found, "choose a small backbone and --batch-size 1, or a larger machine")
    return Check("memory", "PASS", found)


def _precision() -> Check:
    return Check("processor", "PASS", f"computes in {', '.join(processor_precisions())}")


def _gpu() -> Check:
    """Which installed framework sees a GPU, by asking each in its own way."""
    seen = {name: device for name in BACKENDS if (device := _gpu_of(name))}
    able = [name for name, device in seen.items() if not device.startswith("no")]
    if backend_name() in able:
        return Check("GPU", "PASS", _listed(seen))
    if able:
        return Check("GPU", "WARN", f"not used by {backend_name()}: {_listed(seen)}", f"set KERAS_BACKEND={able[0]}")
    if machine_has_gpu():
        found = f"a GPU driver is installed, but no framework sees a GPU ({_listed(seen)})"
        return Check("GPU", "FAIL", found, "install a framework for GPUs: docs/gpu.md")
    return Check("GPU", "PASS", "no driver for GPUs on this machine: the processor computes")


def _gpu_of(backend: str) -> str | None:
    if importlib.util.find_spec(backend) is None:
        return None
    from extract.process_state import environment_defaults, quiet_libraries
    from extract.runtimes.device import backend_device

    try:
        with environment_defaults(XLA_PYTHON_CLIENT_PREALLOCATE="false"), quiet_libraries():
            device = backend_device(backend)
    except Exception as error:  # noqa: BLE001  a broken installation raises whatever it likes
        return f"no GPU ({type(error).__name__}: {error})"
    return device.name if device.is_gpu else "no GPU"


def _listed(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {what}" for name, what in found.items()) or "no framework is installed"


def _file_system(folder: Path) -> Iterator[Check]:
    """Whether files can be written, linked and locked where stores go."""
    place = next((above for above in (folder, *folder.absolute().parents) if above.is_dir()), Path("/"))
    name = f"folder {place}"
    try:
        with tempfile.TemporaryDirectory(prefix=".stillframe-doctor-", dir=place) as tried:
            yield from _try_out(name, Path(tried))
    except OSError as error:
        advice = "choose a folder where you may write, or free space"
        yield Check(name, "FAIL", error.strerror or str(error), advice, names_path=True)


def _try_out(name: str, tried: Path) -> Iterator[Check]:
    (tried / "a").write_bytes(b"a")
    free = os.statvfs(tried)
    yield Check(name, "PASS", f"writable, {free.f_bavail * free.f_frsize / 1e9:.1f} GB free", names_path=True)
    try:
        with (tried / "a").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield Check("locks", "PASS", "work")
    except OSError as error:
        yield Check("locks", "PASS", f"{error.strerror or error}: not needed")
    if in_one_step(tried / "a", tried / "b"):
        yield Check("hard links", "PASS", "work (or renames that replace nothing): concurrent runs are safe")
    else:
        yield _without_one_step(tried)


def _without_one_step(folder: Path) -> Check:
    """Where nothing gives a file a free name in one step: whether a lock on the folder can take its place."""
    none = "no hard links here, and every rename may replace a file"
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        found = f"{none}; folders cannot be locked: concurrent runs are not safe"
        return Check("hard links", "WARN", found, "let only one run at a time write there")
    finally:
        os.close(descriptor)
    found = f"{none}: concurrent runs are safe on one machine alone"
    return Check("hard links", "WARN", found, "let only one machine at a time write to a store there")


def _weights() -> Check:
    here = [name for name, backbone in BACKBONES.items() if weights_on_disk(backbone)]
    return Check("weights", "PASS", f"of {', '.join(here) or 'no network'}; others are downloaded on first use")
