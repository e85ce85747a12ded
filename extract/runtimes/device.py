"""What this machine can compute on: its cores, its GPUs, and the precisions of either."""

import glob
import math
import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

from store.errors import PrecisionMissing

CPU = "CPU"
_BFLOAT16_SINCE = (8, 0)  # the compute capability of NVIDIA's first GPUs with bfloat16, Ampere
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
        """Whether it is not the processor."""
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
    """The precisions that the processor's hardware supports, as Linux reports them; float32 elsewhere."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return ("float32",)
    able = any(flag in flags for flag in ("avx512_bf16", "amx_bf16", " bf16"))
    return ("float32", "bfloat16") if able else ("float32",)


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
        return Device(CPU, processor_precisions())
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
