"""What this machine can compute on: its cores, its GPUs, and the precisions of either."""

import glob
import math
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from extract.process_state import environment
from store.choices import INT8
from store.errors import PrecisionMissing, UsageError

CPU = "CPU"
GPU_PAGE = "docs/gpu.md"
_BFLOAT16_SINCE = (8, 0)  # the compute capability of NVIDIA's first GPUs with bfloat16, Ampere
_FLAGS = {"bfloat16": ("avx512_bf16", "amx_bf16", " bf16"), INT8: ("avx512_vnni", "avx_vnni", "amx_int8")}
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
_CPU_CFS = (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us"))
_GPU_FILES = ("/proc/driver/nvidia/gpus", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class Device:
    """What Keras' backend computes on; `precisions` are those that its hardware supports."""

    name: str
    precisions: tuple[str, ...]

    @property
    def is_gpu(self) -> bool:
        """Whether the device is a GPU, or another accelerator."""
        return self.name != CPU


def machine_has_gpu() -> bool:
    """Whether there is a driver for GPUs (NVIDIA, AMD, or either under WSL), as files show without any library."""
    return any(os.path.exists(path) for path in _GPU_FILES)


def gpu_numbers() -> list[str]:
    """The NVIDIA GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return [number.strip() for number in allowed.split(",") if number.strip() not in ("", "-1")]
    return [str(number) for number in range(len(glob.glob("/proc/driver/nvidia/gpus/*")))]


def require_device(device: str) -> None:
    """Raise UsageError if a device that was asked for, as `--device` names it, is certainly not on this machine."""
    if device in ("auto", "cpu"):
        return
    here = f"the processor ({usable_cores()} cores)"
    if not machine_has_gpu():
        raise UsageError(
            f"--device {device}: there is no GPU driver here, only {here}; use --device cpu, or see {GPU_PAGE}"
        )
    numbers = gpu_numbers()
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None and not numbers:
        raise UsageError(f"--device {device}: CUDA_VISIBLE_DEVICES is {allowed!r}, which leaves only {here}")
    if device != "gpu" and numbers and int(device.removeprefix("cuda:")) >= len(numbers):
        there = ", ".join(f"cuda:{number}" for number in range(len(numbers)))
        raise UsageError(f"--device {device}: there is no such GPU here; there are {there} and {here}")


@contextmanager
def visible_devices(device: str) -> Iterator[None]:
    """Have a backend that starts inside the block see this device alone, as `--device` names it."""
    if device in ("auto", "gpu"):
        yield
        return
    if device == "cpu":
        with environment(CUDA_VISIBLE_DEVICES="", JAX_PLATFORMS="cpu"):  # JAX complains of GPUs that it cannot reach
            yield
        return
    number = int(device.removeprefix("cuda:"))
    numbers = gpu_numbers()
    with environment(CUDA_VISIBLE_DEVICES=numbers[number] if numbers else str(number)):
        yield


def require_found(device: str, found: Device, backend: str) -> None:
    """Raise UsageError unless a backend has started on the device that was asked for."""
    if device == "auto" or found.is_gpu == (device != "cpu"):
        return
    if found.is_gpu:
        raise UsageError(f"--device cpu: {backend} computes on {found.name} since this process began; start a new one")
    raise UsageError(
        f"--device {device}: {backend} sees no GPU, only the processor, though the machine has a driver for one; {GPU_PAGE} "
        "says how to install it for GPUs"
    )


def usable_cores() -> int:
    """How many cores this process may use, by its affinity and by the quota of its container."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    quota = _quota()
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def _quota() -> float | None:
    """The cores that a control group allows (Linux, cgroup-v2.rst cpu.max; v1 sched-bwc.rst); None for no limit."""
    try:
        if _CPU_MAX.exists():
            quota, period = _CPU_MAX.read_text().split()
        else:
            quota, period = (path.read_text().strip() for path in _CPU_CFS)
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no control groups, or `max`
        return None


def peak_memory() -> int:
    """The largest memory of this process so far, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def processor_precisions() -> tuple[str, ...]:
    """The precisions that the processor's hardware supports, as Linux reports them; float32 elsewhere.

    int8 is computed on x86 alone, by instructions that add products of 8 bits exactly: without them, sums may overflow.
    """
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ("float32",)
    return ("float32", *(name for name, marks in _FLAGS.items() if any(mark in flags for mark in marks)))


def precision_missing(device: str, precision: str, able: tuple[str, ...]) -> PrecisionMissing:
    """The error for a precision that a device does not support; `able` are those that it does."""
    return PrecisionMissing(
        f"{device} does not compute in {precision}: choose --precision {' or '.join(able)} for a new store, "
        "or another machine"
    )


def backend_device(backend: str) -> Device:
    """What a Keras backend computes on. This imports the backend."""
    name, capability = {"tensorflow": _of_tensorflow, "jax": _of_jax, "torch": _of_torch}[backend]()
    if name == CPU:
        return Device(CPU, tuple(precision for precision in processor_precisions() if precision != INT8))
    return Device(name, ("float32", "float16", "bfloat16") if capability >= _BFLOAT16_SINCE else ("float32", "float16"))


def _of_tensorflow() -> tuple[str, tuple[int, ...]]:
    import tensorflow as tf

    devices = tf.config.list_physical_devices("GPU")
    for device in devices:  # otherwise TensorFlow takes all of a GPU's memory
        tf.config.experimental.set_memory_growth(device, True)
    if not devices:
        return CPU, ()
    details = tf.config.experimental.get_device_details(devices[0])
    return str(details["device_name"]), tuple(details.get("compute_capability", ()))


def _of_jax() -> tuple[str, tuple[int, ...]]:
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu":
        return CPU, ()
    capability = str(getattr(device, "compute_capability", ""))
    return str(device.device_kind), tuple(int(part) for part in capability.split(".") if part.isdecimal())


def _of_torch() -> tuple[str, tuple[int, ...]]:
    import torch

    if not torch.cuda.is_available():
        return CPU, ()
    return torch.cuda.get_device_name(0), torch.cuda.get_device_capability(0)
