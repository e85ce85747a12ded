"""What limited a run, and what to change: one line, from what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from extract.runtimes.device import CPU

_BUSY = 0.85  # of the cores: more than this leaves nothing to gain from further threads
_TELLING_SECONDS = 1.0  # below, what is waited for is the last shard's writing
_GPU_BUILDS = {"tensorflow": "tensorflow[and-cuda]", "jax": "jax[cuda12]", "torch": "torch"}


@dataclass(frozen=True)
class ResourceUse:
    """What a run of so many `seconds` used. `phases` are the seconds it waited for each, `cores_used` their mean number over the run."""

    seconds: float
    phases: Mapping[str, float]
    cores: int
    cores_used: float
    workers: int
    runtime: str
    device: str
    backend: str
    precision: str
    precisions: tuple[str, ...]
    gpu_here: bool


def limiting_phase(phases: Mapping[str, float]) -> str:
    """The phase that was waited for longest; empty if none was."""
    longest = max(phases, key=lambda name: phases[name])
    return longest if phases[longest] > 0 else ""


def workers_verdict(phases: Mapping[str, float]) -> str:
    """The phase that limits the workers of a cluster, whose machines are not looked at."""
    doing = {"read": "reading", "decode": "decoding", "compute": "the network", "write": "writing"}
    phase = limiting_phase(phases)
    return f"on the workers, {doing[phase]} limits" if phase else "too short a run to say what limits it"


def verdict(usage: ResourceUse) -> str:
    """The phase that limits, and what would help; a GPU that lies idle goes before everything else."""
    if usage.gpu_here and usage.device == CPU and usage.runtime == "keras":
        library = usage.backend.partition(" ")[0]
        return f"the GPU is not being used: {library} sees none; `pip install '{_GPU_BUILDS[library]}'` on this machine"
    if usage.gpu_here and usage.device == CPU:
        return "the GPU is not being used: --runtime keras would"
    if usage.seconds < _TELLING_SECONDS:
        return "too short a run to say what limits it"
    busy = usage.cores_used >= _BUSY * usage.cores
    cores = f"{usage.cores_used:.1f} of {usage.cores} cores used"
    match limiting_phase(usage.phases):
        case "read":
            return "reading limits: put the images on a faster disk or nearer, or raise --workers if they come over a network"
        case "decode" if busy:
            return (
                f"decoding limits, {cores}: store the images smaller, or try --fast-decode if they are large JPEG files"
            )
        case "decode":
            return f"decoding limits, {cores}: raise --workers (it is {usage.workers})"
        case "compute":
            return f"the network limits, {cores}: {_faster_network(usage)}"
        case _:
            return "writing limits: put the store on a faster disk"


def _faster_network(usage: ResourceUse) -> str:
    if usage.device != CPU:
        lower = "--precision bfloat16 or float16 would be faster (other features: a new store)"
        return lower if usage.precision == "float32" else "a smaller backbone would be faster"
    if usage.runtime == "keras":
        return "OpenVINO is faster on a processor: --runtime openvino, with KERAS_BACKEND unset"
    if usage.precision == "float32" and "bfloat16" in usage.precisions:
        return "--precision bfloat16 would be faster (other features: a new store)"
    return "a GPU or a smaller backbone would be faster"
