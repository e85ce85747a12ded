"""What limited a run and what would make it faster: one sentence, from what was measured."""

from collections.abc import Mapping
from dataclasses import dataclass

from extract.runtimes.device import CPU
from store.choices import INT8
from store.suggestions import suggest_install

_BUSY = 0.85  # share of the cores above which further threads gain nothing
_SHORTEST = 1.0  # seconds; a shorter run mostly waits for its last shard to be written
_GPU_BUILDS = {"tensorflow": "tensorflow[and-cuda]", "jax": "jax[cuda12]", "torch": "torch"}
_TOO_SHORT = "too short a run to say what limits it"


@dataclass(frozen=True)
class ResourceUse:
    """What a run used.

    Attributes:
        seconds: from the first read to the last commit.
        phases: seconds that the run waited for each phase.
        cores: that it may use.
        cores_used: their mean number.
        decoders: decoding threads.
        runtime, device, backend: what computed the network.
        precision: that the network was computed in.
        precisions: that the device computes in.
        gpu_here: whether the machine has a GPU driver.
        requested_device: what `--device` says.
    """

    seconds: float
    phases: Mapping[str, float]
    cores: int
    cores_used: float
    decoders: int
    runtime: str
    device: str
    backend: str
    precision: str
    precisions: tuple[str, ...]
    gpu_here: bool
    requested_device: str = "auto"

    @property
    def gpu_idle(self) -> bool:
        """Whether there is a GPU that is not used, though nobody has asked for the processor."""
        return self.gpu_here and self.device == CPU and self.requested_device != "cpu"


def longest_phase(phases: Mapping[str, float]) -> str:
    """The phase that was waited for longest; empty if none was."""
    longest = max(phases, key=lambda name: phases[name])
    return longest if phases[longest] > 0 else ""


def cluster_bottleneck(phases: Mapping[str, float]) -> str:
    """The phase that limits the workers of a cluster, whose machines are not measured."""
    subjects = {"read": "reading", "decode": "decoding", "compute": "the network", "write": "writing"}
    phase = longest_phase(phases)
    return f"on the workers, {subjects[phase]} limits" if phase else _TOO_SHORT


def find_bottleneck(used: ResourceUse) -> str:
    """The phase that limits and what would help. An idle GPU comes before everything else."""
    if used.gpu_idle and used.runtime == "keras":
        library = used.backend.partition(" ")[0]
        install = suggest_install(_GPU_BUILDS[library])
        return f"the GPU is not being used: {library} sees none; {install} on this machine"
    if used.gpu_idle:
        other = "another --precision (other features: a new store)" if used.precision == INT8 else "--runtime keras"
        return f"the GPU is not being used: {other} would use it"
    if used.seconds < _SHORTEST:
        return _TOO_SHORT
    busy = used.cores_used >= _BUSY * used.cores
    cores = f"{used.cores_used:.1f} of {used.cores} cores used"
    match longest_phase(used.phases):
        case "read":
            return (
                "reading limits: put the images on a faster or nearer disk, "
                "or raise --workers if they come over a network"
            )
        case "decode" if busy:
            return (
                f"decoding limits, {cores}: store the images smaller, or try --fast-decode if they are large JPEG files"
            )
        case "decode":
            return f"decoding limits, {cores}: raise --workers (it is {used.decoders})"
        case "compute":
            return f"the network limits, {cores}: {_faster_network(used)}"
        case _:
            return "writing limits: put the store on a faster disk"


def _faster_network(used: ResourceUse) -> str:
    if used.device != CPU:
        lower = " or ".join(precision for precision in ("bfloat16", "float16") if precision in used.precisions)
        if used.precision == "float32" and lower:
            return f"--precision {lower} would be faster (other features: a new store)"
        return "a smaller backbone would be faster"
    if used.runtime == "keras":
        return "OpenVINO is faster on a processor: --runtime openvino, with KERAS_BACKEND unset"
    if used.precision == "float32" and "bfloat16" in used.precisions:
        return "--precision bfloat16 would be faster (other features: a new store)"
    return "a GPU or a smaller backbone would be faster"
